"""Folders of earlier runs: those of an earlier version open, moved ones stand alone, damaged ones are one line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.cli.main import run
from dashfx.errors import RunFolderError
from dashfx.run.folder import RunFolder, existing_folder, read_facts, written_config
from dashfx.stages.budget import decided
from dashfx.stages.reopen import load_genotype, lowered_of, model_of
from dashfx.stages.rewrite import probe_gains
from dashfx.tune import Tuned

BEFORE = Path(__file__).parent / "folders" / "before"  # a run of version 0.1.0, made in a folder that is gone


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run under another name, without its data, seen from a folder that has nothing to do with it."""
    shutil.copytree(BEFORE / "run", tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    return tmp_path / "moved"


DATA = ["--data", str(BEFORE / "waves.npz")]
MORE = {"retrain": ["--out", "again"], "export": ["--int8"]}
OPENED: dict[str, tuple[list[str], str]] = {
    "show": (["show", "RUN"], "conv1"),
    "lower": (["lower", "RUN"], "load_model.py"),
    "export": (["export", "RUN"], "model.onnx"),
    "int8": (["export", "RUN", "--int8", *DATA], "int8: "),
    "eval": (["eval", "RUN", *DATA], "ONNX Runtime"),
    "report": (["report", "RUN", *DATA], "report.html"),
    "tune": (["tune", "RUN", *DATA, "--trials", "3"], "best, on the validation part"),
    "retrain": (["retrain", "RUN", *DATA, "--out", "again"], "conv1"),
}


@pytest.mark.parametrize(("arguments", "said"), OPENED.values(), ids=OPENED)
def test_every_verb_opens_a_run_of_an_earlier_version_that_was_moved(
    arguments: list[str], said: str, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(moved) if each == "RUN" else each for each in arguments]) == 0
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    if arguments[0] == "tune":
        assert len(Tuned.load(moved / "tuned.json").trials) == 3  # the study goes on under the folder's other name


@pytest.mark.parametrize("verb", ["eval", "report", "tune", "retrain", "export"])
def test_data_that_are_not_here_are_asked_for(verb: str, moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, str(moved), *MORE.get(verb, [])]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "its data 'waves.npz' cannot be used" in error and "--data" in error
    assert not Path("again").exists()


