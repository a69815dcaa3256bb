"""Run folders: made once, complete, refused where they belong to something else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.run.environment import PACKAGES, environment
from dashfx.run.folder import (
    RunFolder,
    check_folder,
    existing_folder,
    make_folder,
    other_packages,
    write_text,
)

CONFIG = RunConfig.parse({"model": "net.py:Net", "data": "digits", "seed": 3, "search": {"epochs": 4}})


def open_folder(path: Path, config: RunConfig, *, resume: bool) -> RunFolder:
    check_folder(path, config, resume=resume)
    return make_folder(path, config)


def test_checking_makes_nothing(tmp_path: Path) -> None:
    check_folder(tmp_path / "runs" / "a", CONFIG, resume=False)
    assert not list(tmp_path.iterdir())


def test_a_new_folder_tells_the_run(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "runs" / "a", CONFIG, resume=False)
    assert folder.checkpoints.is_dir() and not folder.log.exists()
    assert json.loads(folder.env.read_text())["packages"]["torch"]
    again, config = existing_folder(folder.root)
    assert config == CONFIG and again == folder


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert open_folder(tmp_path, CONFIG, resume=False).config.is_file()


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for out in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(RunFolderError, match="exists and is not empty; give another folder, or --resume"):
            open_folder(out, CONFIG, resume=False)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        open_folder(tmp_path / "file" / "run", CONFIG, resume=False)


def test_resuming_the_same_run(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "a", CONFIG, resume=False)
    assert open_folder(tmp_path / "a", CONFIG, resume=True) == folder


def test_resuming_another_run(tmp_path: Path) -> None:
    open_folder(tmp_path / "a", CONFIG, resume=False)
    other = RunConfig.parse({**CONFIG.model_dump(), "seed": 4, "search": {"epochs": 5}})
    with pytest.raises(RunFolderError, match=r"seed: 3 there, 4 now") as raised:
        open_folder(tmp_path / "a", other, resume=True)
    assert "search.epochs: 4 there, 5 now" in str(raised.value) and "\n" not in str(raised.value)


def test_every_difference_is_told_up_to_a_few(tmp_path: Path) -> None:
    open_folder(tmp_path / "a", CONFIG, resume=False)
    other = {
        "epochs": 5,
        "lr": 0.5,
        "clip": 2.0,
        "held_out": 0.4,
        "warmup": 0.3,
        "fade": 0.1,
        "patience": 3,
        "rule": "energy",
    }
    with pytest.raises(RunFolderError, match=r"search\.epochs: 4 there, 5 now.*; and 1 more\); use the same ones"):
        open_folder(tmp_path / "a", RunConfig.parse({**CONFIG.model_dump(), "seed": 4, "search": other}), resume=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"packages": {"dashfx": "0.0.1"}}, r"dashfx: '0\.0\.1' there, "),
        ({"processes": 2}, "processes: 2 there, 1 now"),
    ],
)
def test_resuming_a_run_of_another_version_or_another_number_of_processes(
    wrong: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = open_folder(tmp_path / "a", CONFIG, resume=False)
    folder.env.write_text(json.dumps({**json.loads(folder.env.read_text()), **wrong}))
    with pytest.raises(RunFolderError, match=words):
        open_folder(tmp_path / "a", CONFIG, resume=True)


def test_the_configuration_of_another_version_names_both(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "a", CONFIG, resume=False)
    folder.config.write_text(folder.config.read_text() + "wings: 2\n")
    with pytest.raises(RunFolderError, match=r"config\.yaml cannot be used: no option 'wings'$"):
        existing_folder(folder.root)
    folder.env.write_text('{"packages": {"dashfx": "9.9"}}')
    with pytest.raises(RunFolderError, match=r"no option 'wings'; it is of dashfx 9\.9, this is "):
        existing_folder(folder.root)


def test_other_packages_are_told(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "a", CONFIG, resume=False)
    assert other_packages(folder) == []
    facts = json.loads(folder.env.read_text())
    here = facts["packages"]["torch"]
    folder.env.write_text(json.dumps({**facts, "packages": {**facts["packages"], "torch": "1.0"}}))
    assert other_packages(folder) == [f"torch 1.0 there, {here} now"]


def test_a_run_that_was_killed_at_once_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "config.yaml.part").write_text("mod")
    assert open_folder(tmp_path, CONFIG, resume=False).config.is_file() and not list(tmp_path.glob("*.part"))


def test_what_a_killed_run_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "a", CONFIG, resume=False)
    folder.env.unlink()
    (folder.checkpoints / "search-last.pt").write_text("whole")
    (folder.checkpoints / "search-last.pt.part").write_text("half")
    for name in ("model.onnx", "model.safetensors", "load_model.py"):
        (folder.root / f".{name}.abc").mkdir()
        (folder.root / f".{name}.abc" / name).write_text("half")
    open_folder(folder.root, CONFIG, resume=True)
    assert {path.name for path in folder.root.rglob("*")} == {
        "config.yaml",
        "env.json",
        "checkpoints",
        "search-last.pt",
    }


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run's folder: it has no config\.yaml"):
        open_folder(tmp_path, CONFIG, resume=True)


def test_writing_leaves_no_part_behind(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "old")
    write_text(tmp_path / "a.json", "grün")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "grün" and len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dashfx.run.folder.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_environment_can_be_written_down() -> None:
    facts = json.loads(json.dumps(environment()))
    assert set(facts["packages"]) <= set(PACKAGES) and facts["threads"] >= 1


def test_a_path_that_is_no_utf8_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="the path is no UTF-8"):
        check_folder(tmp_path / os.fsdecode(b"run\xff"), RunConfig(), resume=False)
