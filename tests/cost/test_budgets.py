"""Budgets: what a text says, the best choice under limits against enumeration, and what is said where there is none."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

import dashfx
from dashfx import Candidate, Genotype
from dashfx.cost.base import Choices
from dashfx.cost.budgets import Limits, limits_of, read_budget, read_budgets
from dashfx.cost.select import Table, nearest, pareto, select_under
from dashfx.errors import ConfigError

INF = float("inf")


def tables(seed: int) -> tuple[Table, list[Table], list[float]]:
    """Scores and two costs of up to five sites, one in units that are far apart; limits from tight to loose."""
    draw = random.Random(seed)
    sizes = {f"site{i}": draw.randint(1, 4) for i in range(draw.randint(1, 5))}
    scores, *costs = [
        {name: [scale * draw.random() for _ in range(n)] for name, n in sizes.items()} for scale in (1.0, 1e-3, 1e9)
    ]
    return scores, costs, [draw.uniform(0.1, 1.0) * sum(max(row) for row in cost.values()) for cost in costs]


def enumerated(scores: Table, costs: Sequence[Table], limits: Sequence[float]) -> float | None:
    """The best sum of scores of all choices that hold."""
    found = []
    for picks in itertools.product(*(range(len(row)) for row in scores.values())):
        sums = [sum(table[name][pick] for name, pick in zip(scores, picks, strict=True)) for table in (scores, *costs)]
        if all(cost <= limit for cost, limit in zip(sums[1:], limits, strict=True)):
            found.append(sums[0])
    return max(found, default=None)


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_the_choice_is_that_of_enumeration(first: int) -> None:
    feasible = 0
    for seed in range(first, first + 20):
        scores, costs, limits = tables(seed)
        found, expected = select_under(scores, costs, limits), enumerated(scores, costs, limits)
        assert (found is None) == (expected is None)
        if found is not None:
            feasible += 1
            assert sum(scores[name][pick] for name, pick in found.items()) == pytest.approx(expected)
            for cost, limit in zip(costs, limits, strict=True):
                assert sum(cost[name][pick] for name, pick in found.items()) <= limit * (1 + 1e-6)
    assert 0 < feasible < 20


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_choice_misses_by_the_least(seed: int) -> None:
    scores, costs, limits = tables(seed)
    limits = [0.3 * sum(min(row) for row in cost.values()) for cost in costs]

    def missed(picks: dict[str, int]) -> float:
        sums = [sum(cost[name][pick] for name, pick in picks.items()) for cost in costs]
        return max(each / limit for each, limit in zip(sums, limits, strict=True))

    every = itertools.product(*(range(len(row)) for row in scores.values()))
    best = min(missed(dict(zip(scores, picks, strict=True))) for picks in every)
    assert missed(nearest(scores, costs, limits, limits)) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(10))
def test_a_front_rises_and_ends_at_the_best(seed: int) -> None:
    scores, (cost, _), _ = tables(seed)

    def sums(picks: dict[str, int]) -> tuple[float, float]:
        cheap, good = (sum(table[name][pick] for name, pick in picks.items()) for table in (cost, scores))
        return cheap, good

    points = [sums(each) for each in pareto(scores, cost, 7)]
    assert points == sorted(points) and [good for _, good in points] == sorted(good for _, good in points)
    assert points[0][0] == pytest.approx(sum(map(min, cost.values())))
    assert points[-1][1] == pytest.approx(sum(map(max, scores.values())))
    for cheap, good in points:
        assert good == pytest.approx(enumerated(scores, [cost], [cheap * (1 + 1e-9)]))


def test_what_a_rule_would_not_take_is_taken_where_nothing_else_holds() -> None:
    scores, cost = {"a": [1.0, 0.0, -INF], "b": [1.0, 0.5]}, {"a": [3.0, 2.0, 1.0], "b": [3.0, 2.0]}
    assert select_under(scores, [cost], [4]) == {"a": 1, "b": 1}
    assert select_under(scores, [cost], [3]) == {"a": 2, "b": 1}
    assert select_under(scores, [cost], [2.9]) is None


NET = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1), nn.ReLU())
PROGRAM = dashfx.trace(NET, torch.zeros(2, 1, 16))
K3, K5, K7 = map(Candidate, (3, 5, 7))
CHOICES: Choices = {name: (K5, K7) for name in PROGRAM.sites}
OWN = 4 * (3 + 1) + 4 * (4 * 3 + 1)


def limits(*texts: str, choices: Choices = CHOICES) -> Limits:
    return limits_of(read_budgets(texts), PROGRAM, choices)


def test_the_best_within_a_budget() -> None:
    scores = {"0": {K5: 0.0, K7: 1.0}, "2": {K5: 0.0, K7: 2.0}}
    assert limits("params=147").best(scores) == Genotype({"0": K5, "2": K7})
    assert limits("params=139").best(scores) == Genotype({"0": K7, "2": K5})
    assert limits("params=1M", "macs=1M").best(scores) == Genotype({"0": K7, "2": K7})
    assert limits("params=116", "params=1k").hold({"0": K7, "2": K5}) and not limits("params=115").hold(
        {"0": K7, "2": K5}
    )


def test_a_site_without_candidates_keeps_its_own_kernel() -> None:
    found = limits("params=100", choices={"0": (K5, K7)})
    assert found.each[0].total({}) == OWN and found.each[0].total({"0": K7}) == OWN + 4 * 4
    assert found.best({"0": {K5: 0.0, K7: 1.0}}) == Genotype({"0": K7})


def test_shares_are_of_the_untouched_model() -> None:
    (limit,) = limits("macs=1.5x").each
    assert limit.most == 1.5 * 16 * (4 * 3 + 4 * 4 * 3) and limit.total({}) == limit.most / 1.5


def test_what_cannot_be_had_is_told_with_the_least() -> None:
    least = 4 * (5 + 1) + 4 * (4 * 5 + 1)
    limits(f"params={least}", "memory=1KB").check(CHOICES)
    with pytest.raises(ConfigError, match=rf"budget params={least - 1}: the least .* is {least}, "):
        limits("macs=1M", f"params={least - 1}").check(CHOICES)
    with pytest.raises(ConfigError, match=r"memory=100B: the least .* is 512 B \(no choice of kernels"):
        limits("memory=100B").check(CHOICES)


def test_budgets_that_contradict_each_other_are_told_with_the_nearest_choice() -> None:
    draw = {"a": [1.0, 9.0], "b": [9.0, 1.0]}
    both = limits("params=1M", "macs=1M")
    fields = [
        {"most": 5.0, "rest": 0.0, "own": {"0": 1.0}, "costs": {"0": dict(zip((K5, K7), row, strict=True))}}
        for row in draw.values()
    ]
    crossed = Limits(tuple(replace(each, **made) for each, made in zip(both.each, fields, strict=True)))
    with pytest.raises(ConfigError, match=r"budgets params=1M, macs=1M: each .* nearest choice has"):
        crossed.check({"0": (K5, K7)})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latency", "write COST=LIMIT"),
        ("=2", "write COST=LIMIT"),
        ("latancy=2ms", r"no cost 'latancy' \(did you mean 'latency'\?\) has a limit; there are params, macs, size"),
        ("span=2", "no cost 'span' has a limit"),
        ("latency=2KB", "'2KB' is no limit in seconds; write one such as 1s, 1ms"),
        ("params=-1", "'-1' is no limit in parameters"),
        ("memory=0x", "'0x' is no limit in bytes"),
        ("params:size=2=3", "cost 'params': no argument 'size'; it takes none"),
    ],
)
def test_other_texts_are_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_budget(text)


def test_budgets_of_one_cost_share_its_measurements() -> None:
    first, second, _ = read_budgets(["latency=2ms", "latency=0.7x", "params=1M", "latency=2ms"])
    assert first.cost is second.cost and second.share and not first.share
