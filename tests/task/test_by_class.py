"""Scores class by class: counted by hand, ignored positions left out, and none for tasks without classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dashfx.data import Data, load_data
from dashfx.data.base import IGNORED
from dashfx.task import by_class, load_task, scores_by_class

ANSWERS = [0, 0, 1, 1, 1, 2]
TRUTH = [0, 1, 1, 1, 2, 2]


def rows() -> Data:
    x = np.zeros((60, 1, 4), np.float32)
    return load_data((x, np.arange(60) % 3))


def predict(x: Tensor) -> Tensor:
    """One-hot scores of this size for the answers, whatever the rows."""
    return 50.0 * torch.nn.functional.one_hot(torch.tensor(ANSWERS), 3).float()


def test_scores_are_counted_by_hand() -> None:
    data = rows()
    loader = [(torch.zeros(6, 1, 4), torch.tensor(TRUTH))]
    found = scores_by_class(predict, loader, load_task(None, data), data)
    assert found is not None and found.counts == (1, 3, 2)
    assert found.confusion == ((1, 0, 0), (1, 2, 0), (0, 1, 1))
    assert found.precision == pytest.approx((1 / 2, 2 / 3, 1)) and found.recall == pytest.approx((1, 2 / 3, 1 / 2))
    assert found.calibration == pytest.approx(2 / 6)  # certain of all, right in four of six


def test_ignored_positions_and_classes_that_do_not_occur() -> None:
    data = rows()
    loader = [(torch.zeros(6, 1, 4), torch.tensor([0, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED]))]
    found = scores_by_class(predict, loader, load_task(None, data), data)
    assert found is not None and found.counts == (1, 0, 0)
    assert found.recall == (1.0, None, None) and found.precision == (1.0, None, None)


def test_of_many_positions_the_first_ones_tell_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_class, "MOST_POSITIONS", 8)
    data, right = rows(), torch.tensor(ANSWERS)
    loader = [(torch.zeros(6, 1, 4), truth) for truth in (right, 2 - right, 2 - right)]
    found = scores_by_class(predict, loader, load_task(None, data), data)
    assert found is not None and sum(found.counts) == 18, "the counts are of all"
    assert found.calibration == pytest.approx(2 / 8)  # six that are right and two that are not


def test_a_regression_has_no_classes() -> None:
    data = load_data((np.zeros((40, 1, 4), np.float32), np.random.default_rng(0).random((40, 2)).astype(np.float32)))
    assert scores_by_class(predict, [], load_task("regress", data), data) is None
