"""The best of several draws: drawn as the coefficients say, judged, and within budgets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from engines import DATA, engine
from toys import ToyNet

from dashfx import Candidate, Genotype
from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.rules.best_of import BestOf

OWN = parameters_of(ToyNet())


class Known:
    """A judge who likes one genotype best and counts its looks."""

    def __init__(self, made: Engine, best: dict[str, int]) -> None:
        self.made, self.best, self.looks = made, best, 0

    def coefficients(self) -> dict[str, torch.Tensor]:
        return {name: site.coefficients().detach() for name, site in self.made.sites.items()}

    def loss(self, coef: dict[str, torch.Tensor]) -> float:
        self.looks += 1
        assert all(float(row.max()) == 1 and float(row.sum()) == 1 for row in coef.values())
        return sum(float(coef[name][place] == 0) for name, place in self.best.items())


def favoured(made: Engine, logits: list[float]) -> Engine:
    for alpha in made.alphas:
        alpha.data.copy_(torch.tensor(logits))
    return made


def test_draws_are_those_of_the_coefficients() -> None:
    made, generator = favoured(engine(), [0.0, 1.0, 2.0, -1.0]), torch.Generator().manual_seed(0)
    site = made.sites["conv1"]
    counts = Counter(BestOf()._draw(made.sites, None, generator)["conv1"] for _ in range(1500))
    shares = [counts[each] / 1500 for each in site.candidates]
    assert shares == pytest.approx(site.coefficients().tolist(), abs=0.05)  # four standard errors


def test_the_draw_that_the_judge_likes_best_is_chosen() -> None:
    made = favoured(engine(), [0.0, 1.0, 0.5, 0.0])
    judge: Any = Known(made, {"conv1": 2, "conv2": 2})
    found = BestOf(60).judged_by(judge, made.sites)
    assert found == {name: site.candidates[2] for name, site in made.sites.items()} and found.rule == "best-of"
    assert judge.looks <= 16  # each genotype once
    assert BestOf(1).judged_by(judge, made.sites) == {n: site.candidates[1] for n, site in made.sites.items()}


def test_only_what_is_allowed_is_drawn() -> None:
    made = favoured(engine(budgets=[f"params={OWN + 20}"]), [0.0, 0.0, 2.0, 2.0])
    limits = made.limits
    assert limits is not None
    judge: Any = Known(made, {"conv1": 2, "conv2": 3})
    ranked = BestOf(30).ranked(judge, made.sites, limits)
    assert len(ranked) > 3 and all(map(limits.hold, ranked))
    found = BestOf(30).within(made.sites, limits, judge)
    assert limits.hold(found) and found.rule == f"best-of within params={OWN + 20}"
    assert found["conv1"] == Candidate(5, 1)  # one of the two that the judge likes is all that it can have


def test_tied_sites_are_drawn_alike() -> None:
    made, generator = favoured(engine(), [0.0, 1.0, 2.0, -1.0]), torch.Generator().manual_seed(0)
    from dashfx.ops.ties import tie

    tie(made.sites, "all")
    assert all(len(set(BestOf()._draw(made.sites, None, generator).values())) == 1 for _ in range(20))


def test_without_a_judge_there_is_one_answer_or_none() -> None:
    made = engine()
    with pytest.raises(ConfigError, match="measures losses on held-out rows"):
        BestOf().select(made.sites)
    for name in made.sites:
        made.keep(name, [1])
    assert BestOf().select(made.sites) == Genotype({name: Candidate(3, 2) for name in made.sites})


def test_a_search_ends_by_it() -> None:
    from dashfx.strategies.judge import Judge

    made = engine(rule="best-of:draws=3", batch_size=8)
    made.training_data(DATA)
    judge = Judge(made, DATA)
    found = BestOf(3).within(made.sites, None, judge)
    assert set(found) == set(made.sites) and 1 <= judge.looks <= 3 and made.holds_out
