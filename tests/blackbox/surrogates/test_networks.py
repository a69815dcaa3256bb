"""Searches by networks: gains on chance, climbs, pretraining, and positions that open one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from landscapes import Landscape, additive, nk
from scipy.stats import kendalltau, ttest_rel

from dashfx.blackbox.base import Optimiser, Row, best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.blackbox.predictors import Ensemble
from dashfx.blackbox.predictors.networks.nets import Nets
from dashfx.blackbox.surrogates.ascent import Ascent, climb
from dashfx.blackbox.surrogates.pretrained import Finetuned, Pretrained, encoder
from dashfx.blackbox.surrogates.progressive import Opening, Progressive, softmax_order
from dashfx.blackbox.surrogates.surrogate import BySurrogate
from dashfx.errors import ConfigError


def regrets(optimiser: Optimiser, count: int) -> list[float]:
    found = []
    for seed in range(count):
        world = nk(seed=seed)
        asking = optimiser.begin(world.space, torch.Generator().manual_seed(seed))
        value = best_of(optimise(asking, world, 40, maximise=True)).value
        assert value is not None
        found.append(world.regret(value))
    return found


@pytest.mark.slow
def test_bananas_gains_on_chance_where_positions_depend_on_each_other() -> None:
    """A pretrained network need not: what it knows of sizes says nothing there."""
    optimiser = BySurrogate(Ensemble(3, 16, 60), "thompson", start=10, top=10, pool=100, features="one-hot")
    gain = ttest_rel(regrets(optimiser, 20), regrets(RandomSearch(), 20), alternative="less")
    assert gain.pvalue < 0.01


def test_a_climb_ends_at_the_best_option_of_each_position() -> None:
    """On a truth that is a sum, from wherever it begins; what a position has not is never taken."""
    landscape, draw = additive(3, 3, seed=2), torch.Generator().manual_seed(0)
    genomes = list(itertools.product(range(3), repeat=3))
    x = np.array([landscape.space.one_hot(genome) for genome in genomes])
    fitted = Ensemble(2, 16, 80).fit(x, np.array(landscape(genomes)), 0)
    logits = torch.randn((4, 3, 3), generator=draw, dtype=torch.float64)
    shares = climb(fitted, logits, (3, 3, 3), Ascent(steps=60))
    assert (shares.argmax(-1) == torch.tensor(landscape.optimum)).all()
    torch.testing.assert_close(shares.sum(-1), torch.ones(4, 3, dtype=torch.float64))


def test_ascent_finds_the_optimum_of_a_sum_and_repeats_nothing() -> None:
    """In sixty evaluations of 4,096 genomes; with the settings that it has by default 6 of 6 seeds did."""
    world = additive(seed=0)
    search = Ascent(start=30, top=15, climbs=16, steps=20, networks=2, fitting=50)
    rows = optimise(search.begin(world.space, torch.Generator().manual_seed(0)), world, 60, maximise=True)
    assert best_of(rows).genome == world.optimum and len({row.genome for row in rows}) == 60


class Sized(Positions):
    """What a genome costs is known: a sum over its positions."""

    def facts(self, genome: tuple[int, ...]) -> np.ndarray:
        return np.array([sum(gene**2 * (i + 1) for i, gene in enumerate(genome)), sum(genome)], dtype=float)


def test_what_is_known_of_sizes_helps_where_values_go_by_them() -> None:
    space, settings = Sized((4,) * 8), Pretrained(unlabelled=200, networks=2, hidden=16, steps=60)
    for seed in range(2):
        draw, noise = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        genomes = [space.sample(draw) for _ in range(100)]
        x, cost = np.array([space.one_hot(g) for g in genomes]), np.array([space.facts(g)[0] for g in genomes])
        y = cost / cost.std() + 0.3 * noise.normal(size=100)
        fresh = Nets(32, 16, 2, torch.Generator().manual_seed(seed), 2)
        taus = [
            kendalltau(Finetuned(begun, x[:20], y[:20], 60).predict(x[20:]).mean, y[20:]).statistic
            for begun in (encoder(settings, space, seed), fresh)
        ]
        assert taus[0] >= taus[1] + 0.05  # about .72 against .40


def test_positions_open_from_the_first_to_the_last() -> None:
    world = additive(6, 3, seed=1)
    opening = Progressive(stages=3, each=4, pool=30).begin(world.space, torch.Generator().manual_seed(0))
    assert isinstance(opening, Opening)
    rest, opened = opening._first, []
    for stage in range(3):
        for _ in range(4):
            opened.append(opening.open)
            (proposal,) = opening.ask(1)
            if stage == 0:
                assert proposal.genome[2:] == rest[2:]
            row = row_of(len(opened) - 1, proposal.genome, world)
            opening.tell([row])
    assert opened == [2] * 4 + [4] * 4 + [6] * 4


def row_of(number: int, genome: tuple[int, ...], world: Landscape) -> Row[tuple[int, ...]]:
    (value,) = world([genome])
    return Row(number, genome, value, value, None, 0.0)


def test_progressive_gains_on_chance_where_positions_add_up() -> None:
    """After 40 evaluations of NK, where what is closed changes what is open, it is ahead of chance but not surely."""
    found: dict[str, list[float]] = {"progressive": [], "chance": []}
    for seed in range(10):
        world = additive(seed=seed)
        for name, optimiser in (("progressive", Progressive()), ("chance", RandomSearch())):
            asking = optimiser.begin(world.space, torch.Generator().manual_seed(seed))
            value = best_of(optimise(asking, world, 40, maximise=True)).value
            assert value is not None
            found[name].append(world.regret(value))
    assert ttest_rel(found["progressive"], found["chance"], alternative="less").pvalue < 0.01


def test_an_order_by_softmax() -> None:
    scores, draw = np.array([0.0, 2.0, 1.0, -1.0]), torch.Generator().manual_seed(0)
    assert softmax_order(scores, 1e-9, draw) == [1, 2, 0, 3]
    firsts = [softmax_order(scores, 1.0, draw)[0] for _ in range(4000)]
    expected = np.exp(scores / scores.std()) / np.exp(scores / scores.std()).sum()
    assert np.allclose(np.bincount(firsts, minlength=4) / 4000, expected, atol=0.03)


def test_what_cannot_work_is_one_line() -> None:
    with pytest.raises(ConfigError, match="ensemble with networks=1"):
        Ensemble(1)
    for search in (Ascent(start=9), Pretrained(start=9)):
        with pytest.raises(ConfigError, match=r"start=9\), and there are 9"):
            search.check(9)
