"""Agreement of searches: what is counted, what chance would do, and the sentence that says so."""

from __future__ import annotations

import json
from itertools import product

import pytest

from dashfx import Candidate, Genotype
from dashfx.strategies.agreement import Agreement, Decided, Found, shares_of

A, B = Candidate(3), Candidate(5, 2)


def found(*choices: Candidate, decisions: list[list[str]] | None = None, count: int = 4) -> Found:
    names = [f"conv{i}" for i in range(len(choices))]
    shares = {name: 0.5 + i / 10 for i, name in enumerate(names)}
    groups = decisions or [[name] for name in names]
    return Found(Genotype(dict(zip(names, choices, strict=True))), groups, dict.fromkeys(names, count), shares)


def made(candidates: int, *rows: str) -> Agreement:
    """A decision a text, of a letter a seed."""
    none = (None,) * len(rows[0])
    return Agreement(tuple(Decided((str(i),), candidates, tuple(row), none) for i, row in enumerate(rows)))


def test_sites_are_alike_where_all_seeds_choose_the_same() -> None:
    agreement = Agreement.of([found(A, A, B), found(A, B, B), found(A, A, B)])
    assert agreement is not None
    assert [each.agreed for each in agreement.decisions] == [True, False, True]
    assert (agreement.seeds, agreement.agreed) == (3, 2)
    assert agreement.chance == pytest.approx(3 / 16)
    assert agreement.decisions[2].choices == ("k5 d2",) * 3 and agreement.decisions[2].coefficients == (0.7,) * 3


def test_tied_sites_count_once_and_what_had_no_choice_does_not() -> None:
    first = found(A, A, B, decisions=[["conv0", "conv1"], ["conv2"]])
    agreement = Agreement.of([first, first])
    assert agreement is not None and [each.sites for each in agreement.decisions] == [("conv0", "conv1"), ("conv2",)]
    assert Agreement.of([found(A, count=1)]) is None and Agreement.of([]) is None


@pytest.mark.parametrize(("sizes", "seeds"), [((2, 3, 4), 2), ((2, 2, 3), 3)])
def test_luck_is_what_counting_all_outcomes_says(sizes: tuple[int, ...], seeds: int) -> None:
    outcomes = list(product(*(product(range(size), repeat=seeds) for size in sizes)))
    counts = [sum(len(set(choices)) == 1 for choices in outcome) for outcome in outcomes]
    for least in range(len(sizes) + 1):
        letters = ["a" * seeds if i < least else "ab" + "a" * (seeds - 2) for i in range(len(sizes))]
        none = (None,) * seeds
        rows = tuple(
            Decided((str(i),), n, tuple(row), none) for i, (n, row) in enumerate(zip(sizes, letters, strict=True))
        )
        expected = sum(count >= least for count in counts) / len(counts)
        assert Agreement(rows).luck == pytest.approx(expected)
        assert Agreement(rows).chance == pytest.approx(sum(counts) / len(counts))


@pytest.mark.parametrize(
    ("agreement", "verdict", "sentence"),
    [
        (
            made(18, *["aa"] * 3, *["ab"] * 6),
            "not one",
            "two seeds agree at 3 of 9 sites (chance 0.5): the choice is not one",
        ),
        (made(18, *["aa"] * 9), "the same", "two seeds agree at 9 of 9 sites (chance 0.5): the choice reproduces"),
        (
            made(18, *["aaa"] * 6, *["aab"] * 3),
            "same in part",
            "three seeds agree at 6 of 9 sites (chance 0.028): the choice reproduces in part, and where they differ it "
            "is not one",
        ),
        (
            made(2, "aa"),
            "open",
            "two seeds agree at 1 of 1 site (chance 0.5): chance does as much, so that this tells nothing",
        ),
        (made(2, *["aa"] * 2, *["ab"] * 2), "open", None),
    ],
)
def test_what_is_said(agreement: Agreement, verdict: str, sentence: str | None) -> None:
    assert agreement.verdict == verdict
    assert sentence is None or agreement.sentence == sentence


def test_many_seeds_are_a_number() -> None:
    assert made(4, "a" * 12).sentence.startswith("12 seeds agree")


def test_one_seed_says_what_was_decided_and_how_clearly() -> None:
    agreement = Agreement.of([found(A, A, B, decisions=[["conv0", "conv1"], ["conv2"]])])
    assert agreement is not None
    assert agreement.sentence == "2 decisions: conv0 and 1 more: k3 d1 0.50; conv2: k5 d2 0.70"
    assert agreement.to_dict()["verdict"] is None
    joint = Agreement.of([found(A, A, decisions=[["conv0", "conv1"]])] * 2)
    assert joint is not None and "at 1 of 1 decision (" in joint.sentence


def test_it_is_read_as_it_was_written() -> None:
    agreement = Agreement.of([found(A, B), found(B, B)])
    assert agreement is not None
    facts = json.loads(json.dumps(agreement.to_dict()))
    assert Agreement.from_dict(facts) == agreement
    assert (facts["agreed"], facts["of"], facts["seeds"], facts["verdict"]) == (1, 2, 2, agreement.verdict)


def test_shares_are_those_of_the_choice() -> None:
    genotype = Genotype({"a": A, "b": B, "c": A})
    assert shares_of({"a": {A: 0.2, B: 0.8}, "b": {A: 0.9}}, genotype) == {"a": 0.2, "b": None, "c": None}
