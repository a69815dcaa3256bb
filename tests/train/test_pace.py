"""The time left: epochs that are planned and not done, at the pace of those that are."""

from __future__ import annotations

import pytest

from dashfx.train.pace import PLAIN_EPOCHS, Pace
from dashfx.train.progress import Epoch


def epoch(stage: str, number: int, seconds: float) -> Epoch:
    return Epoch(stage, number, 10, 1.0, 0.5, 0.5, 0.1, seconds, 1.0)


def test_nothing_is_said_before_the_first_epoch_or_without_a_plan() -> None:
    pace = Pace()
    pace.epoch(epoch("search", 0, 8.0))
    assert pace.left() is None
    pace = Pace()
    pace.planned({"search": 3})
    assert pace.left() is None


def test_stages_to_come_count_at_their_own_pace() -> None:
    pace = Pace()
    pace.planned({"search": 3, "retrain": 5, "control": 5})
    pace.epoch(epoch("search", 0, 8.0))
    assert pace.left() == pytest.approx(2 * 8 + 10 * 8 / PLAIN_EPOCHS)
    pace.finished("search")
    pace.epoch(epoch("retrain", 0, 3.0))
    assert pace.left() == pytest.approx(4 * 3 + 5 * 3)


def test_a_training_that_validation_ends_takes_at_most_its_plan() -> None:
    pace = Pace()
    pace.planned({"retrain": 60, "control": 60})
    assert pace.about == "about"
    pace.planned({"retrain": 60, "control": 60}, at_most=True)
    assert pace.about == "at most"
    pace.epoch(Epoch("retrain", 9, 60, 1.0, 0.5, 0.5, 0.1, 3.0, 1.0, open=True))
    assert pace.left() == pytest.approx(50 * 3 + 60 * 3)
    pace.epoch(Epoch("retrain", 10, 15, 1.0, 0.5, 0.5, 0.1, 3.0, 1.0))  # by now 15 are known to be enough
    assert pace.left() == pytest.approx(4 * 3 + 60 * 3)
    pace.finished("retrain")
    assert pace.left() == pytest.approx(60 * 3)


def test_without_a_search_a_plain_epoch_is_known_at_once() -> None:
    pace = Pace()
    pace.planned({"retrain": 2})
    pace.epoch(epoch("retrain", 1, 3.0))
    assert pace.left() == 0
