"""Searches with ties: every rule and budget chooses alike, monitors drop alike, killed ones go on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import BATCH, DATA, Interrupt, engine, same, state
from ranks import Smooth, in_ranks, searched
from toys import FAST, ToyNet, arrays, toy_data

import dashfx
from dashfx import Candidate, Genotype, Gradient
from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.cost.budgets import limits_of, read_budgets
from dashfx.errors import ConfigError
from dashfx.ops import decisions_of, tie
from dashfx.stages.costs.limits import choices_of
from dashfx.stages.costs.pick import front, picked
from dashfx.strategies.engine import Engine
from dashfx.strategies.judge import Judge
from dashfx.strategies.monitors import Action, Drop, Monitor
from dashfx.strategies.one_by_one import OneByOne
from dashfx.strategies.rules import RULES, Argmax, Contribution, Energy, Perturbation, RandomChoice, SelectionRule
from dashfx.train.fit import fit


def tied(init: str = "fresh", **options: Any) -> Engine:
    made = engine(init, **options)
    tie(made.sites, "all")
    return made


def apart(made: Engine) -> Engine:
    """Sites that would choose differently, each for itself."""
    made.sites["conv1"].alpha.data.copy_(torch.tensor([2.0, 0.0, 1.5, 0.0]))
    made.sites["conv2"].alpha.data.copy_(torch.tensor([0.0, 2.0, 1.5, 0.0]))
    return made


def test_a_step_moves_tied_logits_together() -> None:
    made = tied(warmup=0)
    made.step(BATCH)
    first, second = (site.alpha for site in made.sites.values())
    assert bool(first.detach().abs().sum() > 0)
    torch.testing.assert_close(first.grad, second.grad, rtol=0, atol=0)
    torch.testing.assert_close(first, second)


def test_noise_is_each_sites_own() -> None:
    coef = tied().coefficients()
    assert not torch.equal(coef["conv1"], coef["conv2"])


def test_a_tied_search_takes_the_sum_of_the_sites_evidence() -> None:
    made = apart(tied())
    alone = [site.candidates[int(site.alpha.argmax())] for site in made.sites.values()]
    assert alone[0] != alone[1]
    assert list(Argmax().select(made.sites).values()) == [made.sites["conv1"].candidates[2]] * 2


@pytest.mark.parametrize("name", RULES)
def test_every_rule_chooses_alike(name: str) -> None:
    made, rule = apart(tied()), RULES[name]()
    judge = Judge(made, DATA) if rule.judged else None
    genotype = rule.within(made.sites, None, judge)
    assert len(set(genotype.values())) == 1 and list(genotype) == list(made.sites)
    if judge is not None:
        # once a candidate of the decision; draws may leave some out
        assert judge.looks == 4 or (name == "best-of" and 1 < judge.looks < 4)


class Recording:
    """A judge that keeps the mixtures that it is asked about, and dislikes the loss of the third candidate most."""

    def __init__(self, made: Engine) -> None:
        self.sites, self.asked = made.sites, list[dict[str, list[float]]]()

    def coefficients(self) -> dict[str, torch.Tensor]:
        return {name: torch.full((4,), 0.25) for name in self.sites}

    def loss(self, coef: Mapping[str, torch.Tensor]) -> float:
        self.asked.append({name: row.tolist() for name, row in coef.items()})
        return float(coef["conv2"][2] == 0)


def test_a_candidate_is_tried_without_at_all_sites_of_a_decision() -> None:
    made = tied()
    judge: Any = Recording(made)
    genotype = Perturbation().judged_by(judge, made.sites)
    tried = [[0.25 * (i != gone) for i in range(4)] for gone in range(4)]
    assert judge.asked == [{"conv1": row, "conv2": row} for row in tried]
    assert set(genotype.values()) == {made.sites["conv1"].candidates[2]}


def test_a_score_that_depends_on_weights_is_summed_over_the_sites() -> None:
    made = tied()
    with torch.no_grad():
        for site, norms in zip(made.sites.values(), ([3.0, 1.0, 2.5, 1.0], [1.0, 3.0, 2.5, 1.0]), strict=True):
            for weight, norm in zip(site.weights, norms, strict=True):
                weight.mul_(norm / weight.norm())
    assert set(Contribution().select(made.sites).values()) == {made.sites["conv1"].candidates[2]}


def test_what_a_site_rules_out_is_taken_only_where_all_is_ruled_out() -> None:
    made = tied()
    with torch.no_grad():
        for site, kept in zip(made.sites.values(), (0, 2), strict=True):
            for index, weight in enumerate(site.weights):
                weight.mul_(float(index == kept))
    first = made.sites["conv1"]
    alone = [Energy().select({name: site})[name] for name, site in made.sites.items()]
    assert alone == [first.candidates[0], first.candidates[2]]  # k3 d1 and k5 d1
    assert set(Energy().select(made.sites).values()) == {first.candidates[2]}  # which keeps both kernels


def test_chance_draws_one_choice_a_decision() -> None:
    made = tied()
    drawn = [RandomChoice(seed).select(made.sites) for seed in range(40)]
    assert all(len(set(each.values())) == 1 for each in drawn)
    assert {next(iter(each.values())) for each in drawn} == set(made.sites["conv1"].candidates)


def test_genomes_change_a_decision_at_a_time() -> None:
    space, generator = GenotypeSpace.of(tied().sites), torch.Generator().manual_seed(0)
    genome = space.sample(generator)
    for _ in range(10):
        child = space.mutate(genome, generator)
        assert len(set(child.values())) == 1 and child != genome and list(child) == ["conv1", "conv2"]
        genome = child


def budgeted(text: str, made: Engine) -> Any:
    program = dashfx.trace(ToyNet(), torch.zeros(2, 2, 24))
    return limits_of(read_budgets([text]), program, choices_of(made.plain))


def test_budgets_hold_with_one_choice() -> None:
    made = apart(tied())
    for site in made.sites.values():
        site.alpha.data.copy_(torch.tensor([0.0, 0.5, 0.0, 3.0]))  # k5 d2 is wanted, k3 d2 comes next
    limits = budgeted("params=1x", made)  # three taps everywhere
    genotype = Argmax().within(made.sites, limits)
    assert set(genotype.values()) == {Candidate(3, 2)} and limits.hold(genotype)
    assert "within params=1x" in genotype.rule
    for each in limits.front(Argmax().preferred(made.sites), 5, decisions_of(made.sites)):
        assert len(set(each.values())) == 1


def test_a_budget_between_two_tied_choices_is_not_split() -> None:
    """Untied, one of the convs could have five taps."""
    made = engine()
    for site in made.sites.values():
        site.alpha.data.copy_(torch.tensor([0.0, 0.0, 3.0, 0.0]))
    limits = budgeted("params=1.3x", made)
    assert len(set(Argmax().within(made.sites, limits).values())) == 2
    tie(made.sites, "all")
    assert {c.kernel for c in Argmax().within(made.sites, limits).values()} == {(3,)}
    drawn = [RandomChoice(seed).within(made.sites, limits) for seed in range(10)]
    assert all(len(set(each.values())) == 1 and limits.hold(each) for each in drawn)


def test_a_budget_that_only_untied_choices_hold_is_refused() -> None:
    made, small, large = tied(), Candidate(3), Candidate(5)
    choices = {name: [small, large] for name in made.sites}
    limits = budgeted("params=1x", made)
    limits.check(choices, decisions_of(made.sites))
    costs = limits.each[0].costs
    costs["conv1"][small], costs["conv1"][large] = costs["conv1"][large], costs["conv1"][small]
    limits.check(choices)  # five taps in the first conv and three in the second
    with pytest.raises(ConfigError, match=r"can have with tied choices \(search.tie\) is"):
        limits.check(choices, decisions_of(made.sites))


@dataclass
class Dropping(Monitor):
    """Drops the second candidate of one site."""

    def on_epoch(self, ctx: Any) -> Sequence[Action]:
        site = ctx.sites["conv2"]
        return [Drop("conv2", site.candidates[1])] if ctx.epoch == 0 else []


def test_a_candidate_that_leaves_one_site_leaves_those_that_choose_with_it() -> None:
    made = tied()
    made._monitors.append(Dropping())
    made.finished(0)
    assert [len(site.candidates) for site in made.sites.values()] == [3, 3]
    untied = engine()
    untied._monitors.append(Dropping())
    untied.finished(0)
    assert [len(site.candidates) for site in untied.sites.values()] == [4, 3]


def test_one_by_one_decides_a_tie_at_once() -> None:
    made = OneByOne(apart(tied()), Argmax())
    assert made.config.epochs == 1
    expected = {name: site.restricted(2).detach().clone() for name, site in made.sites.items()}
    made.decide_next()
    assert all(site.candidates == (Candidate(5, 1),) for site in made.sites.values())
    assert all(torch.equal(site.weights[0], expected[name]) for name, site in made.sites.items())


CASES: dict[str, dict[str, Any]] = {
    "one-level": {},
    "first-order": {"update": "first-order"},
    "unrolled": {"update": "unrolled"},
    "relaxed": {"update": "relaxed"},
    "gaea": {"relaxation": "simplex", "alpha_optimizer": "expgrad"},
    "grouped-drop": {"relaxation": "grouped-drop"},
    "shrink": {"shrink": 0.9},
    "normalised": {"update": "normalised", "alpha_optimizer": "sgd"},
}


def fitted(options: Mapping[str, Any], **more: Any) -> Engine:
    made = tied("grow", **{"epochs": 4, "warmup": 0.25, "fade": 0.25, "lr": 0.02, **options})
    for alpha in made.alphas:
        alpha.data.copy_(made.relaxation.start(len(alpha)))
    fit(made, DATA, stage="search", **more)
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_killed_tied_search_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    straight = fitted(CASES[name])
    with pytest.raises(KeyboardInterrupt):
        fitted(CASES[name], folder=tmp_path, observer=Interrupt(2))
    resumed = fitted(CASES[name], folder=tmp_path, resume=True)
    assert same(state(resumed), state(straight))
    assert len(decisions_of(resumed.sites)) == 1 and len(set(Argmax().select(resumed.sites).values())) == 1


def run_options(**search: Any) -> dict[str, Any]:
    return {**FAST, "search": {**FAST["search"], "tie": "all", **search}}


@dataclass(frozen=True)
class Apart(SelectionRule):
    """Another candidate at each site."""

    name = "apart"

    def select(self, sites: Mapping[str, Any]) -> Genotype:
        return Genotype({name: site.candidates[place] for place, (name, site) in enumerate(sites.items())}, self.name)


def test_a_rule_that_does_not_know_of_ties_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"rule 'apart' chose k3 d1 at 'conv1' and k3 d2 at 'conv2', and"):
        dashfx.search(ToyNet, toy_data(), config=run_options(epochs=1), strategy=Gradient(rule=Apart()))


def test_a_run_has_one_choice_and_says_how_clearly(tmp_path: Path) -> None:
    result = dashfx.search(ToyNet, toy_data(), config=run_options(), out=tmp_path / "run")
    assert len(set(result.genotype.values())) == 1 and result.agreement is not None
    (decided,) = result.agreement.decisions
    assert decided.sites == ("conv1", "conv2") and decided.candidates == 4 and result.agreement.seeds == 1
    last = [epoch for epoch in result.history if epoch.stage == "search"][-1].mixtures
    assert decided.coefficients[0] == pytest.approx(last["conv1"][0]) and last["conv1"] == last["conv2"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Tied decisions" in page and f"{decided.choices[0]} ({decided.coefficients[0]:.2f})" in page


def test_another_choice_of_a_tied_run_is_tied_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", **arrays())
    model = f"{Path(__file__).parents[1] / 'toys.py'}:ToyNet"
    dashfx.search(model, str(tmp_path / "waves.npz"), config=run_options(), out=tmp_path / "run")
    assert len(set(picked(tmp_path / "run", ["params=1x"]).genotype.values())) == 1
    assert all(len(set(point.genotype.values())) == 1 for point in front(tmp_path / "run", "params", 4))


def test_two_processes_choose_as_one_does() -> None:
    options = run_options(cost_weight=0.0)
    found = in_ranks(2, searched, Smooth, options)
    assert not any(isinstance(each, Exception) for each in found), found
    assert found[0]["genotype"] == found[1]["genotype"]
    assert all(len(set(each.values())) == 1 for each in found[0]["choices"] if each)
