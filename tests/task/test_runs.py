"""Tasks at every position through a whole run: the ONNX file gives the same metric, and `eval` needs only the data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from toys import FAST

import dashfx
from dashfx.cli.verbs.eval import _of_file
from dashfx.config.run import RunConfig
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.stages.reopen import result_of
from dashfx.task import LossOptions, load_task

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
    config = {**FAST, "task": task}
    result = dashfx.search(lambda: Net(outputs), str(tmp_path / "waves.npz"), config=config, out=tmp_path / "run")
    assert result.onnx_valid == pytest.approx(result.valid, rel=1e-4)
    _, _, ((_, _, score),) = _of_file(tmp_path / "run" / "model.onnx", str(tmp_path / "waves.npz"), "test", None, 0)
    assert score == pytest.approx(result.test, rel=1e-4)
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert facts["output_shape"] == [outputs, SIZE] and facts["rows"]["test"] == 12
    stored = read_metadata(tmp_path / "run" / "model.onnx")
    assert json.loads(stored["normalisation"]) == facts["normalisation"]
    if outputs == 1:
        assert "target_normalisation" not in stored  # the file's outputs are in the data's units
        assert json.loads(stored["target_normalisation_undone"]) == facts["target_normalisation"]
        whole = OnnxModel(tmp_path / "run" / "model.onnx").rows(torch.zeros(1, 2, SIZE))
        assert 200 < float(whole.mean()) < 400
        assert facts["target_normalisation"]["mean"] == pytest.approx([300], abs=5)
        assert result.test < 40  # in the data's units; a model that forgot them would be off by 300
    else:
        assert facts["target_normalisation"] is None and "target_normalisation" not in stored


ROWS = """from torch import nn

class Rows(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 24, 3))
"""


def test_outputs_in_different_units_count_alike(tmp_path: Path) -> None:
    """Each output is learnt in its own unit; the file answers in these, and `eval` and `export` keep them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 2, SIZE)).astype(np.float32)
    scales = np.array([1e5, 300.0, 1e-3])
    y = np.stack([x[:, 0].mean(1), x[:, 1].mean(1), x[:, :, :4].mean((1, 2))], 1) * scales + 7 * scales
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    (tmp_path / "rows.py").write_text(ROWS)
    out, spec = tmp_path / "run", str(tmp_path / "rows.npz")
    result = dashfx.search(f"{tmp_path / 'rows.py'}:Rows", spec, config={**FAST, "data": spec}, out=out)
    assert result.task.metric_name == "r2" and result.task.maximise
    assert result.onnx_valid == pytest.approx(result.valid, abs=1e-3)
    told = json.loads((out / "result.json").read_text())["outputs"]
    assert [each["name"] for each in told] == ["y0", "y1", "y2"]
    assert np.mean([each["r2"] for each in told]) == pytest.approx(result.test, abs=1e-3)
    assert told[0]["mae"] > 1e6 * told[2]["mae"] and "Output by output" in (out / "report.html").read_text()
    assert [asdict(each) for each in result_of(out)[1].outputs] == told
    answers = OnnxModel(out / "model.onnx").rows(torch.from_numpy(x)).numpy() / scales
    assert ((answers.mean(0) > 4) & (answers.mean(0) < 10)).all()  # about 7 of each unit
    assert yaml.safe_load((out / "config.yaml").read_text())["loss"]["normalise_targets"] is None
    _, _, ((_, _, score),) = _of_file(out / "model.onnx", spec, "test", None, 0)
    assert score == pytest.approx(result.test, abs=1e-3)


def test_a_run_of_an_earlier_version_is_in_the_datas_units() -> None:
    """Its config.yaml holds false where it said nothing."""
    data = dashfx.data.load_data({"x": np.zeros((40, 1, 8)) + np.arange(40)[:, None, None], "y": np.arange(40) / 3.0})
    old = LossOptions(**RunConfig.parse({"loss": {"normalise_targets": False}}).loss.model_dump())
    new = LossOptions(**RunConfig.parse({}).loss.model_dump())
    assert load_task(None, data, old).target is None and load_task(None, data, old).metric_name == "relative_l2"
    assert load_task(None, data, new).target is not None and load_task(None, data, new).metric_name == "r2"
