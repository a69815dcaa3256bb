"""The stopwatch on a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashfx.train.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("dashfx.train.stopwatch.time.perf_counter", lambda: now[0])
    return now


def test_seconds_add_up_by_name_also_where_it_ends_in_an_error(clock: list[float]) -> None:
    watch = Stopwatch()
    for seconds in (1.0, 2.0):
        with watch.during("validation"):
            clock[0] += seconds
    with pytest.raises(ZeroDivisionError), watch.during("saving"):
        clock[0] += 4.0
        raise ZeroDivisionError
    assert watch.seconds == {"validation": 3.0, "saving": 4.0}


def test_what_is_done_with_an_item_is_no_waiting(clock: list[float]) -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            clock[0] += 1.0
            yield number
        clock[0] += 0.5  # until it is known that there is none left

    watch, taken = Stopwatch({"data": 1.0}), []
    for item in watch.waiting("data", slow()):
        clock[0] += 10.0
        taken.append(item)
    assert taken == [0, 1, 2] and watch.seconds == {"data": 4.5}
