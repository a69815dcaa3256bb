"""The verbs on one small run: what each writes and says. The first one is a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dashfx.cli.main import run
from dashfx.deploy.runtime import read_metadata

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self, width=4):
        super().__init__(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 8, 3, stride=2, padding=1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
"""
SPACE = ["--kernels", "3,5", "--dilations", "1"]
EPOCHS = ["--epochs", "2", "--retrain-epochs", "1", "--batch-size", "16"]
SEARCH = ["search", "net.py:Net", "--data", "data.npz", *SPACE, *EPOCHS]


def dashfx(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dashfx", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.normal(size=(60, 1, 8, 8)).astype(np.float32), y=np.arange(60) % 3)
    return folder, dashfx(*SEARCH, "--model-args", "width=6", folder=folder)


@pytest.fixture
def user(searched: tuple[Path, object], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, as the current one."""
    monkeypatch.chdir(searched[0])
    return searched[0]


RUN = "runs/Net-data-1"


def test_search(searched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, ended = searched
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]  # notes are not broken
    assert "\x1b" not in ended.stdout + ended.stderr and max(map(len, told)) <= 80
    assert [line.split()[1] for line in ended.stderr.splitlines() if "/2  loss " in line] == ["1/2", "2/2"]
    for part in ("chosen by ", "  ONNX Runtime", "nobody has won", "model.onnx", "in all"):
        assert part in ended.stdout
    written = {path.name for path in (folder / RUN).iterdir()}
    assert {"model.onnx", "model.safetensors", "load_model.py", "genotype.json", "report.html", "net.py"} <= written


def test_check(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["check", "net.py:Net", "--data", "data.npz", "--kernels", "3,5", "--dilations", "1,9", "--exclude", "0"])
        == 0
    )
    said = capsys.readouterr().out
    assert "excluded by 0" in said and "1 conv to search, 1 conv left alone" in said
    row = next(line for line in said.splitlines() if line.split()[:3] == ["2", "k3", "d1"])
    # at 8 x 8 and dilation 9 only the middle tap of k3 and of k5 meets the input: one of the two stays
    assert row.split() == ["2", "k3", "d1", "2", "1", "8x8", "3", "of", "4", "296", "4.61", "k", "5x5"]
    assert "k3 d1,9; k5 d1" in said


def test_check_names_frozen_convs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("frozen.py").write_text(f"{NET}\n        self[0].requires_grad_(False)\n")
    assert run(["check", "frozen.py:Net", "--input", "1x8x8"]) == 0
    assert "frozen convs are trained by the search and frozen again after it" in capsys.readouterr().out
    assert run(["check", "frozen.py:Net", "--input", "1x8x8", "--exclude", "0"]) == 0
    assert "frozen" not in capsys.readouterr().out


def test_check_of_a_shape_agrees_with_check_of_data(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "net.py:Net", "--data", "data.npz", "--no-estimate"]) == 0
    of_data = capsys.readouterr().out
    assert run(["check", "net.py:Net", "--input", "1x8x8"]) == 0
    of_shape = capsys.readouterr().out
    assert "convs to search" in of_shape and of_data.endswith(of_shape)  # behind what stands in the data


def test_show(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", RUN]) == 0
    of_run = capsys.readouterr().out
    searched = Path(RUN, "genotype-searched.json")  # where the untouched model was handed back
    assert run(["show", str(searched if searched.is_file() else Path(RUN, "genotype.json"))]) == 0
    assert "xxx" in of_run and "untouched" not in of_run.splitlines()[0] and of_run.startswith(capsys.readouterr().out)
    assert f"{json.loads(Path(RUN, 'result.json').read_text())['test']:.4f}" in of_run


def test_report_writes_a_page_anew_and_compares_runs(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(RUN, "report.html")
    before = page.read_text()
    page.unlink()
    assert run(["report", RUN]) == 0 and capsys.readouterr().out.strip() == str(page)
    assert len(page.read_text()) == pytest.approx(len(before), rel=0.01)
    assert run(["report", "runs", "--out", "compared"]) == 0
    said = capsys.readouterr().out
    assert "searched" in said and "compared/profiles.html" in said and Path("compared/standings.csv").is_file()


def test_tensorboard_that_is_not_installed_leaves_nothing(
    user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run(["search", "net.py:Net", "--data", "data.npz", "--out", "runs/board", "--tensorboard"]) == 2
    assert "pip install 'dashfx[tensorboard]'" in capsys.readouterr().err and not Path("runs/board").exists()


def test_eval_says_what_the_search_said(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads(Path(RUN, "result.json").read_text())
    assert run(["eval", RUN]) == 0
    said = capsys.readouterr().out
    assert said.count(f"{result['test']:.4f}") == 2 and "PyTorch" in said and "ONNX Runtime" in said
    assert said.count("test, 12 rows, ") == 2
    assert run(["eval", f"{RUN}/model.onnx", "--data", "data.npz", "--part", "valid"]) == 0
    said = capsys.readouterr()
    assert f"{result['onnx_valid']:.4f}" in said.out and "valid, 9 rows" in said.out
    assert "has no valid part of its own: it is drawn from train" in said.err


def test_eval_measures_what_it_is_given_whole(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = np.load("data.npz")
    x, y = loaded["x"], loaded["y"]
    assert run(["eval", f"{RUN}/model.onnx", "--data", "data.npz"]) == 0
    of_file = capsys.readouterr().out
    assert run(["eval", RUN, "--data", "data.npz"]) == 0
    of_run = capsys.readouterr().out
    assert "data whole, 60 rows, ONNX Runtime" in of_file and "data whole, 60 rows, PyTorch" in of_run
    np.savez("test_only.npz", x_test=x[:7], y_test=y[:7])
    for source in (RUN, f"{RUN}/model.onnx"):
        assert run(["eval", source, "--data", "test_only.npz"]) == 0
        assert "test, 7 rows, ONNX Runtime" in capsys.readouterr().out
    np.savez("both.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    assert run(["eval", f"{RUN}/model.onnx", "--data", "both.npz"]) == 0
    said = capsys.readouterr().out
    assert "train, 30 rows" in said and "test, 30 rows" in said
    assert run(["eval", f"{RUN}/model.onnx", "--data", "both.npz", "--part", "test"]) == 0
    said = capsys.readouterr()
    assert "train" not in said.out and "drawn" not in said.err


def test_eval_matches_classes_by_name(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = np.load("data.npz")
    x, y = loaded["x"], loaded["y"]
    np.savez("lack.npz", x=x[y > 0], y=y[y > 0])
    assert run(["eval", RUN, "--data", "lack.npz"]) == 0
    assert "lack whole, 40 rows" in capsys.readouterr().out
    np.savez("words.npz", x=x, y=np.array(["0", "1", "zebra"])[y])
    for source in (RUN, f"{RUN}/model.onnx"):
        assert run(["eval", source, "--data", "words.npz"]) == 2
        assert "'zebra' is not among the model's classes" in capsys.readouterr().err


def test_eval_refuses_other_data(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("rgb.npz", x=np.zeros((30, 3, 8, 8), np.float32), y=np.arange(30) % 3)
    np.savez("many.npz", x=np.zeros((60, 1, 8, 8), np.float32), y=np.arange(60) % 6)
    for arguments, said in (
        (["rgb.npz"], "channels"),
        (["many.npz"], "'3', '4', '5' are not among the model's classes"),
        (["data.npz", "--part", "tset"], "the parts are train, valid and test"),
    ):
        assert run(["eval", f"{RUN}/model.onnx", "--data", *arguments]) == 2
        assert said in capsys.readouterr().err


def test_export(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", RUN, "--out", "again.onnx", "--static", "--opset", "19"]) == 0
    said = capsys.readouterr().out
    assert "opset 19" in said and "agrees with PyTorch" in said and "free axes  input: batch\n" in said
    ours, before = read_metadata("again.onnx"), read_metadata(f"{RUN}/model.onnx")
    assert {key: ours[key] for key in ("task", "normalisation", "genotype")} == {
        key: before[key] for key in ("task", "normalisation", "genotype")
    }


def test_lower_and_export_of_its_loader(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lower", RUN]) == 0
    assert {path.name for path in Path(RUN, "lowered").iterdir()} == {
        "genotype.json",
        "load_model.py",
        "model.safetensors",
        "net.py",
    }
    assert run(["lower", RUN]) == 2  # it is there now
    assert run(["export", f"{RUN}/lowered/load_model.py", "--input", "1x8x8"]) == 0
    assert Path(RUN, "lowered", "model.onnx").is_file()
    capsys.readouterr()


def test_retrain(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retrain", RUN, "--epochs", "2", "--weights", "fresh", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    again = Path(f"{RUN}-retrain-1")
    assert (again / "genotype.json").read_text() == Path(RUN, "genotype.json").read_text()
    epochs = [json.loads(line) for line in (again / "log.jsonl").read_text().splitlines() if '"event": "epoch"' in line]
    assert [epoch["stage"] for epoch in epochs] == ["retrain", "retrain"]


def test_an_interrupted_search_says_how_to_go_on(
    user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dashfx.stages.compare.metric_of", interrupted)  # after both trainings
        assert run([*SEARCH, "--out", "stopped", "--quiet"]) == 130
    assert capsys.readouterr().err == ("error: interrupted: continue with: dashfx search --resume --out stopped\n")
    assert not Path("stopped", "model.onnx").exists()
    assert run(["search", "--resume", "--out", "stopped", "--quiet"]) == 0
    assert Path("stopped", "model.onnx").is_file()
    assert run(["search", "--resume", "--out", "stopped", "--seed", "9"]) == 2
    assert "seed: 0 there, 9 now" in capsys.readouterr().err


def test_help_and_version_do_not_wait_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from dashfx.cli.main import run; "
        "assert run(['--version']) == 0 and run([]) == 0; "
        "assert not {'torch', 'numpy', 'pydantic', 'yaml'} & sys.modules.keys(); "
        "assert run(['search', '--help']) == 0 and 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("dashfx ") and "--kernels" in ended.stdout
