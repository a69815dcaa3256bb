"""MANAS: estimates by hand, additive games solved, regret of a bandit as the square root of its length."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dashfx.strategies.updates.sampled.agents import Agents, least_squares


class Arms(nn.Module):
    """What an agent sees of a site."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(n, dtype=torch.float64))
        self.mask = torch.ones(n, dtype=torch.bool)
        self.tie = None


def table(*sizes: int) -> Any:
    return SimpleNamespace(sites={str(i): Arms(n) for i, n in enumerate(sizes)})


def play(agents: Agents, game: Any, losses: list[np.ndarray], rounds: int, seed: int) -> list[float]:
    """The mean loss of each round's draw above that of the best one."""
    draw, regrets = np.random.default_rng(seed), []
    for _ in range(rounds):
        drawn: Mapping[str, int] = {}
        for name, site in game.sites.items():
            p = site.alpha.detach().softmax(0).numpy()
            drawn = {**drawn, name: int(draw.choice(len(p), p=p / p.sum()))}
        means = [row[place] for row, place in zip(losses, drawn.values(), strict=True)]
        regrets.append(float(sum(means) - sum(row.min() for row in losses)))
        agents.hear(game, drawn, float(sum(means) + 0.05 * draw.random()))
    return regrets


def test_an_estimate_is_the_loss_over_its_probability() -> None:
    game, agents = table(2, 4), Agents(rate=0.1)
    agents.hear(game, {"0": 1, "1": 2}, 3.0)
    assert game.sites["0"].alpha.tolist() == pytest.approx([0, -0.1 / 0.5])
    assert game.sites["1"].alpha.tolist() == pytest.approx([0, 0, -0.1 / 0.25, 0])
    p = float(game.sites["0"].alpha.detach().softmax(0)[0])
    agents.hear(game, {"0": 0, "1": 2}, 1.5)  # half of the largest so far
    assert game.sites["0"].alpha.tolist() == pytest.approx([-0.1 * 0.5 / p, -0.2])
    agents.hear(game, {"0": 0, "1": 0}, float("nan"))
    assert agents.largest == 3.0 and game.sites["0"].alpha.isfinite().all()


def test_regret_per_round_falls_as_the_square_root() -> None:
    """At the rate sqrt(ln n / (n T)) of each length T, against arms of which one is a little better."""
    lengths, means = (200, 800, 3200), []
    for rounds in lengths:
        gap = 0.5 * (5 / rounds) ** 0.5  # as hard as it can be for the length (Auer et al., 2002)
        losses = [np.array([0.5, 0.5, 0.5, 0.5, 0.5 - gap])]
        runs = [play(Agents(rate=(np.log(5) / (5 * rounds)) ** 0.5), table(5), losses, rounds, s) for s in range(2)]
        means.append(np.mean(runs))
    slope = np.polyfit(np.log(lengths), np.log(means), 1)[0]
    assert -0.65 < slope < -0.35


@pytest.mark.parametrize(("credit", "rate", "rounds"), [("exp3", 0.05, 900), ("least-squares", 0.3, 150)])
def test_an_additive_game_is_solved(credit: Any, rate: float, rounds: int) -> None:
    losses = [np.array([0.1, 0.4, 0.4]), np.array([0.5, 0.2, 0.5]), np.array([0.3, 0.3, 0.0])]
    for seed in range(2):
        game = table(3, 3, 3)
        play(Agents(rate=rate, credit=credit), game, losses, rounds, seed)
        shares = [
            site.alpha.detach().softmax(0)[int(row.argmin())]
            for site, row in zip(game.sites.values(), losses, strict=True)
        ]
        assert float(torch.stack(shares).min()) >= 0.9


def test_least_squares_finds_the_parts_of_a_sum() -> None:
    parts = [np.array([0.0, 1.0]), np.array([0.3, -0.3, 0.9])]
    codes = [[a, b] for a in range(2) for b in range(3)] * 20
    found = least_squares(codes, [float(parts[0][a] + parts[1][b]) for a, b in codes], [2, 3])
    for each, part in zip(found, parts, strict=True):
        torch.testing.assert_close(each, torch.tensor(part - part.mean()), atol=0.01, rtol=0)


def test_draws_of_candidates_that_have_left_are_forgotten() -> None:
    agents = Agents(credit="least-squares")
    agents.hear(table(3, 3), {"0": 2, "1": 0}, 1.0)
    agents.hear(table(2, 3), {"0": 1, "1": 0}, 1.0)
    assert agents.codes == [[1, 0]]