def test_paths_are_meant_from_where_the_run_began(moved: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(BEFORE / "waves.npz", home / "waves.npz")
    env = json.loads((moved / "env.json").read_text())
    (moved / "env.json").write_text(json.dumps({**env, "directory": str(home)}))
    _, config = existing_folder(moved)
    assert config.data == str(home / "waves.npz") and config.model == f"{moved / 'net.py'}:Net"
    assert written_config(moved).data == "waves.npz"
    shutil.copy(moved / "net.py", home / "net.py")
    assert existing_folder(moved)[1].model == f"{home / 'net.py'}:Net"  # it is the same, and so are its neighbours
    (home / "net.py").write_text("raise RuntimeError")
    assert existing_folder(moved)[1].model == f"{moved / 'net.py'}:Net"


def test_noise_in_the_place_of_data_says_nothing_of_them(moved: Path) -> None:
    model, genotype = lowered_of(moved)
    again, trained, _ = model_of(moved, shape_will_do=True)
    assert again.inputs.data.labels == tuple(json.loads((moved / "data.json").read_text())["labels"])
    assert again.config.data == "waves.npz" and set(genotype) == {"conv1", "conv2"}
    assert model.state_dict().keys() == trained.state_dict().keys()


# Verbs that read a file, the cheap ones of them; `search --resume` reads no result.
READ: dict[str, tuple[str, ...]] = {
    "config.yaml": ("show-unfinished", "lower", "export", "resume"),
    "env.json": ("resume",),
    "genotype.json": ("export", "retrain"),
    "genotype-searched.json": ("show", "lower"),
    "result.json": ("show", "report"),
    "tuned.json": ("show", "retrain"),
    "data.json": ("export",),
    "retrain.yaml": ("export",),
    "probe.json": ("lower",),
    "budget.json": ("tune",),
    "study.journal": ("tune",),
    "model.safetensors": ("export", "eval"),
    "checkpoints/search-last.pt": ("lower",),
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "null": lambda content: b"null",
    "foreign": lambda content: b"\xff\xfe[" + content[::-1] + b"\n{",
    "list": lambda content: b'[{"a": [1]}]',
}
COMMANDS = {"resume": ["search", "--resume", "--out"], "show-unfinished": ["show"]}
CASES = [(file, verb) for file, verbs in READ.items() for verb in verbs]


@pytest.mark.parametrize(("file", "verb"), CASES, ids=[f"{file} {verb}" for file, verb in CASES])
def test_a_damaged_file_is_one_line(
    file: str, verb: str, moved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if file != "data.json":
        monkeypatch.chdir(BEFORE)  # where its data are
    path, whole = moved / file, (moved / file).read_bytes() if (moved / file).exists() else b'{"conv1": 1.0}'
    if verb == "show-unfinished":
        (moved / "genotype.json").unlink()
    for name, damaged in DAMAGE.items():
        if file == "study.journal" and name in ("empty", "cut"):
            continue  # a journal that ends early is one of fewer trials
        path.write_bytes(damaged(whole) + b"\n")
        assert run([*COMMANDS.get(verb, [verb]), str(moved)]) == 2, name
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        error = printed.err.splitlines()[-1]
        assert error.startswith("error: ") and path.name in error, (name, error)
        assert any(word in error for word in ("; ", "give ", "cannot be used: option")), (name, error)  # what to do


def test_an_interrupted_run_says_how_far_it_is(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("result.json", "genotype.json", "genotype-searched.json"):
        assert run(["show", str(moved)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert ("has not finished" in said) == (name != "result.json")
        (moved / name).unlink()
    assert run(["show", str(moved)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "search 2 of 2 epochs" in said and f"dashfx search --resume --out {moved}" in said


def test_retraining_says_by_which_recipe(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retrain", str(moved), *DATA, "--out", "a"]) == 0
    assert "by the recipe that tuning found in" in capsys.readouterr().err
    (moved / "tuned.json").unlink()
    assert run(["retrain", str(moved), *DATA, "--out", "b"]) == 0
    assert f"by the recipe of {moved}" in capsys.readouterr().err


def test_a_run_stands_alone_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, moved, its sources gone: it goes on."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(BEFORE / "run" / "net.py", home / "net.py")
    shutil.copy(BEFORE / "waves.npz", home / "waves.npz")
    options = ["--set", "search.epochs=2", "search.batch_size=16", "search.autotune=false", "retrain.epochs=1"]
    options += ["--set", "retrain.batch_size=16", "--kernels", "3,5", "--dilations", "1", "--no-control", "--quiet"]
    with monkeypatch.context() as patch:
        patch.chdir(home)
        patch.setattr("dashfx.pipeline.searched", stopped)
        with pytest.raises(ZeroDivisionError):
            run(["search", "net.py:Net", "--data", "waves.npz", "--out", "run", *options])
    assert {"net.py", "data.json", "config.yaml"} <= {path.name for path in (home / "run").iterdir()}
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    shutil.move(home / "run", tmp_path / "other")
    shutil.rmtree(home)
    monkeypatch.chdir(BEFORE)  # which has data of that name
    for _ in range(2):
        assert run(["search", "--resume", "--out", str(tmp_path / "other"), "--quiet"]) == 0


def test_a_package_is_imported_from_its_copy(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (moved / "mine_own").mkdir()
    (moved / "mine_own" / "__init__.py").write_text("")
    (moved / "mine_own" / "nets.py").write_text("from .parts import Net\n")
    (moved / "net.py").rename(moved / "mine_own" / "parts.py")
    text = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(text.replace("model: net.py:Net", "model: mine_own.nets:Net"))
    monkeypatch.setattr("sys.path", [*sys.path])
    assert lowered_of(moved)[0].fc.out_features == 3


def stopped(*_: object) -> None:
    raise ZeroDivisionError


def test_a_log_may_end_anywhere(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BEFORE)
    whole = (moved / "log.jsonl").read_bytes()
    (moved / "log.jsonl").write_bytes(whole[:-7] + b'\xff\n[1]\nnull\n{"event": "ep')
    assert run(["report", str(moved)]) == 0


READERS: dict[str, Callable[[RunFolder], object]] = {
    "config.yaml": lambda folder: existing_folder(folder.root),
    "env.json": lambda folder: read_facts(folder.env, "remove it"),
    "genotype.json": lambda folder: load_genotype(folder.genotype),
    "tuned.json": lambda folder: Tuned.load(folder.tuned),
    "budget.json": decided,
    "probe.json": probe_gains,
}
BUDGET = {"budget": 60.0, "spent": 1.0, "measured": {"search": 1.0}, "epochs": {"search": 3}}
MADE = {"budget.json": json.dumps(BUDGET), "probe.json": json.dumps({"conv1": 0.5, "conv2": 0.25})}


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(sorted(READERS)), st.floats(0, 1), st.binary(max_size=6), st.integers(0, 12))
def test_any_file_of_a_run_is_read_or_refused(file: str, place: float, put: bytes, gone: int) -> None:
    from tempfile import TemporaryDirectory

    whole = MADE[file].encode() if file in MADE else (BEFORE / "run" / file).read_bytes()
    at = int(place * len(whole))
    with TemporaryDirectory() as folder:
        (Path(folder) / file).write_bytes(whole[:at] + put + whole[at + gone :] if gone else whole[:at] + put)
        try:
            READERS[file](RunFolder(Path(folder)))
        except RunFolderError as error:
            assert file in str(error) and "\n" not in str(error)
