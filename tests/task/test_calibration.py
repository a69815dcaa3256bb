"""Calibration: known biases are measured, figures equal their definitions, a temperature mends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from dashfx.data import load_data
from dashfx.task import load_task, scores_by_class
from dashfx.task.calibration import calibration_of, temperature_of, trust

Rows = tuple[torch.Tensor, torch.Tensor]


def rows(n: int, sharper: float = 1.0, seed: int = 0, classes: int = 4) -> Rows:
    """Scores whose softmax at temperature `sharper` is the true probability of each class."""
    draw = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(n, classes, generator=draw)
    truth = torch.multinomial(scores.softmax(1), 1, generator=draw)[:, 0]
    return sharper * scores, truth


def test_one_that_is_calibrated_and_ones_that_are_not() -> None:
    assert calibration_of(*rows(20_000)).error < 0.015
    for certain in (0.7, 0.9):  # right in half of the rows, whatever it says
        rest = (1 - certain) / 3
        scores = torch.tensor([certain, rest, rest, rest]).log().expand(4000, 4)
        truth = torch.arange(4000) % 2
        assert calibration_of(scores, truth).error == pytest.approx(certain - 0.5, abs=0.01)


def test_figures_are_their_definitions() -> None:
    scores, truth = rows(500, 3.0)
    found, p = calibration_of(scores, truth), scores.double().softmax(1)
    expected = multiclass_calibration_error(p, truth, 4, n_bins=15)
    assert found.error == pytest.approx(float(expected), abs=1e-6)
    assert found.nll == pytest.approx(float(-p[torch.arange(500), truth].log().mean()))
    held = torch.nn.functional.one_hot(truth, 4)
    assert found.brier == pytest.approx(float(((p - held) ** 2).sum(1).mean()))
    gaps = []
    for k in range(4):
        right, place = held[:, k].double(), np.minimum(np.ceil(p[:, k].numpy() * 15).astype(int), 15)
        gaps.append(sum(abs(float((right - p[:, k])[place == b].sum())) for b in range(16)) / 500)
    assert found.by_class == pytest.approx(np.mean(gaps))
    assert calibration_of(scores, truth, 3.0).nll < found.nll


@pytest.mark.parametrize("sharper", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_and_never_raises_the_nll_of_its_rows(sharper: float) -> None:
    held = rows(5000, sharper)
    found = temperature_of(*held)
    assert found == pytest.approx(sharper, rel=0.1)
    assert calibration_of(*held, found).nll <= calibration_of(*held).nll
    told = trust(held, rows(5000, sharper, seed=1))
    assert told.temperature == found and told.scaled.error < 0.03


def test_a_perfect_classifier_is_left_as_it_is() -> None:
    scores = 50.0 * torch.eye(3).repeat(4, 1)
    assert calibration_of(scores, torch.arange(12) % 3, temperature_of(scores, torch.arange(12) % 3)).nll < 1e-6


def test_it_stands_with_the_scores_of_the_classes() -> None:
    data = load_data((np.zeros((60, 1, 4), np.float32), np.arange(60) % 3))
    scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    loader = [(torch.zeros(6, 1, 4), torch.tensor([0, 1, 2, 0, -100, 2]))]
    found = scores_by_class(lambda x: scores, loader, load_task(None, data), data, held=loader)
    assert found is not None and found.trust is not None
    assert found.trust.plain.error == pytest.approx(found.calibration, abs=1e-6)
    assert scores_by_class(lambda x: scores, loader, load_task(None, data), data).trust is None  # type: ignore[union-attr]
