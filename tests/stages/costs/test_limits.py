"""Budgets through the pipeline: every strategy keeps to them, what is missed is told, and nothing is begun in vain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx import Candidate, Genotype
from dashfx.cost.budgets import Limits, limits_of, read_budgets
from dashfx.cost.counts import parameters_of
from dashfx.cost.latency import Latency
from dashfx.errors import ConfigError
from dashfx.ops import sites_of
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.stages.costs.limits import choices_of, limited, times_of
from dashfx.stages.rewrite import rewritten
from dashfx.strategies.limited import Limited
from dashfx.strategies.rules import Argmax, Energy, RandomChoice, SelectionRule

DATA = toy_data()
SMALL = parameters_of(ToyNet()) + 4 * 2 * 2  # room for a k5 in the first conv, not in the second
TIGHT = parameters_of(ToyNet())


def search(*budgets: str, out: Path | None = None, resume: bool = False, control: bool = False, **more: Any) -> Result:
    options = {**FAST["search"], "epochs": 2, "budgets": budgets, **more.pop("search", {})}
    config = {**FAST, "search": options, "control": control, **more}
    return dashfx.search(ToyNet, DATA, config=config, out=out, resume=resume)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rule": "energy:keep=0.999"},
        {"discretise": "one-by-one", "recovery": 1.0},
        {"strategy": "random"},
        {"strategy": "random-search"},
        {"strategy": "evolution"},
    ],
    ids=str,
)
def test_every_strategy_keeps_to_its_budgets(options: dict[str, Any]) -> None:
    black_box = {"evaluator": "params", "evaluations": 20, "population": 4, "tournament": 2}  # it likes large kernels
    result = search(f"params={SMALL}", "macs=100x", search=options, blackbox=black_box)
    assert parameters_of(result.model) <= SMALL
    params, macs = result.budgets
    assert params.held and params.estimated == params.measured == parameters_of(result.model)
    assert (params.cost, params.limit, params.unit) == ("params", SMALL, "parameters") and macs.held
    assert params.sentence in result.notes and f"budget params={SMALL}: the model has" in params.sentence
    for row in result.evaluations:
        assert row.genome["conv2"].taps == 3


def test_a_table_of_genotypes_loses_what_costs_too_much(tmp_path: Path) -> None:
    def known(*kernels: str) -> dict[str, Any]:
        rows = [{"genotype": {"conv1": a, "conv2": b}, "valid": 0.5} for a in kernels for b in kernels]
        (tmp_path / "known.json").write_text(json.dumps({"rows": rows}))
        return {"evaluator": str(tmp_path / "known.json"), "evaluations": 6}

    found = search(f"params={SMALL}", search={"strategy": "random-search"}, blackbox=known("3,1", "5,1"))
    assert {row.genome["conv2"].taps for row in found.evaluations} == {3}
    with pytest.raises(ConfigError, match=rf"budgets params={SMALL}: no genotype of the table holds them"):
        search(f"params={SMALL}", search={"strategy": "random-search"}, blackbox=known("5,1", "5,2"))


def test_a_loose_budget_changes_nothing() -> None:
    free, loose = search(), search("params=100x", "memory=1GB")
    assert free.genotype == loose.genotype and free.genotype.rule == loose.genotype.rule and free.valid == loose.valid
    assert all(torch.equal(a, b) for a, b in zip(free.model.parameters(), loose.model.parameters(), strict=True))
    assert free.budgets == () and all(each.held for each in loose.budgets)


def test_the_untouched_model_is_not_handed_back_where_it_costs_too_much() -> None:
    result = search("params=0.99x", control=True, space={"kernels": [2, 3], "dilations": [1]})
    kept, untouched = result.kept, result.finalist("untouched")
    assert kept is not None and kept.origin == "searched" and untouched is not None
    assert any("untouched model costs more than params=0.99x allows" in note for note in result.notes)


@pytest.mark.parametrize(
    ("budgets", "why"),
    [
        (["params=1x", f"params={TIGHT - 1}"], rf"budget params={TIGHT - 1}: the least .* is {TIGHT}, the limit is"),
        (["memory=1B"], r"no choice of kernels changes it"),
        (["latancy=2ms"], r"no cost 'latancy' \(did you mean 'latency'"),
    ],
)
def test_nothing_is_begun_that_cannot_end_well(tmp_path: Path, budgets: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        search(*budgets, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def as_many_seconds_as_weights(models: Sequence[nn.Module], x: Tensor) -> list[Latency | None]:
    sizes = [float(parameters_of(model)) for model in models]
    return [Latency(size, size, size, 5, 1) for size in sizes]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many models each call measures."""
    calls: list[int] = []

    def latencies(models: Sequence[nn.Module], x: Tensor) -> list[Latency | None]:
        calls.append(len(models))
        return as_many_seconds_as_weights(models, x)

    monkeypatch.setattr("dashfx.cost.latency_model.latencies", latencies)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def test_latency_is_measured_again_on_the_lowered_model(timed: list[int]) -> None:
    result = search(f"latency={SMALL}s")
    (spent,) = result.budgets
    assert spent.held and spent.measured == spent.estimated == parameters_of(result.model)
    (facts,) = json.loads(json.dumps(result.to_dict()))["budgets"]
    assert facts == {**facts, "cost": "latency", "unit": "seconds", "limit": SMALL, "held": True}
    assert timed == [4, 4, 1, 1]  # two shapes, the untouched model, the lowered one


