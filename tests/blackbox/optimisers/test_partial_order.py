"""Partial order pruning: what is left out cannot be better where larger is never worse, and it saves evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch

from dashfx import Candidate, Genotype
from dashfx.blackbox.base import Row, optimise
from dashfx.blackbox.front import Front
from dashfx.blackbox.genomes import GenotypeSpace, Positions
from dashfx.blackbox.objectives import Objective, layers
from dashfx.blackbox.optimisers.partial_order import PartialOrder, Unbeaten
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.space import Padding, Shared, candidate_padding

Genome = tuple[int, ...]


def landscape(positions: int, seed: int) -> tuple[dict[Genome, float], dict[Genome, float]]:
    """Values and costs that rise with each choice; both add up, and larger steps are worth less and less."""
    rng, every = np.random.default_rng(seed), list(product(range(4), repeat=positions))
    gains = np.cumsum(-np.sort(-(rng.random((positions, 4)) ** 3), axis=1), axis=1)
    costs = np.cumsum(0.1 + rng.random((positions, 4)), axis=1)
    added = ({g: float(sum(each[i, place] for i, place in enumerate(g))) for g in every} for each in (gains, costs))
    values, totals = added
    return values, totals


def front_of(values: dict[Genome, float], costs: dict[Genome, float]) -> set[Genome]:
    points = [(values[genome], -costs[genome]) for genome in values]
    return {genome for genome, layer in zip(values, layers(points), strict=True) if layer == 0}


@pytest.mark.parametrize("seed", range(4))
def test_no_optimum_is_left_out_and_two_fifths_of_the_evaluations_are_saved(seed: int) -> None:
    values, costs = landscape(4, seed)
    space, every = Unbeaten(Positions((4,) * 4)), list(values)
    space.objectives, space.costs = 2, lambda genome: [costs[genome]]
    evaluated = []
    for number in np.random.default_rng(seed).permutation(len(every)):
        genome = every[number]
        if not space.beaten(genome):
            space.learn([row(genome, values[genome], costs[genome])])
            evaluated.append(genome)
    assert front_of(values, costs) <= set(evaluated) and len(evaluated) <= 0.6 * len(every)


def test_a_search_that_knows_costs_finds_the_front_and_says_what_it_left_out() -> None:
    values, costs = landscape(3, 0)
    asking = PartialOrder(RandomSearch()).begin(Positions((4,) * 3), torch.Generator().manual_seed(0))
    asking.priced(lambda genome: [costs[genome]])
    evaluated: list[Genome] = []

    def both(genomes: Sequence[Genome]) -> list[tuple[float, float]]:
        evaluated.extend(genomes)
        return [(values[genome], costs[genome]) for genome in genomes]

    rows = optimise(asking, both, 80, maximise=True, others=(Objective("cost"),))
    assert {row.genome for row in Front.of(rows).rows} == front_of(values, costs) and len(evaluated) < len(values)
    assert asking.remark().startswith("partial-order: ") and asking.remark().endswith("evaluated 0 go against that")


def row(genome: Genome, value: float, cost: float | None = None, fidelity: float = 1.0) -> Row[Genome]:
    point = () if cost is None else (value, -cost)
    return Row(0, genome, value, value, None, 0.0, {}, point, fidelity)


def test_without_costs_what_is_below_something_worse_than_the_best_is_left_out() -> None:
    space = Unbeaten(Positions((2, 2)))
    space.learn([row((0, 1), 1.0), row((1, 0), 3.0)])
    assert space.beaten((0, 0)) and not space.beaten((1, 1)) and not space.beaten((1, 0))
    assert {space.sample(torch.Generator().manual_seed(seed)) for seed in range(30)} == {(1, 0), (0, 1), (1, 1)}
    assert space.left_out == {(0, 0)} and space.violations() == (0, 0)
    space.learn([row((1, 1), 2.0)])
    assert space.violations() == (2, 1)  # (1, 0) is worth more than (1, 1)


def test_equals_short_trainings_and_what_diverged_leave_nothing_out() -> None:
    space = Unbeaten(Positions((2, 3)))
    space.objectives, space.costs = 2, lambda genome: [2.0]
    space.learn([row((0, 1), 1.0, 2.0), row((1, 2), -math.inf, 1.0), row((1, 1), 0.5, 1.0, fidelity=0.5)])
    assert not space.beaten((0, 0))  # it may be worth as much, at the same cost
    assert not space.beaten((1, 1)) and not space.beaten((0, 2))
    space.costs = lambda genome: [2.5]
    assert space.beaten((0, 0)) and not space.beaten((0, 2))
    space.costs = lambda genome: ()  # not known before an evaluation
    assert not space.beaten((0, 0))


@pytest.mark.parametrize("causal", [False, True])
def test_a_candidate_is_within_another_exactly_where_the_other_has_its_taps(causal: bool) -> None:
    every = [Candidate(k, d) for k in (1, 2, 3, 4, 5, 7) for d in (1, 2, 3)]
    own = Candidate(9)

    def taps(candidate: Candidate) -> set[int]:
        zero: Padding = ((0, 0),)
        ((left, _),) = candidate_padding(zero, own, candidate, causal)
        return {candidate.dilation[0] * i - left for i in range(candidate.kernel[0])}

    for a, b in product(every, repeat=2):
        if a.is_within(b):
            assert taps(a) <= taps(b), (a, b)
    dense = [c for c in every if c.dilation == (1,)]
    assert all(a.is_within(b) for a, b in product(every, dense) if taps(a) <= taps(b))


def test_what_is_of_another_kind_has_no_order() -> None:
    assert not Candidate(3).is_within(Candidate((3, 5)))
    assert not Candidate(3).is_within(Candidate(5, 1, "depthwise"))
    assert not Candidate(1, 1, "pool").is_within(Candidate(3, 1, "pool"))
    assert Candidate(1, 1, "skip").is_within(Candidate(1, 1, "skip"))
    both = Shared([Candidate(3), Candidate(5)])
    assert both.is_within(both) and not Candidate(3).is_within(both) and not both.is_within(Candidate(9))
    assert Candidate(3, 2).is_within(Candidate(5)) and not Candidate(5).is_within(Candidate(3, 2))
    assert Candidate((3, 1)).is_within(Candidate(3).for_ndim(2)) and not Candidate((3, 5)).is_within(Candidate((5, 3)))


def test_genotypes_are_ordered_conv_by_conv() -> None:
    space = GenotypeSpace({"a": [Candidate(3), Candidate(5)], "b": [Candidate(3), Candidate(7)]})

    def made(a: int, b: int) -> Genotype:
        return Genotype({"a": Candidate(a), "b": Candidate(b)})

    assert space.below(made(3, 3), made(5, 7)) and space.below(made(3, 7), made(5, 7))
    assert not space.below(made(5, 3), made(3, 7)) and not space.below(made(3, 3), made(3, 3))
