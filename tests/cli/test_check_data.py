"""`dashfx check --data`, and runs on records: what is shown, what is warned about, and what ends in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dashfx.cli.main import run

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
        )
"""
RNG = np.random.default_rng(0)
LENGTHS = np.arange(30) + 20
RECORDS = {"x": RNG.normal(size=LENGTHS.sum()).astype(np.float32), "lengths": LENGTHS, "y": np.arange(30) % 2}
WINDOWS = ["reading.window=10", "reading.vote=true"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x, y = RNG.normal(size=(40, 2, 8)).astype(np.float32), np.array(["cat", "dog"] * 20)
    np.savez("some.npz", x_train=x, y_train=y, x_test=x[30:] + (np.arange(10) < 7)[:, None, None], y_test=y[30:])
    np.savez("all.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], x_valid=x[:9] + 1, y_valid=y[:9])
    np.savez("records.npz", **RECORDS)
    np.savez("rare.npz", **RECORDS | {"y": (np.arange(30) > 28).astype(int)})
    Path("cut.ts").write_text("@univariate true\n1,2,3:a\n")
    Path("net.py").write_text(NET)
    return tmp_path


def test_check_of_data_needs_no_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--data", "some.npz"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"some: 2x8, classes, 2 outputs", out)
    assert re.search(r"^\s*train\s+32\s", out, re.MULTILINE) and re.search(r"^\s*dog\s+16\s+4\s+5", out, re.MULTILINE)
    leaks = [line for line in err.splitlines() if line.startswith("warning: leak")]
    assert len(leaks) >= 1 and sum(int(re.findall(r"leak: (\d+) of 10", line)[0]) for line in leaks) == 3
    assert max(map(len, out.splitlines())) <= 80


def test_check_of_records_and_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "net.py:Net", "--data", "records.npz", "--set", *WINDOWS]) == 0
    out, err = capsys.readouterr()
    assert "records: 1x10" in out and "1 conv to search" in out and "windows of 10" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--data", "all.npz"], "all 9 rows of test are also in train"),
        (["check", "--data", "records.npz"], "20 to 49 samples"),
        (["check", "--data", "rare.npz", "--set", *WINDOWS], "class 1 is in 1 of 30 records"),
        (["check", "--data", "cut.ts"], "no line @data"),
        (["check", "--data", "records.npz", "--set", "reading.windw=3"], "did you mean 'window'"),
        (["search", "net.py:Net", "--data", "some.npz", "--augment", "flop"], "did you mean 'flip'"),
        (["search", "net.py:Net", "--data", "hf:none"], "no such folder"),
        (["search", "net.py:Net", "--data", "wds:none-{0..3}.tar"], "no such shard: none-0.tar"),
    ],
)
def test_bad_data_is_one_line(
    place: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and words in error[0]
    assert not Path("runs").exists()


def test_a_run_on_records_is_measured_again_in_the_same_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = ["--kernels", "3,5", "--dilations", "1", "--epochs", "1", "--retrain-epochs", "1", "--no-control"]
    arguments = ["search", "net.py:Net", "--data", "records.npz", *fast, "--out", "out", "--augment", "signal"]
    assert run([*arguments, "--set", *WINDOWS]) == 0
    capsys.readouterr()
    scores = []
    for source in (["out", "--part", "valid"], ["out/model.onnx", "--part", "valid", "--data", "records.npz"]):
        assert run(["eval", *source]) == 0
        scores += re.findall(r"0\.\d+|1\.0+", capsys.readouterr().out)
    assert len(set(scores)) == 1
    assert len(scores) == 3 and float(scores[0]) * 4 in range(5)  # of 4 records, where windows are 14
