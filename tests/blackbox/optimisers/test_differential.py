"""Differential evolution: the code of genomes, challenges, one-to-one selection, and a planted optimum."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from landscapes import additive

from dashfx.blackbox.base import best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.differential import Differential, binned, centre
from dashfx.errors import ConfigError


def test_every_genome_comes_back_from_its_vector() -> None:
    levels = (1, 2, 3, 7)
    for places in product(*map(range, levels)):
        assert tuple(binned(centre(places, levels), levels)) == places
    assert binned(torch.tensor([0.0, 0.4999, 0.5, 0.99999]), (2,) * 4) == [0, 0, 1, 1]


def test_the_optimum_of_a_sum_is_found_in_four_hundred_evaluations() -> None:
    found = 0
    for seed in range(20):
        landscape = additive(seed=seed)
        search = Differential().begin(landscape.space, torch.Generator().manual_seed(seed))
        found += best_of(optimise(search, landscape, 400, maximise=True)).genome == landscape.optimum
    assert found >= 18  # of 4,096 genomes; it was 20, and by random draws 1


def test_members_stay_until_one_that_is_no_worse_takes_their_place() -> None:
    landscape = additive(3, 3)
    search = Differential(members=5).begin(landscape.space, torch.Generator().manual_seed(0))
    rows = optimise(search, landscape, 5, maximise=True)
    assert all(row.parent is None for row in rows)
    before = [row.fitness for _, row in search._members]
    rows = optimise(search, landscape, 40, maximise=True)  # goes on with the same members
    after = [row.fitness for _, row in search._members]
    assert len(after) == 5 and all(new >= old for new, old in zip(after, before, strict=True)) and after != before
    assert all(row.parent is not None for row in rows)


def test_a_challenger_is_made_of_three_others_and_stays_in_the_cube() -> None:
    space = Positions((10,) * 6)
    search = Differential(members=4, scale=1.5, crossing=1.0).begin(space, torch.Generator().manual_seed(0))
    optimise(search, lambda genomes: [float(sum(genome)) for genome in genomes], 4, maximise=True)
    vectors = [vector for vector, _ in search._members]
    others = [vectors[i] for i in (1, 2, 3)]
    for _ in range(20):
        made = search._challenger(0)
        assert ((made >= 0) & (made < 1)).all()
        mutants = [b + 1.5 * (c - d) for b, c, d in ((others[i], others[j], others[k]) for i, j, k in ORDERS)]
        inside = [torch.isclose(made, m, rtol=0, atol=1e-12) | (m < 0) | (m >= 1) for m in mutants]
        assert any(each.all() for each in inside)  # the mutant of one order, but where that left the cube


ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def test_without_crossing_one_coordinate_is_the_mutants() -> None:
    space = Positions((10,) * 6)
    search = Differential(members=4, crossing=0.0).begin(space, torch.Generator().manual_seed(0))
    optimise(search, lambda genomes: [float(sum(genome)) for genome in genomes], 4, maximise=True)
    rival = search._members[0][0]
    assert {int((search._challenger(0) != rival).sum()) for _ in range(20)} == {1}


def test_a_challenge_takes_four() -> None:
    with pytest.raises(ConfigError, match="members=3: a challenge takes 4"):
        Differential(members=3)
