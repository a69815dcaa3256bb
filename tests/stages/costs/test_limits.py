"""Budgets through the pipeline: every strategy keeps to them, what is missed is told, and nothing is begun in vain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx import Candidate, Genotype
from dashfx.blackbox.base import Row
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limits, limits_of, read_budgets
from dashfx.cost.counts import parameters_of
from dashfx.cost.latency import Latency, Place
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.latency.table import LatencyTable, machine
from dashfx.errors import ConfigError, VerifyError
from dashfx.ops import sites_of
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.stages.costs.limits import budgets_of, choices_of, limited, times_of, unsteady
from dashfx.stages.rewrite import rewritten
from dashfx.strategies.evaluated.blackbox import fittest_held
from dashfx.strategies.evaluated.limited import Limited
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


def as_many_seconds_as_weights(models: Sequence[nn.Module], x: Tensor, place: Place) -> list[Latency | None]:
    sizes = [float(parameters_of(model)) for model in models]
    return [Latency(size, size, size, 5, 1) for size in sizes]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many models each call measures."""
    calls: list[int] = []

    def latencies(models: Sequence[nn.Module], x: Tensor, place: Place, free: bool = True) -> list[Latency | None]:
        calls.append(len(models))
        return as_many_seconds_as_weights(models, x, place)

    monkeypatch.setattr("dashfx.cost.latency.model.latencies", latencies)
    monkeypatch.setattr("dashfx.stages.costs.limits.DRAWS", 2)  # too few to tell anything of sums
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def test_latency_is_measured_again_on_the_lowered_model(timed: list[int]) -> None:
    result = search(f"latency={SMALL}s")
    (spent,) = result.budgets
    assert spent.held and spent.measured == spent.estimated == parameters_of(result.model)
    (facts,) = json.loads(json.dumps(result.to_dict()))["budgets"]
    assert facts == {**facts, "cost": "latency", "unit": "seconds", "limit": SMALL, "held": True}
    # Two shapes, the untouched model; beside it those that tell whether sums do, the choice, and the lowered model.
    assert timed == [4, 4, 1, 3, *[2] * (len(timed) - 4)] and len(timed) >= 5


def test_what_is_missed_is_told_by_how_much() -> None:
    (limit,) = supernet()[1].each
    spent = limit.spent(float(SMALL), 1.5 * SMALL)
    assert not spent.held and spent.sentence.endswith(f"(its parts add up to {SMALL}), missed by 59.5 (50.0%)")


def test_a_resumed_run_takes_its_times_from_its_folder(tmp_path: Path, timed: list[int]) -> None:
    run = prepare(ToyNet, DATA, config={**FAST, "search": {"budgets": [f"latency={SMALL}s", "latency=2x"]}})
    _, net = rewritten(run)
    first = limited(run, net)
    times = times_of(first.limits)
    assert times is not None and timed == [4, 4, 1, 3]  # two budgets share what is measured
    times.save(tmp_path / "latency.json")
    (tmp_path / "cache/dashfx/latency.json").unlink()
    timed.clear()
    run.session.resume = True
    again = limited(run, net, tmp_path)
    assert timed == [] and again.limits == first.limits
    assert limited(run, net, tmp_path / "elsewhere").limits == first.limits and timed == [4, 4, 1, 3]


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
    monkeypatch.setattr("dashfx.strategies.evaluated.limited.TRIES", 0)
    space = Limited(dashfx.blackbox.genomes.GenotypeSpace.of(sites), limits)
    generator = torch.Generator().manual_seed(0)
    found = {space.mutate(space.sample(generator), generator) for _ in range(30)}
    assert len(found) > 3 and all(map(limits.hold, found))


def deceiving(limits: Limits, more: float = 10.0) -> tuple[Limits, list[Genotype]]:
    """The same limits where a k5 costs more in a whole model than alone, and the choices that were measured."""
    asked: list[Genotype] = []

    def measure(choice: Any) -> list[float]:
        asked.append(Genotype(dict(choice)))
        wide = sum(c.kernel == (5,) for c in choice.values())
        return [limit.total(choice) + more * wide for limit in limits.each]

    return replace(limits, measure=measure), asked


