"""The verdict's sentences, on standings made by hand, and standings as they are written and read."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from finished import CHOICES

from dashfx.cost.latency import Figures, Latency
from dashfx.options.morph import Morph
from dashfx.run.outcome.front import Point
from dashfx.run.outcome.standing import Short, Standing
from dashfx.run.outcome.verdict import outcome, verdict
from dashfx.task.lead import Lead

OPEN = Lead(0.02, -0.01, 0.05, 80, "normal over the paired rows")
CLEAR, BEHIND = replace(OPEN, low=0.005), replace(OPEN, difference=-0.03, low=-0.05, high=-0.01)


def standing(name: str, origin: str, judged: float, cost: float | None = 1.0, **more: Any) -> Standing:
    return Standing(name, origin, CHOICES, origin, judged + 0.01, judged=judged, cost=cost, **more)


SEARCHED, UNTOUCHED = standing("k7 d1", "searched", 0.9, 2.5, kept=True), standing("untouched", "untouched", 0.88)


def said(*controls: Standing, searched: Standing = SEARCHED) -> str:
    return verdict(searched, {each.origin: each for each in controls}, searched, True)


def test_what_is_chosen_beside_kernels_is_read_as_it_was_written() -> None:
    grown = replace(CHOICES, others={"conv1:morph": Morph("widen", "conv1", (("channels", 8),))})
    point = Point(grown, 2.0, "2 us", 0.5, 0.9)
    assert Point.from_dict(json.loads(json.dumps(point.to_dict()))).genotype.others == grown.others
    facts = json.loads(json.dumps(replace(SEARCHED, genotype=grown).to_dict()))
    assert Standing.from_dict(facts, None).genotype.others == grown.others
    assert "others" not in SEARCHED.to_dict() and "others" not in replace(point, genotype=CHOICES).to_dict()


def test_figures_are_those_that_decide() -> None:
    assert outcome(SEARCHED, UNTOUCHED, SEARCHED, True) == (
        "validation: searched 0.9000, untouched 0.8800; k7 d1 is kept"
    )
    old = replace(SEARCHED, judged=math.nan)
    assert "searched 0.9100" in outcome(old, UNTOUCHED, old, True)  # of runs that did not judge otherwise


def test_an_interval_that_holds_0_leaves_it_open() -> None:
    text = said(replace(UNTOUCHED, lead=OPEN))
    assert "against untouched +0.0200 [-0.0100, +0.0500], which is better is open" in text
    assert "differences are those of the kept weights on the same 80 validation rows" in text
    assert "with intervals of 95 % (normal over the paired rows)" in text
    assert "[+0.0050, +0.0500], better" in said(replace(UNTOUCHED, lead=CLEAR))
    assert "-0.0300 [-0.0500, -0.0100], worse" in said(replace(UNTOUCHED, lead=BEHIND))


def test_a_difference_in_training_stands_beside_the_figure() -> None:
    text = said(replace(UNTOUCHED, lead=OPEN))
    assert "after 2.50 times the untouched model's training" in text and "may explain such a difference" in text
    equal = said(replace(UNTOUCHED, lead=OPEN), searched=replace(SEARCHED, cost=1.04))
    assert "after equal training" in equal and "may explain" not in equal
    controls = {"untouched": replace(UNTOUCHED, lead=OPEN)}
    converged = verdict(SEARCHED, controls, SEARCHED, True, converged=True)
    assert "2.50 times" in converged and "had converged, so more" in converged and "may explain" not in converged


def test_a_longer_untouched_model_makes_it_equal() -> None:
    longer = standing("untouched, longer", "longer", 0.89, 2.5, lead=OPEN)
    wider = standing("untouched, wider", "wider", 0.87, 1.5, lead=CLEAR)
    text = said(replace(UNTOUCHED, lead=CLEAR), longer, wider)
    assert "may explain" not in text
    assert "against untouched, longer (0.8900) +0.0200 [-0.0100, +0.0500], which is better is open, after equal" in text
    assert "after 2.50 and 1.50 times the untouched model's training" in text


def test_without_an_interval_none_is_claimed() -> None:
    assert "against untouched without an interval, after" in said(UNTOUCHED)
    few = Lead(0.5, math.nan, math.nan, 1, "normal over the paired rows")
    assert "against untouched without an interval, after" in said(replace(UNTOUCHED, lead=few))


def test_of_a_diverged_control_no_figure_and_no_training_is_claimed() -> None:
    gone = replace(standing("untouched, longer", "longer", math.nan, 2.5), valid=math.nan)
    text = said(replace(UNTOUCHED, lead=CLEAR), gone)
    assert "the training of untouched, longer diverged, so nothing is known against it" in text
    assert "nan" not in text and "equal training" not in text


def test_an_unchanged_model_has_not_won() -> None:
    text = verdict(SEARCHED, {}, SEARCHED, False)
    assert text.startswith("validation: 0.9000; unchanged: ") and "nobody has won" in text
    two = verdict(SEARCHED, {"untouched": UNTOUCHED}, SEARCHED, False)  # as earlier versions trained both
    assert "searched 0.9000, untouched 0.8800; unchanged" in two and "is kept" not in two


def test_seeds_show_their_spread() -> None:
    text = said(UNTOUCHED, searched=replace(SEARCHED, spread=0.012, seeds=3))
    assert "searched 0.9000 ± 0.0120 (3 trainings)" in text


def test_a_standing_is_read_as_it_was_written() -> None:
    figures = Figures(0.91, 0.85, 1234, 5000, Latency(0.002, 0.001, 0.003, 30, 1))
    whole = replace(SEARCHED, figures=figures, lead=OPEN, spread=0.01, seeds=3, steps=12, search_steps=4)
    facts = json.loads(json.dumps(whole.to_dict()))
    assert (facts["parameters"], facts["macs"], facts["test"]) == (1234, 2500, 0.85)
    assert Standing.from_dict(facts, None) == whole
    bare = replace(whole, figures=None, lead=None, spread=None)
    assert Standing.from_dict(json.loads(json.dumps(bare.to_dict())), None) == bare


def test_what_diverged_has_no_number_in_the_file() -> None:
    lost = replace(SEARCHED, valid=math.nan, judged=math.nan).to_dict()
    text = json.dumps([lost, Short("a", "race-1-a", 5, math.nan, math.nan, False).to_dict()], allow_nan=False)
    facts, short = json.loads(text)
    again, before = Standing.from_dict(facts, None), Short.from_dict(short)
    assert all(map(math.isnan, (again.valid, again.judged, before.loss, before.valid)))
    assert (before.name, before.epochs, before.kept) == ("a", 5, False)


def test_an_entry_of_an_earlier_version_is_read() -> None:
    figures = Figures(0.91, 0.85, 1234, 5000)
    facts = SEARCHED.to_dict()
    new = ("judged", "spread", "seeds", "parameters", "macs", "latency", "lead", "cost")
    old = {name: value for name, value in facts.items() if name not in new} | {"test": 0.85}
    found = Standing.from_dict(old, figures)
    assert found.figures == figures and found.value == found.valid and (found.seeds, found.cost) == (1, None)
