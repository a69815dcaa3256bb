"""What the report says of several searches and of tied ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from finished import EVIL, K7, Balance, config, written

from dashfx.data import Data
from dashfx.genotype import Genotype
from dashfx.report.agreement import agreement
from dashfx.report.warnings import warnings_of
from dashfx.run.result import Result
from dashfx.strategies.agreement import Agreement, Decided


def decided(*choices: str, sites: tuple[str, ...] = ("a",), candidates: int = 20) -> Decided:
    return Decided(sites, candidates, choices, tuple(0.25 + i / 4 for i in range(len(choices))))


def said_of(result: Result, found: Agreement | None, data: Data) -> list[str]:
    said = warnings_of(replace(result, agreement=found), config(), data)
    return [each for each in said if "searches that only their seeds tell apart" in each]


def test_every_decision_has_a_row_with_the_choice_of_each_seed(tmp_path: Path, result: Result, data: Data) -> None:
    found = Agreement((decided("k3 d1", "k3 d1"), decided("k5 d2", "k7 d1", sites=("b",))))
    page = Balance(written(tmp_path, replace(result, agreement=found), config(), data))
    assert not page.open and "Agreement of the searches" in page.text
    sentence = "Two seeds agree at 1 of 2 sites (chance 0.1)"
    for words in (sentence, "search 1", "search 2", "k3 d1 (0.25)", "k3 d1 (0.50)", "k7 d1 (0.50)", "alike", "no"):
        assert words in page.text, words


def test_tied_sites_of_one_search_are_named_with_their_coefficient() -> None:
    names = tuple("abcdefg")
    text = str(agreement(Agreement((decided("k3 d1", sites=names),))))
    assert "Tied decisions" in text and "a, b, c, d and 3 more" in text and "k3 d1 (0.25)" in text
    assert "agree" not in text.lower() and "alike" not in text
    bare = Decided(("a",), 4, ("k3 d1",), (None,))
    assert "k3 d1</td>" in str(agreement(Agreement((bare,))))


def test_names_of_a_user_are_escaped() -> None:
    assert EVIL not in str(agreement(Agreement((decided("k3 d1", sites=(EVIL,)),))))


def test_one_search_without_ties_has_no_such_part(tmp_path: Path, result: Result, data: Data) -> None:
    assert agreement(None) == "" and "Agreement of the searches" not in written(tmp_path, result, config(), data)


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        ((decided("x", "y"), decided("x", "x"), decided("x", "y")), "differ at 2 of 3 decisions"),
        ((decided("x", "x", candidates=2),), "agree no more than chance may do"),
        ((decided("x", "x"), decided("x", "x"), decided("y", "x")), "differ at 1 of 3 decisions"),
    ],
)
def test_a_choice_that_is_not_one_is_warned_of(
    decisions: tuple[Decided, ...], words: str, result: Result, data: Data
) -> None:
    (said,) = said_of(result, Agreement(decisions), data)
    assert words in said and "search.tie" in said
    tied = warnings_of(replace(result, agreement=Agreement(decisions)), config(tie="all"), data)
    assert not any("search.tie" in each for each in tied)


def test_a_choice_that_reproduces_is_not(result: Result, data: Data) -> None:
    assert said_of(result, Agreement((decided("x", "x"), decided("y", "y"))), data) == []
    assert said_of(result, Agreement((decided("x"),)), data) == [] == said_of(result, None, data)


def test_tied_sites_that_chose_the_same_are_no_collapse(result: Result, data: Data) -> None:
    same = replace(result, genotype=Genotype({"a": K7, "b": K7}, "argmax"))

    def collapsed(tie: str) -> bool:
        return any("sites chose" in each for each in warnings_of(same, config(tie=tie), data))

    assert collapsed("none") and not collapsed("all")