def test_a_choice_is_solved_anew_until_its_whole_model_holds() -> None:
    sites, limits = supernet()
    favour(sites, {"conv1": [0.0, 1.0, 3.0, 0.0], "conv2": [0.0, 2.0, 0.0, 2.5]})
    assert Argmax().within(sites, limits) == {"conv1": Candidate(5, 1), "conv2": Candidate(3, 2)}
    dear, asked = deceiving(limits)
    found = Argmax().within(sites, dear)
    assert found == {"conv1": Candidate(3, 2), "conv2": Candidate(3, 2)} and dear.held(found)
    assert asked[0] == Argmax().select(sites)  # what the rule prefers is measured first
    assert all(dear.missed(each) > 0 for each in asked[:1]) and found.rule == f"argmax within params={SMALL}"


def test_of_choices_none_of_which_holds_the_nearest_is_taken() -> None:
    sites, limits = supernet()
    hopeless = replace(limits, measure=lambda choice: [2 * SMALL + sum(c.taps for c in choice.values())])
    found = Argmax().within(sites, hopeless)
    assert {c.taps for c in found.values()} == {3}


def test_what_sums_forbid_is_allowed_where_the_whole_model_holds() -> None:
    sites, limits = supernet()
    favour(sites, {"conv1": [0.0, 0.0, 9.0, 0.0], "conv2": [0.0, 0.0, 9.0, 0.0]})
    assert not limits.hold(Argmax().select(sites))
    cheap, _ = deceiving(limits, -100.0)
    assert Argmax().within(sites, cheap) == Argmax().select(sites)


def test_chance_and_black_boxes_measure_what_they_hand_back() -> None:
    sites, limits = supernet()
    dear, _ = deceiving(limits)
    assert all(dear.held(RandomChoice(seed).within(sites, dear)) for seed in range(10))
    wide, narrow = ({name: Candidate(k) for name in sites} for k in (5, 3))
    rows = [
        Row(i, Genotype(each), value, value, None, 0.0) for i, (each, value) in enumerate(((wide, 2.0), (narrow, 1.0)))
    ]
    assert fittest_held(rows, dear).genome == narrow and fittest_held(rows[:1], dear).genome == wide


def test_the_model_as_it_is_holds_its_own_share_however_it_is_timed(timed: list[int]) -> None:
    run = prepare(ToyNet, DATA, config={**FAST, "search": {"budgets": ["latency=1x"]}})
    limits = limited(run, rewritten(run)[1]).limits
    assert limits is not None and timed[-1] == 3
    assert limits.held({"conv1": Candidate(3), "conv2": Candidate(3)}) and timed[-1] == 3
    assert not limits.held({"conv1": Candidate(5), "conv2": Candidate(5)})


def test_times_of_another_machine_are_measured_anew_and_that_is_said(
    tmp_path: Path, timed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(ToyNet, DATA, config={**FAST, "search": {"budgets": [f"latency={SMALL}s"]}})
    _, net = rewritten(run)
    times = times_of(limited(run, net).limits)
    assert times is not None
    there = {key: replace(entry, machine="a calculator") for key, entry in times.entries.items()}
    LatencyTable({f"{key}x": entry for key, entry in there.items()}).save(tmp_path / "latency.json")
    run.session.resume = True
    limited(run, net, tmp_path)
    assert any("latency.json is of a calculator; measured anew here" in note for note in run.ledger.notes)


def test_times_that_do_not_come_again_are_said() -> None:
    table = LatencyTable()
    table.put("steady", Latency(1e-3, 0.9e-3, 1.1e-3, 9, 1))
    assert unsteady(table) == []
    table.put("shaky", Latency(1e-3, 0.8e-3, 1.2e-3, 9, 1))
    (said,) = unsteady(table)
    assert "1 of 2 times are not steady" in said and "quartiles of 0.8 and 1.2 ms round 1 ms" in said


def test_threads_and_provider_are_those_of_the_options() -> None:
    config = RunConfig.parse({**FAST, "search": {"budgets": ["latency=1ms", "params=1M"], "latency_threads": 3}})
    timed, counted = budgets_of(config)
    assert isinstance(timed.cost, MeasuredLatency) and timed.cost.place.threads == 3
    assert "CPUExecutionProvider, 3 threads" in machine(timed.cost.place) and counted.cost.unit == "parameters"
    (own,) = read_budgets(["latency:threads=2=1ms"], threads=4)
    assert isinstance(own.cost, MeasuredLatency) and own.cost.threads == 2 and own.limit == 1e-3
    with pytest.raises(ConfigError, match=r"no provider 'cdua' \(did you mean 'cuda'\?\); there are cpu, cuda"):
        Place("cdua").check()
    with pytest.raises(VerifyError, match="QNNExecutionProvider"):
        Place("qnn").check()