def test_what_is_missed_is_told_by_how_much() -> None:
    (limit,) = supernet()[1].each
    spent = limit.spent(float(SMALL), 1.5 * SMALL)
    assert not spent.held and spent.sentence.endswith(f"(its parts add up to {SMALL}), missed by 59.5 (50.0%)")


def test_a_resumed_run_takes_its_times_from_its_folder(tmp_path: Path, timed: list[int]) -> None:
    run = prepare(ToyNet, DATA, config={**FAST, "search": {"budgets": [f"latency={SMALL}s", "latency=2x"]}})
    _, net = rewritten(run)
    first = limited(run, net)
    times = times_of(first.limits)
    assert times is not None and timed == [4, 4, 1]  # two budgets share what is measured
    times.save(tmp_path / "latency.json")
    (tmp_path / "cache/dashfx/latency.json").unlink()
    timed.clear()
    run.session.resume = True
    again = limited(run, net, tmp_path)
    assert timed == [] and again.limits == first.limits
    assert limited(run, net, tmp_path / "elsewhere").limits == first.limits and timed == [4, 4, 1]


def supernet() -> tuple[dict[str, Any], Limits]:
    x = torch.zeros(2, 2, 24)
    net, program = dashfx.rewrite(ToyNet(), x, dashfx.SearchSpace.product([3, 5], [1, 2])), dashfx.trace(ToyNet(), x)
    return sites_of(net), limits_of(read_budgets([f"params={SMALL}"]), program, choices_of(net))


def favour(sites: dict[str, Any], logits: dict[str, list[float]]) -> None:
    for name, row in logits.items():
        with torch.no_grad():
            sites[name].alpha.copy_(torch.tensor(row))


def test_a_rule_gives_up_what_it_prefers_the_least() -> None:
    sites, limits = supernet()  # k3 d1, k3 d2, k5 d1, k5 d2
    favour(sites, {"conv1": [0.0, 1.0, 3.0, 0.0], "conv2": [0.0, 2.0, 0.0, 2.5]})
    assert Argmax().select(sites) == {"conv1": Candidate(5, 1), "conv2": Candidate(5, 2)}
    found = Argmax().within(sites, limits)
    assert found == {"conv1": Candidate(5, 1), "conv2": Candidate(3, 2)}
    assert found.rule == f"argmax within params={SMALL}"
    sites["conv2"].mask[1] = False  # what has left is not chosen
    assert Argmax().within(sites, limits)["conv2"] == Candidate(3, 1)


def test_a_rule_without_scores_goes_by_the_coefficients() -> None:
    class Largest(SelectionRule):
        name = "largest"

        def select(self, sites: Any) -> Genotype:
            return Genotype({name: site.candidates[-1] for name, site in sites.items()}, self.name)

    sites, limits = supernet()
    favour(sites, {"conv1": [0.0, 1.0, 3.0, 0.0], "conv2": [0.0, 2.0, 0.0, 2.5]})
    assert Largest().within(sites, limits) == Argmax().within(sites, limits)
    assert Largest().within(sites, None) == Largest().select(sites)


def test_energy_takes_what_is_not_eligible_where_nothing_else_holds() -> None:
    sites, limits = supernet()
    with torch.no_grad():
        for site in sites.values():
            site.weights[2].fill_(1.0)
    favour(sites, {"conv1": [-9.0, -9.0, 9.0, -9.0], "conv2": [-9.0, -9.0, 9.0, -9.0]})
    assert Energy().select(sites)["conv2"] == Candidate(5, 1)
    assert Energy().within(sites, limits)["conv2"].taps == 3


def test_chance_draws_among_all_that_holds() -> None:
    sites, limits = supernet()
    found = {RandomChoice(seed).within(sites, limits) for seed in range(60)}
    assert len(found) == 8 and all(map(limits.hold, found))
    free = {seed: RandomChoice(seed).select(sites) for seed in range(20)}
    assert all(RandomChoice(s).within(sites, limits) == each for s, each in free.items() if limits.hold(each))


def test_draws_that_hardly_ever_hold_are_solved_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sites, limits = supernet()
    monkeypatch.setattr("dashfx.strategies.limited.TRIES", 0)
    space = Limited(dashfx.blackbox.genomes.GenotypeSpace.of(sites), limits)
    generator = torch.Generator().manual_seed(0)
    found = {space.mutate(space.sample(generator), generator) for _ in range(30)}
    assert len(found) > 3 and all(map(limits.hold, found))
