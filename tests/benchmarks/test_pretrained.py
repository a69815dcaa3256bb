"""A checkpoint followed through a search to ONNX, its control, and the windows of piano rolls."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toys import ToyNet, arrays

from benchmarks import pretrained
from benchmarks.music import CONTEXT, WINDOW, windows
from dashfx.run.folder import existing_folder

TOYS = Path(__file__).parents[1] / "toys.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    torch.manual_seed(0)
    save_file(ToyNet().state_dict(), tmp_path / "toy.safetensors")
    np.savez(tmp_path / "toy.npz", **arrays())
    files = ["--model", f"{TOYS}:ToyNet", "--data", str(tmp_path / "toy.npz"), "--out", str(tmp_path / "out")]
    options = {"checkpoint": tmp_path / "toy.safetensors", "task": "classify:nll", "search.autotune": "false"}
    options |= {"space.kernels": "[3, 5]", "search.epochs": 2, "search.fraction": 0.5, "retrain.epochs": 1}
    variants = ["--variants", "grown", "fine-tuned-longer"]
    monkeypatch.setattr(
        sys, "argv", ["", *files, *variants, *(f"--set={name}={value}" for name, value in options.items())]
    )
    return tmp_path / "out"


def test_a_checkpoints_metric_at_every_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained.main()
    grown = pretrained.measure(folder / "grown-0")
    assert grown["grown"] == pytest.approx(grown["checkpoint"], rel=1e-5)
    assert grown["ONNX"] == pytest.approx(grown["fine-tuned"], rel=1e-5)
    assert len({grown[state] for state in ("checkpoint", "searched", "lowered", "fine-tuned")}) == 4
    control = pretrained.measure(folder / "fine-tuned-longer-0")
    assert control["checkpoint"] == grown["checkpoint"] and "searched" not in control
    _, config = existing_folder(folder / "fine-tuned-longer-0")
    assert config.retrain.epochs == 2  # two halves of an epoch were the search's
    table = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split(" | ")[0] for line in table[2:]] == ["| grown", "| fine-tuned-longer"]

    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    pretrained.main()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == times


@pytest.mark.parametrize("frames", [2, CONTEXT, WINDOW, WINDOW + 1, WINDOW + 2, 1793])
def test_every_frame_of_a_roll_is_predicted_once_from_the_one_before(frames: int) -> None:
    roll = np.random.default_rng(0).integers(0, 2, (frames, 88)).astype(np.uint8)
    predicted = []
    for i, (x, y) in enumerate(windows(roll)):
        known = ~np.isnan(y[0])
        predicted.append(y[:, known])
        start = i * (WINDOW - CONTEXT)
        seen = x[:, : len(roll) - 1 - start]
        assert (seen == roll.T[:, start : start + seen.shape[1]]).all()
        assert i == 0 or not known[:CONTEXT].any()
    assert (np.concatenate(predicted, 1) == roll.T[:, 1:]).all()
