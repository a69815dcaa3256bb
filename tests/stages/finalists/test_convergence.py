"""Whether a training has converged, on curves made by hand."""

from __future__ import annotations

import pytest

from dashfx.stages.finalists.convergence import has_converged
from dashfx.train.progress import Epoch


def curve(valid: list[float], loss: float = 1.0) -> list[Epoch]:
    return [
        Epoch("control", i, len(valid), loss, 0.5, 0.5, 0.1, 1.0, 1.0, {}, 3, value) for i, value in enumerate(valid)
    ]


@pytest.mark.parametrize(
    ("valid", "loss", "converged"),
    [
        ([2 - 0.02 * i for i in range(50)], 1.0, False),  # still falls, evenly
        ([1.0] * 50, 1.0, True),  # rests
        ([2.0] * 40 + [1.0, 1.2] * 5, 1.0, True),  # moves, and goes nowhere
        ([2 - 0.02 * i for i in range(50)], 0.2, True),  # the training part is learned
        ([1.0] * 4, 0.1, False),  # too few epochs to say
        ([1 + 0.02 * i for i in range(50)], 1.0, True),  # it rises
    ],
)
def test_curves(valid: list[float], loss: float, converged: bool) -> None:
    assert has_converged(curve(valid, loss)) == converged


def test_only_the_end_counts() -> None:
    assert has_converged(curve([5 - 0.1 * i for i in range(40)] + [1.0, 1.01] * 5))
    assert not has_converged(curve([1.0] * 40 + [1 - 0.01 * i for i in range(10)]))
