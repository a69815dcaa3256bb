"""Searches by several seeds, and of the network as it is retrained: what is repeated, what stays, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toys import FAST, ToyNet, arrays, toy_data

import dashfx
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.ops import AggConv, sites_of
from dashfx.run.preflight import check_search
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.stages.finalists import planned_epochs
from dashfx.stages.reopen import lowered_of, result_of
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import reseeded, searched
from dashfx.train.length import Bounds
from dashfx.train.pace import of_supernet
from dashfx.train.progress import Epoch, Observer

DATA = toy_data()
MODEL = f"{Path(__file__).parents[1] / 'toys.py'}:ToyNet"


def options(seeds: int = 2, **search: Any) -> dict[str, Any]:
    return {**FAST, "search": {**FAST["search"], "seeds": seeds, "autotune": False, **search}}


def run_of(config: dict[str, Any]) -> Any:
    return prepare(ToyNet, DATA, config=config)


def proposals(config: dict[str, Any]) -> tuple[Any, Any]:
    """What a run's search proposes, and the run."""
    run = run_of(config)
    return searched(run, rewritten(run)[1]), run


def stages(run: Any) -> list[str]:
    return list(dict.fromkeys(epoch.stage for epoch in run.ledger.history))


def losses(run: Any, stage: str) -> list[float]:
    return [epoch.loss for epoch in run.ledger.history if epoch.stage == stage]


def test_further_searches_are_stages_of_their_own_and_change_nothing_of_the_first() -> None:
    (alone,), one = proposals(options(1))
    found, two = proposals(options(3))
    assert stages(one) == ["search"] and stages(two) == ["search", "search-2", "search-3"]
    assert found[0] == alone and losses(two, "search") == losses(one, "search")
    curves = [losses(two, stage) for stage in stages(two)]
    assert len({tuple(curve) for curve in curves}) == 3
    assert len(two.ledger.found) == 3 and len(set(found)) == len(found) <= 3
    assert two.ledger.found[0].genotype == alone


def test_each_search_starts_from_a_model_drawn_anew_and_sees_the_same_split() -> None:
    run = run_of(options())
    again = reseeded(run, 1)
    first, second = (each.inputs.fresh_model().state_dict() for each in (run, again))
    assert not torch.equal(first["conv1.weight"], second["conv1.weight"])
    assert again.inputs.data is run.inputs.data and again.config.seed != run.config.seed
    assert reseeded(run, 2).config.seed != again.config.seed


def test_an_untied_search_of_one_seed_has_nothing_to_agree_on() -> None:
    result = dashfx.search(ToyNet, DATA, config=options(1))
    assert result.agreement is None and not any("agree" in note for note in result.notes)


def test_searches_that_decide_site_by_site_are_repeated_too() -> None:
    _, run = proposals(options(discretise="one-by-one"))
    assert stages(run) == ["search", "one-by-one", "search-2", "one-by-one-2"]
    shares = [share for each in run.ledger.found for share in each.coefficients.values()]
    assert all(0 < share < 1 for share in shares)  # as the mixtures were, not what is left of them


def test_candidates_are_those_that_edits_leave() -> None:
    _, run = proposals(options(edits=["within:share=0.25"]))
    assert set(run.ledger.found[0].candidates.values()) == {3}  # k5 d2 spans 9 of 24 steps


class Killed(Observer):
    """Stops in the second search."""

    def epoch(self, facts: Epoch) -> None:
        if facts.stage == "search-2" and facts.epoch == 1:
            raise KeyboardInterrupt


def facts_of(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "result.json").read_text())
    for each in found["finalists"]:
        del each["latency"]  # which is measured
    return {name: found[name] for name in ("agreement", "finalists", "valid", "verdict")}


