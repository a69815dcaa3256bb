"""The ledger of a run adds up what a stage has taken."""

from __future__ import annotations

from dashfx.run.ledger import Ledger


def test_a_stage_that_is_gone_through_twice_has_both_times_and_the_higher_peak() -> None:
    ledger = Ledger()
    ledger.took("lower", 2.0, 300)
    ledger.took("lower", 1.0, 200)
    assert ledger.seconds == {"lower": 3.0} and ledger.memory == {"lower": 300}


def test_what_is_done_apart_counts_nowhere() -> None:
    ledger = Ledger()
    apart = ledger.apart()
    apart.took("lower", 2.0, 300)
    apart.notes.append("said")
    assert not ledger.seconds and not ledger.memory and ledger.notes == ["said"]
