"""Account of a run's time: every second stands in one place, and nothing is called training that is not."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from dashfx.cli.tables import costs as cost_tables
from dashfx.report.models import times
from dashfx.run.ledger import Ledger
from dashfx.run.outcome.account import KINDS, MEASURING, Account, account
from dashfx.train.progress import Epoch, Observer, Observers


def epoch(stage: str, number: int, seconds: float, **spent: float) -> Epoch:
    return Epoch(stage, number, 2, 1.0, 0.5, 0.5, 0.1, seconds, 1.0, spent=spent)


HISTORY = [
    epoch("race-1-k7 d1", 0, 2.0, data=0.5, validation=0.25),
    epoch("race-1-k5 d1", 0, 1.0),
    epoch("retrain", 0, 4.0, validation=1.0),
    epoch("control", 0, 3.0, calibration=0.5),
    epoch("control-seed-2", 0, 5.0),
]
SECONDS = {"import": 6.0, "trace": 0.5, "lower": 0.5, "race-1-k7 d1": 3.0, "race-1-k5 d1": 1.0}
SECONDS |= {"retrain": 4.0, "control": 3.0, "control-seed-2": 5.0, "export": 2.0}


def found(elapsed: float = 20.0, untouched: str | None = "control", **more: Any) -> Account:
    given: dict[str, Any] = {"seconds": SECONDS, "parts": {"race-1-k7 d1": {MEASURING: 0.75}}, "history": HISTORY}
    return account(**{**given, **more}, elapsed=elapsed, untouched=untouched)


def test_every_second_stands_in_one_row_and_one_kind() -> None:
    assert dict(found().rows) == {
        "import": {"other": 6.0},
        "rewrite": {"other": 1.0},
        "race": {"training": 2.25, "data": 0.5, "validation": 0.25, "measuring": 0.75, "other": 0.25},
        "retrain": {"training": 3.0, "validation": 1.0},
        "control": {"training": 7.5, "calibration": 0.5},
        "export": {"other": 2.0},
        "else": {"other": 1.0},
    }
    assert found().total == 6.0 + 20.0 and found().share == pytest.approx(12.75 / 26)
    assert found().kinds == ["training", "data", "validation", "calibration", "measuring", "other"]


def test_the_cost_in_trainings_of_the_untouched_network() -> None:
    assert found().untouched == 4.0 and found().trainings == 26 / 4  # two seeds of it, eight seconds
    assert found(untouched=None).trainings is None and "trainings" not in found(untouched=None).sentence
    assert found().sentence == "49 % of 26.0 s was training; all of it is 6.5 trainings of the untouched network"
    assert Account().share == 0.0


def test_epochs_of_an_earlier_process_count_although_this_clock_has_not_seen_them() -> None:
    resumed = found(elapsed=2.5, seconds={"retrain": 0.5, "export": 2.0}, parts={})
    assert resumed.rows["retrain"] == {"training": 3.0, "validation": 1.0}
    assert resumed.total == 15.0 + 2.0 and "else" not in resumed.rows


def test_an_account_comes_back_from_json() -> None:
    assert Account.from_dict(json.loads(json.dumps(found().to_dict()))) == found()
    assert Account.from_dict(json.loads(json.dumps(Account().to_dict()))) == Account()


def test_what_the_report_took_is_added_and_a_page_goes_without() -> None:
    whole = found().reported(1.25)
    assert whole.total == found().total + 1.25 and whole.without("report") == found()
    assert found(elapsed=20.00049) == found() and found(elapsed=20.0006) != found()  # as many digits as files have


def test_the_table_and_the_page_show_the_longest_stage_first() -> None:
    table = cost_tables.account(found())
    assert list(table.columns[0].cells)[:2] == ["control", "import"] and list(table.columns[-1].cells)[-1] == "26.0"
    result: Any = SimpleNamespace(account=found(), seconds=SECONDS, history=HISTORY, memory={})
    page = times(result)
    assert "49 % of 26.0 s was training" in page and page.index(">control<") < page.index(">import<")
    result.account = None  # a run of an earlier version
    assert "was training" not in times(result)


@pytest.mark.parametrize("many", [4, 5, 7])
def test_the_table_fits_eighty_columns_and_stages_keep_their_names(many: int) -> None:
    every = dict.fromkeys(KINDS[-many:], 1234.5)
    text = Console(width=80, file=io.StringIO())
    text.print(cost_tables.account(Account({"control-longer": every, "ensemble": {"other": 0.01}}, 1.0)))
    lines = text.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    row = next(line.split() for line in lines if "control-longer" in line)
    assert row == ["control-longer", *["1234.5"] * many, str(1234.5 * many)]


def test_a_part_goes_to_the_innermost_stage_that_is_running() -> None:
    ledger = Ledger()
    with ledger.part("measuring"):
        ledger.spent("saving", 1.0)  # outside of all stages it counts nowhere
    assert ledger.parts == {}
    ledger.open.extend(["search", "lower"])
    ledger.spent("saving", 1.0)
    ledger.spent("saving", 2.0)
    assert ledger.parts == {"lower": {"saving": 3.0}}
    other = ledger.apart()
    assert other.open == [] and other.parts == {} and ledger.open == ["search", "lower"]


def test_several_listeners_began_when_the_first_did() -> None:
    early, late = Observer(), Observer()
    assert Observers([early, late]).began is None
    late.began = 5.0
    assert Observers([early, late]).began == 5.0
    early.began = 3.0
    assert Observers([late, early]).began == 3.0
