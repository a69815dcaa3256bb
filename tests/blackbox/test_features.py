"""Features: what a predictor sees of kernels, and of genomes of positions."""

from __future__ import annotations

import math

import numpy as np
import torch

from dashfx import Candidate, Genotype
from dashfx.blackbox.features import of_choices
from dashfx.blackbox.genomes import GenotypeSpace, Positions
from dashfx.blackbox.joint import Joint, Recipes


def row(choice: Candidate) -> list[float]:
    return list(choice.features().values())


CHOICES = {"a": [Candidate(3), Candidate(5, 2)], "b": [Candidate(1), Candidate((3, 5), (1, 4))]}


def test_sizes_are_logarithms_with_means_over_the_axes() -> None:
    assert np.allclose(row(Candidate(5, 2)), [math.log(5), math.log(2), math.log(9)])
    expected = [math.log(15), math.log(4) / 2, (math.log(3) + math.log(17)) / 2]
    assert np.allclose(row(Candidate((3, 5), (1, 4))), expected)


def test_a_summary_stands_behind_the_choices() -> None:
    choices = [Candidate(3), Candidate(5), Candidate(7), Candidate(9)]
    found = of_choices(choices)
    rows = np.array([row(choice) for choice in choices])
    assert found.shape == (3 * 4 + 6 + 3,) and np.array_equal(found[:12].reshape(4, 3), rows)
    assert np.allclose(found[12:15], rows.mean(0)) and np.allclose(found[15:18], rows.std(0))
    parts = [math.log(15) / 2, math.log(7), math.log(9)]  # of the first two, the third and the fourth
    assert np.allclose(found[18:], parts)
    assert np.isfinite(of_choices(choices[:1])).all() and np.isfinite(of_choices(choices[:2])).all()


def test_tied_sites_count_once() -> None:
    free = GenotypeSpace({"a": CHOICES["a"], "c": CHOICES["a"], "b": CHOICES["b"]})
    tied = GenotypeSpace({"a": CHOICES["a"], "c": CHOICES["a"], "b": CHOICES["b"]}, [["a", "c"], ["b"]])
    genome = tied.at((1, 1))
    assert genome["a"] == genome["c"] == Candidate(5, 2) and tied.places(genome) == (1, 1)
    assert len(tied.features(genome)) == len(free.features(genome)) - 3


def test_a_code_has_a_one_for_each_choice() -> None:
    assert Positions((2, 3)).one_hot((1, 0)).tolist() == [0, 1, 1, 0, 0]
    assert Positions((2, 3)).features((1, 0)).tolist() == [0, 1, 1, 0, 0]


def test_children_have_each_position_from_either_parent() -> None:
    space, draw = Positions((9,) * 5), torch.Generator().manual_seed(0)
    children = [space.crossover((1,) * 5, (2,) * 5, draw) for _ in range(60)]
    assert {gene for child in children for gene in child} == {1, 2}
    assert len(set(children)) > 20 and 0.4 < np.mean(children) - 1 < 0.6


def test_a_space_knows_its_genomes() -> None:
    space = GenotypeSpace(CHOICES)
    assert space.holds(space.at((1, 1))) and space.levels() == (2, 2)
    assert not space.holds(Genotype({"a": Candidate(3), "b": Candidate(3)}))
    assert not space.holds(Genotype({"a": Candidate(3)}))


def test_a_joint_space_is_its_parts_side_by_side() -> None:
    recipes = Recipes({"lr": (0.1, 0.01, 0.001), "nesterov": (True,)})
    space = Joint(GenotypeSpace(CHOICES), recipes)
    genome = space.at((1, 0, 2, 0))
    assert genome[1] == (("lr", 0.001), ("nesterov", True)) and space.places(genome) == (1, 0, 2, 0)
    assert space.levels() == (2, 2, 3, 1)
    assert len(space.features(genome)) == len(space.spaces[0].features(genome[0])) + 4
    draw = torch.Generator().manual_seed(0)
    children = [space.mutate(genome, draw) for _ in range(200)]
    changed = [(child[0] != genome[0], child[1] != genome[1]) for child in children]
    assert set(changed) == {(True, False), (False, True)}
    assert 0.5 < np.mean([network for network, _ in changed]) < 0.8  # two of the three positions with a choice
