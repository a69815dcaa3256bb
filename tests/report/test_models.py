"""The report's table of time: text of durations, and the epochs of a process before this one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dashfx.report.figures import curves
from dashfx.report.models import duration, spent
from dashfx.train.progress import Epoch

EPOCHS = [Epoch("search", number, 2, 1.0 - number, 0.5 + number / 4, 0.75, 0.1, 3.0, 1.0) for number in range(2)]


def test_durations_as_text() -> None:
    found = [duration(seconds) for seconds in (59.9, 60, 3599, 3600, 3661)]
    assert found == ["59.9 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 h 1 min"]


def test_a_resumed_stage_took_its_epochs_at_least() -> None:
    result: Any = SimpleNamespace(history=EPOCHS, seconds={"search": 3.5, "export": 2.0})
    assert spent(result) == {"search": 6.0, "export": 2.0}
    result.seconds["search"] = 7.0
    assert spent(result)["search"] == 7.0


def test_the_epoch_that_is_marked_is_the_one_that_was_kept() -> None:
    assert curves(EPOCHS, "accuracy", 0) != curves(EPOCHS, "accuracy", 1)
