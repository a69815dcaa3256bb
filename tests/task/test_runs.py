"""Tasks at every position through a whole run: the ONNX file gives the same metric, and `eval` needs only the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from toys import FAST

import dashfx
from dashfx.cli.eval import _of_file
from dashfx.deploy.runtime import read_metadata

SIZE = 24


class Net(nn.Sequential):
    """An answer at every position."""

    def __init__(self, outputs: int) -> None:
        super().__init__(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, outputs, 3, padding=1))


def waves(task: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2, SIZE)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0) if task == "dense-classify" else 300 + 40 * x[:, :1]
    y = y.copy()
    y[::3, ..., -4:] = -1 if task == "dense-classify" else np.nan
    return {"x": x, "y": y}


@pytest.mark.parametrize(("task", "outputs"), [("dense-classify:iou", 3), ("regress:mae", 1)])
def test_a_run_at_every_position(task: str, outputs: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", **waves(task.partition(":")[0]))
    config = {**FAST, "task": task, "loss": {"normalise_targets": outputs == 1}}
    result = dashfx.search(lambda: Net(outputs), str(tmp_path / "waves.npz"), config=config, out=tmp_path / "run")
    assert result.onnx_valid == pytest.approx(result.valid, rel=1e-4)
    _, _, ((_, _, score),) = _of_file(tmp_path / "run" / "model.onnx", str(tmp_path / "waves.npz"), "test", None, 0)
    assert score == pytest.approx(result.test, rel=1e-4)
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert facts["output_shape"] == [outputs, SIZE] and facts["rows"]["test"] == 12
    stored = read_metadata(tmp_path / "run" / "model.onnx")
    assert json.loads(stored["normalisation"]) == facts["normalisation"]
    if outputs == 1:
        assert json.loads(stored["target_normalisation"]) == facts["target_normalisation"]
        assert facts["target_normalisation"]["mean"] == pytest.approx([300], abs=5)
        assert result.test < 40  # in the data's units; a model that forgot them would be off by 300
    else:
        assert facts["target_normalisation"] is None and "target_normalisation" not in stored
