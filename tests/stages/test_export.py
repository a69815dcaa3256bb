"""The export stage: the file is checked on real rows, and its metric is held against PyTorch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import FAST, ToyNet, toy_data

from dashfx.deploy.export import export
from dashfx.errors import VerifyError
from dashfx.run.inputs import Inputs
from dashfx.run.prepare import prepare
from dashfx.stages.export import PROGRAM, check_metric, is_users, onnx_metric, real_rows


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inputs, ToyNet, Path, float]:
    """Inputs of a run, its model, the file, and the metric through the file."""
    inputs, path = prepare(ToyNet, toy_data(), config=FAST).inputs, tmp_path_factory.mktemp("onnx") / "model.onnx"
    torch.manual_seed(0)
    model = ToyNet().eval()
    export(model, inputs.example, path, rows=real_rows(inputs.data), dynamic_size=False)
    return inputs, model, path, onnx_metric(path, inputs.data, inputs.task)


def test_real_rows_come_from_all_over_the_validation_part(exported: tuple[Inputs, ToyNet, Path, float]) -> None:
    valid = exported[0].data.valid
    rows = real_rows(exported[0].data)
    assert rows.shape == (min(16, len(valid)), 2, 24)
    assert torch.equal(rows[0], valid[0][0]) and torch.equal(rows[-1], valid[len(valid) - 1][0])


def test_a_users_own_predict_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "predict.py"
    assert not is_users(path)
    path.write_text(PROGRAM.read_text())
    assert not is_users(path)  # ours, of an earlier export
    path.write_text("class Net: pass")
    assert is_users(path)


def test_a_gap_without_other_answers_is_half_precision_or_a_tie(exported: tuple[Inputs, ToyNet, Path, float]) -> None:
    inputs, model, path, metric = exported
    for valid in (metric, metric + 0.2, float("nan")):
        check_metric(inputs, model, path, valid, metric)
    check_metric(inputs, model, path, float("nan"), float("nan"))


def test_a_gap_with_other_answers_is_an_error(exported: tuple[Inputs, ToyNet, Path, float]) -> None:
    inputs, _, path, metric = exported
    torch.manual_seed(1)
    other, rows = ToyNet().eval(), len(inputs.data.valid)
    with pytest.raises(VerifyError, match=rf"ONNX Runtime gives accuracy .* and PyTorch .* on {rows} of {rows} rows"):
        check_metric(inputs, other, path, metric + 0.2, metric)
    with pytest.raises(VerifyError, match="other answers on"):
        check_metric(inputs, other, path, 0.5, float("nan"))
    with torch.no_grad():
        other.load_state_dict(exported[1].state_dict())
        other.fc.bias[0] = np.nan
    with pytest.raises(VerifyError, match="other answers on"):
        check_metric(inputs, other, path, 0.5, 0.9)


def test_a_model_that_answers_alike_may_have_any_metric(exported: tuple[Inputs, ToyNet, Path, float]) -> None:
    """One row that differs is a near-tie, not a fault."""
    inputs, model, path, metric = exported
    once = iter([True])

    class Tie(ToyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return torch.cat([-y[:1], y[1:]]) if next(once, False) else y

    tie = Tie().eval()
    tie.load_state_dict(model.state_dict())
    check_metric(inputs, tie, path, metric + 0.2, metric)
