"""Spaces of genomes: draws stay inside, mutations are near and never the genome itself, JSON gives the genome back."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.blackbox.genomes import GenotypeSpace, Listed, Positions, Space, kernels_apart
from dashfx.errors import SpaceError
from dashfx.ops import sites_of

CHOICES = {"a": (Candidate(3), Candidate(5)), "b": (Candidate(3), Candidate(5), Candidate(7, 2)), "c": (Candidate(1),)}
GENOTYPES = GenotypeSpace(CHOICES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LISTED = Listed([GENOTYPES.sample(generator(seed)) for seed in range(4)], GENOTYPES, kernels_apart, nearest=1)


@pytest.mark.parametrize("space", [Positions((5,) * 6), Positions((1, 3, 2)), GENOTYPES, LISTED])
def test_every_space_keeps_its_contract(space: Space[Any]) -> None:
    draw = generator()
    for _ in range(50):
        genome = space.sample(draw)
        child = space.mutate(genome, draw)
        assert child != genome and hash(genome) == hash(space.decode(json.loads(json.dumps(space.encode(genome)))))
        assert space.decode(json.loads(json.dumps(space.encode(genome)))) == genome
    again = generator(3)
    assert [space.sample(generator(3)), space.sample(generator(3))] == [space.sample(again)] * 2


def test_a_child_has_about_one_change_and_all_of_them_are_reached() -> None:
    space, draw = Positions((4,) * 8), generator()
    parent = (0,) * 8
    children = [space.mutate(parent, draw) for _ in range(2000)]
    changes = Counter(sum(gene > 0 for gene in child) for child in children)
    mean = sum(number * count for number, count in changes.items()) / 2000
    assert 1.2 < mean < 1.5  # 1, and once more for the third in which no position came up
    assert changes[0] == 0
    assert {(place, child[place]) for child in children for place in range(8)} == {
        (p, g) for p in range(8) for g in range(4)
    }


def test_a_space_of_one_genome_has_no_other() -> None:
    assert Positions((1, 1)).mutate((0, 0), generator()) == (0, 0)
    assert Listed([(0,)], Positions((2,)), lambda a, b: 1.0).mutate((0,), generator()) == (0,)


def test_a_supernets_space_leaves_out_what_is_not_alive() -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1))
    supernet = dashfx.rewrite(model, torch.randn(2, 1, 16), SearchSpace.product([3, 5], [1, 2]))
    site = sites_of(supernet)["0"]
    site.mask[1] = False
    alive = [c for i, c in enumerate(site.candidates) if i != 1]
    assert GenotypeSpace.of(sites_of(supernet)).choices == {"0": tuple(alive)}


def test_a_listed_space_steps_to_the_nearest() -> None:
    space = Listed([(0,), (1,), (5,), (9,)], Positions((10,)), lambda a, b: abs(a[0] - b[0]), nearest=2)
    assert {space.mutate((0,), generator(seed)) for seed in range(30)} == {(1,), (5,)}


def test_genotypes_of_like_kernels_are_near_though_every_site_differs() -> None:
    narrow, alike, wide = (Genotype(dict.fromkeys("ab", c)) for c in (Candidate(3), Candidate(5), Candidate(5, 9)))
    assert kernels_apart(narrow, narrow) == 0
    assert kernels_apart(narrow, alike) == kernels_apart(alike, narrow) < kernels_apart(narrow, wide)
    assert Listed([narrow, alike, wide], GENOTYPES, kernels_apart, nearest=1).mutate(narrow, generator()) == alike


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_positions_without_choices_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match="at least one choice"):
        Positions(sizes)
