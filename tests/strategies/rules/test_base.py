"""Selection rules: what each picks, that the dead are never picked, and which rescalings leave a choice alone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.errors import ConfigError
from dashfx.ops import AggConv
from dashfx.plugins import find
from dashfx.space import Candidate
from dashfx.strategies.rules import RULES, Argmax, Contribution, Energy, RandomChoice

CANDIDATES = [Candidate(3), Candidate(5), Candidate(3, 2), Candidate(1)]


def site(seed: int = 0) -> AggConv:
    torch.manual_seed(seed)
    aggconv = AggConv(2, 2, CANDIDATES).double()
    aggconv.alpha.data.normal_()
    return aggconv


def picked(rule: object, aggconv: AggConv) -> Candidate:
    return rule.select({"conv": aggconv})["conv"]


@pytest.mark.parametrize("rule", [kind() for kind in RULES.values()], ids=RULES)
@pytest.mark.parametrize("index", range(4))
def test_a_site_with_one_candidate_left_has_no_choice(rule: object, index: int) -> None:
    aggconv = site()
    aggconv.fix(index)
    assert picked(rule, aggconv) == CANDIDATES[index]


@pytest.mark.parametrize("rule", [kind() for kind in RULES.values() if not kind.judged])
def test_the_genotype_says_how_it_was_chosen(rule: object) -> None:
    aggconv = site()
    before = {name: value.clone() for name, value in aggconv.state_dict().items()}
    genotype = rule.select({"a": aggconv, "b.c": site(1)})
    assert list(genotype) == ["a", "b.c"] and rule.name in genotype.rule
    assert all(torch.equal(value, before[name]) for name, value in aggconv.state_dict().items())


def test_argmax_takes_the_largest_coefficient() -> None:
    aggconv = site()
    aggconv.alpha.data.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    assert picked(Argmax(), aggconv) == CANDIDATES[2]
    aggconv.mask[2] = False
    assert picked(Argmax(), aggconv) == CANDIDATES[1]


def test_contribution_weighs_by_the_size_of_the_kernel() -> None:
    aggconv = site()
    aggconv.alpha.data.zero_()
    with torch.no_grad():
        aggconv.weights[3].mul_(100)
    assert picked(Contribution(), aggconv) == CANDIDATES[3]


def rescaled(aggconv: AggConv, index: int, factor: float) -> AggConv:
    """The same aggregated kernel with `factor` moved from weight `index` to its coefficient."""
    scaled = copy.deepcopy(aggconv)
    a = aggconv.coefficients().detach().clone()
    a[index] *= factor
    with torch.no_grad():
        for i, weight in enumerate(scaled.weights):  # softmax renormalises, so every weight takes its share
            weight.mul_(a.sum() / (factor if i == index else 1.0))
        scaled.alpha.copy_((a / a.sum()).log())
    torch.testing.assert_close(scaled.kernel(), aggconv.kernel())
    return scaled


@pytest.mark.parametrize("rule", [Energy(), Contribution()], ids=lambda rule: rule.name)
@given(seed=st.integers(0, 50), index=st.integers(0, 3), factor=st.floats(0.2, 5))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_rescaling_that_leaves_the_function_alone_leaves_the_choice_alone(
    rule: object, seed: int, index: int, factor: float
) -> None:
    assert picked(rule, rescaled(site(seed), index, factor)) == picked(rule, site(seed))


def test_argmax_sees_such_a_rescaling() -> None:
    """Why the other rules exist."""
    assert {picked(Argmax(), rescaled(site(), index, 50.0)) for index in range(4)} == set(CANDIDATES)


def with_kernel(taps: list[float], keep: float) -> Candidate:
    """What Energy picks where the aggregated kernel is `taps` at offsets -2..2."""
    aggconv = AggConv(1, 1, CANDIDATES, bias=False)
    with torch.no_grad():
        for weight in aggconv.weights:
            weight.zero_()
        aggconv.weights[1].copy_(torch.tensor(taps).view(1, 1, 5))
    return picked(Energy(keep), aggconv)


@pytest.mark.parametrize(
    ("taps", "keep", "expected"),
    [
        ([0, 0, 1, 0, 0], 0.9, Candidate(1)),
        ([0, 1, 1, 1, 0], 0.9, Candidate(3)),
        ([1, 0, 1, 0, 1], 0.9, Candidate(3, 2)),
        ([1, 1, 1, 1, 1], 0.9, Candidate(5)),
        ([0.1, 1, 1, 1, 0.1], 0.9, Candidate(3)),
        ([0.1, 1, 1, 1, 0.1], 0.999, Candidate(5)),
        ([0.5, 0.6, 2, 0.6, 0.5], 0.5, Candidate(1)),
        ([0.5, 0.6, 0.1, 0.6, 0.5], 0.3, Candidate(3)),  # of two with three taps, the larger share
        ([0, 0, 0, 0, 0], 0.9, Candidate(1)),
    ],
)
def test_energy_keeps_the_support_that_matters(taps: list[float], keep: float, expected: Candidate) -> None:
    assert with_kernel(taps, keep) == expected


def test_energy_is_measured_against_what_is_alive() -> None:
    """The support of a candidate that has left holds all of the kernel, so beside it none of the others would count."""
    aggconv = AggConv(1, 1, CANDIDATES, bias=False)
    with torch.no_grad():
        for weight, taps in zip(aggconv.weights, ([1, 0, 1], [0] * 5, [2, 0, 2], [0]), strict=True):
            weight.copy_(torch.tensor(taps, dtype=torch.float32).view(1, 1, -1))
    aggconv.mask[1] = False
    assert picked(Energy(0.9), aggconv) == Candidate(3, 2)


def test_random_choice_is_drawn_by_its_seed() -> None:
    sites = {str(i): site(i) for i in range(40)}
    assert RandomChoice(1).select(sites) == RandomChoice(1).select(sites) != RandomChoice(2).select(sites)
    assert RandomChoice(1).select(sites).rule == "random, seed 1"
    assert set(RandomChoice(1).select(sites).values()) == set(CANDIDATES)


def test_rules_by_name() -> None:
    assert find("rule", "energy") == Energy() and find("rule", Energy(0.5)).keep == find("rule", "energy:keep=0.5").keep
    with pytest.raises(ConfigError, match=r"no rule 'enrgy' \(did you mean 'energy'\?\); there are argmax"):
        find("rule", "enrgy")
