"""The jackknife gives the standard errors that are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from toys import toy_data

from dashfx.task import load_task
from dashfx.task.spread import standard_error

CLASSIFY = load_task("classify", toy_data())


def scores(right: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of three classes that are right on so many rows, and the classes."""
    y = torch.arange(rows) % 3
    said = torch.where(torch.arange(rows) < right, y, (y + 1) % 3)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.one_hot(said, 3).float()[order], y[order]


def test_a_share_has_that_of_the_binomial() -> None:
    error = standard_error(lambda x: x, [scores(150, 200)], CLASSIFY, groups=200)
    assert error == pytest.approx(math.sqrt(0.75 * 0.25 / 199), rel=1e-4)


def test_batches_do_not_matter() -> None:
    x, y = scores(150, 200)
    whole = standard_error(lambda x: x, [(x, y)], CLASSIFY)
    assert whole > 0 and standard_error(lambda x: x, list(zip(x.split(7), y.split(7), strict=True)), CLASSIFY) == whole


@pytest.mark.parametrize(("right", "rows"), [(1, 1), (200, 200)])
def test_none_to_be_told(right: int, rows: int) -> None:
    assert standard_error(lambda x: x, [scores(right, rows)], CLASSIFY) == 0.0
