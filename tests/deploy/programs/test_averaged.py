"""The average of several models: its law in float64, its extremes, and the same answers in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toys import CLASSES, SIZE, ToyNet

from dashfx.data.normalisation import Normalisation
from dashfx.deploy.export import export
from dashfx.deploy.programs.averaged import AVERAGES, Averaged
from dashfx.deploy.runtime import OnnxModel
from dashfx.task import in_data_units


class Fixed(nn.Module):
    """Always the same scores."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores


def outputs(shape: tuple[int, ...], scale: float = 3.0, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def average(scores: list[Tensor], kind: str) -> Tensor:
    answer: Tensor = Averaged([Fixed(each) for each in scores], kind)(torch.zeros(1))
    return answer


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 6), (2, 3, 4, 5)])
def test_the_law_in_float64(shape: tuple[int, ...]) -> None:
    scores = outputs(shape)
    classes = torch.stack([each.softmax(1) for each in scores]).mean(0)
    torch.testing.assert_close(average(scores, "softmax"), classes.log(), rtol=1e-10, atol=1e-12)
    labels = torch.stack([each.sigmoid() for each in scores]).mean(0)
    torch.testing.assert_close(average(scores, "sigmoid"), labels.logit(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(average(scores, "mean"), sum(scores) / 3, rtol=1e-10, atol=1e-12)


def test_what_takes_scores_of_one_model_takes_these() -> None:
    scores = outputs((4, 3))
    classes = torch.stack([each.softmax(1) for each in scores]).mean(0)
    torch.testing.assert_close(average(scores, "softmax").softmax(1), classes, rtol=1e-10, atol=1e-12)
    labels = torch.stack([each.sigmoid() for each in scores]).mean(0)
    torch.testing.assert_close(average(scores, "sigmoid").sigmoid(), labels, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", AVERAGES)
def test_the_order_of_members_and_a_single_one_change_nothing(kind: str) -> None:
    scores = outputs((4, 3))
    torch.testing.assert_close(average(scores, kind), average(scores[::-1], kind), rtol=1e-12, atol=1e-12)
    alone = scores[0].log_softmax(1) if kind == "softmax" else scores[0]
    torch.testing.assert_close(average(scores[:1] * 2, kind), alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_large_scores_neither_under_nor_overflow(kind: str) -> None:
    """Probabilities of exp(-3000) are zero in float64, and of float32 long before; their logs are not."""
    scores = [each.float() for each in outputs((4, 3), scale=1000.0)]
    found = average(scores, kind)
    assert found.isfinite().all()
    wanted = average([each.double() for each in scores], kind)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-4)
    assert found.abs().max() > 500


def test_numbers_are_averaged_in_the_units_of_the_data() -> None:
    """The mean and the change of units commute, so it does not matter which comes first."""
    units, scores = Normalisation((2.0, -1.0), (3.0, 0.5)), outputs((4, 2))
    whole = in_data_units(Averaged([Fixed(each) for each in scores], "mean"), units).double()
    each = [in_data_units(Fixed(one), units).double()(torch.zeros(1)) for one in scores]
    torch.testing.assert_close(whole(torch.zeros(1)), sum(each) / 3, rtol=1e-6, atol=1e-6)


def test_what_is_no_average_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        Averaged([], "mean")
    with pytest.raises(ValueError, match="no average 'median'; there are softmax, sigmoid, mean"):
        Averaged([nn.Identity()], "median")


@pytest.mark.parametrize("kind", AVERAGES)
def test_onnx_runtime_gives_the_same_answers(kind: str, tmp_path: Path) -> None:
    """Other batch sizes and other sizes than the example's, and inputs a hundred times as large."""
    torch.manual_seed(0)
    whole = Averaged([ToyNet(), ToyNet(width=6)], kind).eval()
    report = export(whole, torch.randn(2, 2, SIZE), tmp_path / "ensemble.onnx")
    assert {case.what for case in report.verification.cases} >= {"x10", "x100"}
    model = OnnxModel(tmp_path / "ensemble.onnx")
    for rows, size, scale in ((1, SIZE, 1.0), (7, SIZE, 1.0), (3, SIZE + 9, 1.0), (5, SIZE, 100.0)):
        x = scale * torch.randn(rows, 2, size)
        with torch.no_grad():
            wanted = whole(x)
        assert wanted.shape == (rows, CLASSES)
        torch.testing.assert_close(model.rows(x), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