def test_a_run_that_was_killed_in_its_second_search_goes_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", **arrays())
    given = MODEL, str(tmp_path / "waves.npz")
    straight = dashfx.search(*given, config=options(), out=tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        dashfx.search(*given, config=options(), out=tmp_path / "b", observer=Killed())
    resumed = dashfx.search(*given, config=options(), out=tmp_path / "b", resume=True)
    assert resumed.agreement == straight.agreement is not None
    assert facts_of(tmp_path / "b") == facts_of(tmp_path / "a")
    told(straight, tmp_path / "a")


def told(result: Result, folder: Path) -> None:
    """The folder, its page and what is read of it say the same."""
    assert result.agreement is not None
    facts = json.loads((folder / "result.json").read_text())["agreement"]
    assert facts["seeds"] == 2 and facts["sentence"] == result.agreement.sentence
    assert result.agreement.sentence in result.notes
    page = (folder / "report.html").read_text()
    assert "Agreement of the searches" in page and "search 2" in page
    assert result_of(folder)[1].agreement == result.agreement
    searched_model = next(each for each in result.finalists if each.origin == "searched")
    steps = [epoch.steps for epoch in result.history if of_supernet(epoch.stage)]
    assert searched_model.search_steps == sum(steps) and len(steps) == 6  # what both searches took


class Grown(nn.Module):
    """Its second conv gains nothing: what it computes is multiplied by 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(x).relu()
        return self.fc((h + 0 * self.conv2(h)).mean(-1))


def test_further_searches_leave_alone_what_the_first_does() -> None:
    config = options(init="grow", epochs=1)
    run = prepare(Grown, DATA, config={**config, "space": {**FAST["space"], "exclude": ["conv2"]}})
    searched(run, rewritten(run)[1])
    assert [set(each.genotype) for each in run.ledger.found] == [{"conv1"}] * 2
    probed = rewritten(run_of(config), {"conv1": "the probe says so"})[1]
    other = run_of(config)
    searched(other, probed)
    assert [set(each.genotype) for each in other.ledger.found] == [{"conv2"}] * 2


@pytest.mark.parametrize("search", [{"strategy": "evolution"}, {"warm_start": "gennas"}])
def test_what_cannot_be_repeated_is_refused(search: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"search.seeds=2 trains mixtures again"):
        check_search(RunConfig.parse(options(**search)))
    check_search(RunConfig.parse(options(1, **search)))


def test_a_control_is_not_repeated() -> None:
    config = options(strategy="random")
    check_search(RunConfig.parse(config))
    (genotype,), run = proposals(config)
    assert genotype.rule.startswith("random") and stages(run) == []


def test_every_search_is_planned_for() -> None:
    config = RunConfig.parse(options(3))
    planned = planned_epochs(config, Bounds(2, 2, 2))
    assert planned["search-3"] == planned["search-2"] == planned["search"] == 3
    assert "search-2" not in planned_epochs(RunConfig.parse(options(1)), Bounds(2, 2, 2))


@pytest.mark.parametrize("stage", ["search", "search-2", "one-by-one", "one-by-one-12"])
def test_stages_that_train_a_supernet(stage: str) -> None:
    assert of_supernet(stage)


@pytest.mark.parametrize("stage", ["retrain", "retrain-2", "retrain-plain", "search-task", "search-", "control"])
def test_stages_that_do_not(stage: str) -> None:
    assert not of_supernet(stage)


WIDE = {"weights": "fresh", "model_args": {"width": 6}, "dropout": 0.25}


def test_the_network_is_searched_as_it_is_retrained(tmp_path: Path) -> None:
    config = {**options(1, as_retrained=True), "retrain": {**FAST["retrain"], **WIDE}}
    _, supernet = rewritten(run_of(config))
    assert sites_of(supernet)["conv1"].out_channels == 6
    drops = [module.p for module in supernet.modules() if isinstance(module, nn.Dropout)]
    assert drops and set(drops) == {0.25}
    narrow = rewritten(run_of({**config, "search": options(1)["search"]}))[1]
    assert isinstance(sites_of(narrow)["conv1"], AggConv) and sites_of(narrow)["conv1"].out_channels == 4
    assert {m.p for m in narrow.modules() if isinstance(m, nn.Dropout)} != {0.25}


def test_a_run_searched_as_retrained_opens_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", **arrays())
    config = {**options(1, as_retrained=True), "retrain": {**FAST["retrain"], **WIDE}}
    result = dashfx.search(MODEL, str(tmp_path / "waves.npz"), config=config, out=tmp_path / "run")
    assert result.model.conv1.out_channels == 6 and result.sites["conv1"].out_channels == 6
    plain, genotype = lowered_of(tmp_path / "run")
    assert plain.conv1.out_channels == 6 and genotype == result.genotype


def test_another_network_than_the_checkpoints_is_refused() -> None:
    config = {**options(1, as_retrained=True), "checkpoint": "weights.pt", "retrain": WIDE}
    with pytest.raises(ConfigError, match=r"search\.as_retrained searches the network that retrain.model_args make"):
        check_search(RunConfig.parse(config))


def test_a_proposal_starts_from_its_own_supernet_where_the_first_has_dropped_it(tmp_path: Path) -> None:
    """Deciding site by site leaves one candidate each, and the second search has chosen others."""
    config = options(discretise="one-by-one") | {"finalists": {"count": 2, "longer": False}}
    np.savez(tmp_path / "waves.npz", **arrays())
    result = dashfx.search(MODEL, str(tmp_path / "waves.npz"), config=config, out=tmp_path / "run")
    first, second = (each.genotype for each in result.finalists)
    assert first != second
    for genotype in (first, second):
        (tmp_path / "run" / "genotype-searched.json").write_text(genotype.to_json())
        assert lowered_of(tmp_path / "run")[1] == genotype
