"""Kernels and bits together: against enumeration over both, and what is said where nothing holds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dashfx import Candidate, Genotype
from dashfx.cost.budgets import Limit, Limits, read_budget
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.precision import Drops

KERNELS = [Candidate(3), Candidate(5), Candidate(7)]
Scores = Mapping[str, Mapping[Candidate, float]]


def drawn(seed: int, drop: float = 0.6, tightest: float = 0.3) -> tuple[Limits, dict[str, dict[Candidate, float]]]:
    """Up to four sites, of which the last one is not chosen, two budgets, and drops of which a share is allowed."""
    draw = random.Random(seed)
    names = [f"site{i}" for i in range(draw.randint(2, 4))]
    scores = {name: {c: draw.uniform(-3, 0) for c in KERNELS[: draw.randint(1, 3)]} for name in names[:-1]}
    limits = []
    for text, scale in (("latency=1s", 1.0), ("params=1", 1e6)):
        costs = {name: {c: scale * draw.random() for c in KERNELS} for name in names}
        # Depthwise convs can be slower in int8, and parameters are as many.
        small = {
            name: {c: cost * (draw.uniform(0.2, 1.2) if scale == 1 else 1.0) for c, cost in row.items()}
            for name, row in costs.items()
        }
        own, own_int8 = ({name: row[KERNELS[0]] for name, row in table.items()} for table in (costs, small))
        most = scale * 0.1 + draw.uniform(tightest, 1.0) * sum(max(row.values()) for row in costs.values())
        limits.append(Limit(read_budget(text), most, scale * 0.1, own, costs, own_int8=own_int8, int8=small))
    drops = {name: max(0.0, draw.uniform(-0.01, 0.05)) for name in names}
    errors = {name: draw.uniform(0.001, 0.1) for name in names}
    return Limits(tuple(limits), Drops(drops, errors, drop * sum(drops.values()))), scores


def every(limits: Limits, scores: Scores) -> Iterator[Genotype]:
    """All kernels in all precisions."""
    names = list(limits.each[0].own)
    for kernels in itertools.product(*scores.values()):
        for bits in itertools.product((False, True), repeat=len(names)):
            small = {name: 8 for name, wanted in zip(names, bits, strict=True) if wanted}
            yield Genotype(dict(zip(scores, kernels, strict=True)), bits=small)


def total(scores: Scores, genotype: Genotype) -> float:
    return sum(scores[name][choice] for name, choice in genotype.items())


def fall(limits: Limits, genotype: Genotype) -> float:
    return sum(limits.drops.metric[name] for name in genotype.bits)


def off(limits: Limits, genotype: Genotype) -> float:
    return sum(limits.drops.error[name] for name in genotype.bits)


def test_kernels_and_bits_are_those_of_enumeration() -> None:
    """The best kernels within budgets and drop; where the drop cannot be held, within the least that can be had."""
    seen = {"held": 0, "more": 0, "float": 0, "none": 0}
    for seed in range(60):
        limits, scores = drawn(seed, 0.2, 0.15)
        holding = [each for each in every(limits, scores) if all(lim.holds(lim.total(each)) for lim in limits.each)]
        found = limits.best(scores)
        assert limits.hold(found) == bool(holding)
        if not holding:
            seen["none"] += 1
            continue
        most = max(limits.drops.most, min(fall(limits, each) for each in holding)) + 1e-9
        within = [each for each in holding if fall(limits, each) <= most]
        assert total(scores, found) == pytest.approx(max(total(scores, each) for each in within), abs=1e-5)
        assert fall(limits, found) <= most + 1e-9
        alike = [each for each in within if dict(each) == dict(found)]
        assert off(limits, found) == pytest.approx(min(off(limits, each) for each in alike), abs=1e-4)
        seen["held" if most <= limits.drops.most + 1e-9 else "more"] += 1
        seen["float"] += not found.bits
    assert all(seen.values()), seen


@pytest.mark.parametrize("seed", range(8))
def test_bits_of_kernels_that_are_settled(seed: int) -> None:
    limits, scores = drawn(seed)
    for kernels in itertools.islice(itertools.product(*scores.values()), 6):
        genotype = Genotype(dict(zip(scores, kernels, strict=True)), "argmax")
        alike = [each for each in every(limits, scores) if dict(each) == dict(genotype)]
        alike = [each for each in alike if all(limit.holds(limit.total(each)) for limit in limits.each)]
        assert limits.hold(genotype) == bool(alike)
        alike = [each for each in alike if fall(limits, each) <= limits.drops.most + 1e-12]
        found = limits.settled(genotype)
        assert (found is None) == (not alike)
        if found is not None:
            assert found == genotype and found.rule == "argmax" and limits.hold(found)
            assert off(limits, found) == pytest.approx(min(off(limits, each) for each in alike), abs=1e-4)


def test_a_loose_budget_leaves_all_in_float_and_the_kernels_as_they_are_preferred() -> None:
    limits, scores = drawn(1)
    loose = Limits(
        tuple(Limit(e.budget, 1e12, e.rest, e.own, e.costs, own_int8=e.own_int8, int8=e.int8) for e in limits.each)
    )
    found = loose.best(scores)
    assert dict(found) == {name: max(row, key=row.__getitem__) for name, row in scores.items()} and not found.bits


def test_of_bits_that_hold_those_of_the_least_error_are_chosen() -> None:
    own, own_int8 = {"a": 3.0, "b": 2.0, "c": 2.0}, {"a": 1.0, "b": 1.0, "c": 1.0}
    costs, small = ({name: {KERNELS[0]: cost} for name, cost in table.items()} for table in (own, own_int8))
    drops = Drops({}, {"a": 0.5, "b": 0.2, "c": 0.1})
    for most, expected in ((6.0, {"c"}), (5.0, {"b", "c"}), (4.0, {"a", "c"})):
        limits = Limits((Limit(read_budget("params=1"), most, 0.0, own, costs, own_int8=own_int8, int8=small),), drops)
        found = limits.settled(Genotype(dict.fromkeys("abc", KERNELS[0])))
        assert found is not None and set(found.bits) == expected


def test_what_has_said_its_bits_is_held_to_them() -> None:
    own, small = {"a": 2.0}, {"a": {KERNELS[0]: 1.0}}
    limit = Limit(read_budget("params=1"), 1.5, 0.0, own, {"a": {KERNELS[0]: 2.0}}, own_int8={"a": 1.0}, int8=small)
    limits, genotype = Limits((limit,)), Genotype({"a": KERNELS[0]})
    assert limits.hold(genotype) and limits.hold(genotype.with_bits({"a": 8})) and limits.hold({"a": KERNELS[0]})
    assert not limits.hold(Genotype({"a": KERNELS[0]}, bits={"b": 8}))
    assert limit.total(genotype) == 2.0 and limit.total(genotype.with_bits({"a": 8})) == 1.0
    assert limits.least({"a": KERNELS[:1]}) == 1.0 and not Limits((Limit(*_float(limit)),)).hold(genotype)


def _float(limit: Limit) -> tuple[object, ...]:
    return limit.budget, limit.most, limit.rest, limit.own, limit.costs


def test_a_drop_that_is_no_number_keeps_a_conv_in_float_while_anything_else_holds() -> None:
    costs = {name: {KERNELS[0]: 2.0} for name in "ab"}
    small, own, own_int8 = {n: {KERNELS[0]: 1.0} for n in "ab"}, dict.fromkeys("ab", 2.0), dict.fromkeys("ab", 1.0)
    drops = Drops({"a": float("nan"), "b": 0.2}, {}, 0.1)
    for most, expected in ((3.0, {"b": 8}), (2.0, {"a": 8, "b": 8})):
        limits = Limits((Limit(read_budget("params=1"), most, 0.0, own, costs, own_int8=own_int8, int8=small),), drops)
        assert limits.best({name: {KERNELS[0]: 0.0} for name in "ab"}).bits == expected


def test_convs_of_one_decision_have_one_kernel_and_bits_of_their_own() -> None:
    costs = {name: {KERNELS[0]: 4.0, KERNELS[1]: 5.0} for name in "ab"}
    small = {name: {KERNELS[0]: 1.0, KERNELS[1]: 2.0} for name in "ab"}
    own, own_int8 = dict.fromkeys("ab", 4.0), dict.fromkeys("ab", 1.0)
    limit = Limit(read_budget("params=1"), 7.5, 0.0, own, costs, own_int8=own_int8, int8=small)
    limits = Limits((limit,), Drops({"a": 0.01, "b": 0.02}, {"a": 0.3, "b": 0.1}, 1.0))
    found = limits.best(
        {"a": {KERNELS[0]: 0.0, KERNELS[1]: 1.0}, "b": {KERNELS[0]: 0.5, KERNELS[1]: 0.0}}, [["a", "b"]]
    )
    assert dict(found) == dict.fromkeys("ab", KERNELS[1]) and found.bits == {"b": 8}


@pytest.mark.parametrize("seed", range(6))
def test_a_front_over_both_ends_at_the_best(seed: int) -> None:
    limits, scores = drawn(seed, 0.5)
    points = limits.front(scores, 5)
    assert max(fall(limits, each) for each in points) <= limits.drops.most + 1e-9
    found = [(limits.each[0].total(each), total(scores, each)) for each in points]
    assert found == sorted(found) and found[-1][1] == pytest.approx(sum(max(row.values()) for row in scores.values()))
    within = [each for each in every(limits, scores) if fall(limits, each) <= limits.drops.most]
    for cost, score in found:
        alike = [total(scores, each) for each in within if limits.each[0].total(each) <= cost * (1 + 1e-9)]
        assert score == pytest.approx(max(alike), abs=1e-2)


def test_many_sites_take_seconds() -> None:
    draw = random.Random(0)
    kernels = [Candidate(k, d) for k in (3, 5, 7, 9, 11) for d in (1, 2, 3, 4)]
    names = [f"s{i}" for i in range(36)]
    costs = {name: {c: draw.random() for c in kernels} for name in names}
    small = {name: {c: cost * 0.4 for c, cost in row.items()} for name, row in costs.items()}
    own, own_int8 = ({name: row[kernels[0]] for name, row in table.items()} for table in (costs, small))
    most = 0.2 * sum(max(row.values()) for row in costs.values())
    drops = Drops({name: 0.01 * draw.random() for name in names}, {name: draw.random() for name in names}, 0.1)
    limits = Limits((Limit(read_budget("params=1"), most, 0.0, own, costs, own_int8=own_int8, int8=small),), drops)
    found = limits.best({name: {c: draw.uniform(-3, 0) for c in kernels} for name in names})
    assert limits.hold(found) and fall(limits, found) <= 0.1 * (1 + 1e-6) and found.bits


def test_latency_in_int8_is_measured_of_a_quantised_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch import nn

    import dashfx
    from dashfx.cost.latency import model as latency_model
    from dashfx.cost.size import Size

    monkeypatch.setattr(latency_model, "latency_file", lambda: tmp_path / "latency.json")
    site = dashfx.trace(nn.Sequential(nn.Conv1d(3, 4, 3, padding=1)), torch.randn(2, 3, 16)).sites["0"]
    cost = MeasuredLatency()
    cost.prepare_int8({"0": site}, {"0": [Candidate(5)]})
    layers = [entry.layer for entry in cost.times.entries.values()]
    assert len(layers) == 2 and all(layer.endswith(", int8") for layer in layers)
    assert cost.in_int8(site, Candidate(5)) == cost.times.seconds(layers[1]) and len(cost.times.entries) == 2
    assert Size().in_int8(site, Candidate(5)) == 3 * 4 * 5 + 4 * 4 + 4 * 13
