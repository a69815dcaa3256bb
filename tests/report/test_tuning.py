"""The report's table of trials: those that came to their end first, the best on top."""

from __future__ import annotations

import pytest

from dashfx.report.tuning import rank
from dashfx.tune import Trial


def trial(number: int, state: str, metric: float | None) -> Trial:
    return Trial(number, {"lr": 0.1}, metric, state, 3, 1.0)


@pytest.mark.parametrize(("maximise", "order"), [(True, [2, 0, 1, 3]), (False, [0, 2, 3, 1])])
def test_the_best_of_the_finished_trials_comes_first(maximise: bool, order: list[int]) -> None:
    trials = [trial(0, "complete", 0.5), trial(1, "pruned", 0.9), trial(2, "complete", 0.7), trial(3, "pruned", 0.1)]
    assert [each.number for each in sorted(trials, key=lambda each: rank(each, maximise))] == order
