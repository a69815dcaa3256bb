"""Black-box searches through the pipeline: every evaluator, what they hand on, and where they go on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx import Candidate, Genotype
from dashfx.errors import ConfigError, DashfxError, GenotypeError
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import Searching, check_strategy
from dashfx.train.progress import Observer

DATA = toy_data()
CHOICES = [Candidate(k, d) for k in (3, 5) for d in (1, 2)]


def settings(strategy: str = "evolution", **blackbox: Any) -> dict[str, Any]:
    small = {"evaluator": "params", "evaluations": 12, "population": 4, "tournament": 2, "epochs": 1, **blackbox}
    return {**FAST, "search": {**FAST["search"], "strategy": strategy, "epochs": 2}, "blackbox": small}


def search(strategy: str = "evolution", out: Path | None = None, **blackbox: Any) -> Result:
    return dashfx.search(ToyNet, DATA, config=settings(strategy, **blackbox), out=out)


def table(path: Path, column: str = "valid", **facts: Any) -> str:
    """Every genotype of the toy's space: k3 d2 in both convs is the best."""
    rows = [
        {
            "genotype": {"conv1": f"{a.kernel[0]},{a.dilation[0]}", "conv2": f"k{b.kernel[0]} d{b.dilation[0]}"},
            column: -abs(a.extent[0] - 4) - abs(b.extent[0] - 4) - (a.taps + b.taps) / 100,
        }
        for a in CHOICES
        for b in CHOICES
    ]
    path.write_text(json.dumps({**facts, "rows": rows}))
    return str(path)


@pytest.mark.parametrize("strategy", ["evolution", "random-search", "local", "differential:members=6", "tpe"])
def test_every_strategy_finds_what_the_proxy_likes(strategy: str) -> None:
    result = search(strategy, evaluations=25)
    assert set(result.genotype.values()) <= {Candidate(5, 1), Candidate(5, 2)}  # params: the most taps
    assert result.genotype.rule == f"{strategy.partition(':')[0]} by params" and len(result.evaluations) == 25
    assert [e.stage for e in result.history] == ["retrain"] * 2
    assert result.model.conv1.kernel_size == (5,)


def test_a_table_is_an_evaluator(tmp_path: Path) -> None:
    result = search("local", evaluator=table(tmp_path / "known.json"), evaluations=60)
    assert set(result.genotype.values()) == {Candidate(3, 2)} and result.genotype.rule == "local by known.json"
    worst = search("local", evaluator=table(tmp_path / "known.json", maximise=False), evaluations=60)
    assert set(worst.genotype.values()) == {Candidate(5, 2)}


def test_a_short_training_is_an_evaluator() -> None:
    result = search("random-search", evaluator="train", evaluations=3)
    values = [row.value for row in result.evaluations]
    assert all(value is not None and 0 <= value <= 1 for value in values)
    assert result.genotype == max(result.evaluations, key=lambda row: (row.fitness, -row.number)).genome


def test_the_trained_supernet_is_an_evaluator_and_hands_its_weights_on(tmp_path: Path) -> None:
    config = {**settings(evaluator="supernet", evaluations=6), "retrain": {"epochs": 1, "batch_size": 16, "lr": 1e-12}}
    result = dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run")
    assert [e.stage for e in result.history] == ["search"] * 2 + ["retrain"]
    learned = torch.load(tmp_path / "run/checkpoints/search-last.pt", weights_only=True)["learner"]["model"]
    index = CHOICES.index(result.genotype["conv1"])
    assert torch.allclose(result.model.conv1.weight, learned[f"conv1.weights.{index}"], atol=1e-6)


def test_a_genotypes_value_does_not_depend_on_what_was_evaluated_before() -> None:
    run = prepare(ToyNet, DATA, config=settings(evaluator="supernet"))
    context = Searching(run, rewritten(run)[1])
    evaluator = run.strategy.evaluator
    assert evaluator is not None and evaluator.training is not None
    evaluating = evaluator.begin(context, evaluator.training.train(context))
    first, other = (Genotype(dict.fromkeys(("conv1", "conv2"), choice)) for choice in CHOICES[:2])
    norm = context.supernet.norm
    alone, statistics = evaluating.value(first), norm.running_mean.clone()
    evaluating.value(other)
    assert not torch.equal(norm.running_mean, statistics), "batch norm has each genotype's own statistics"
    assert evaluating.value(first) == alone


class Kill(Observer):
    """Stops after so many evaluations."""

    def __init__(self, after: int) -> None:
        self._after = after

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if done == self._after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("strategy", "evaluator", "evaluations"),
    [
        ("evolution", "params", 12),
        ("robust:scores=[snip, naswot],pool=8", "grad_norm", 6),  # of which all but one go into the weights
        pytest.param("evolution", "supernet", 12, marks=pytest.mark.slow),
    ],
)
def test_a_killed_search_ends_as_if_nothing_had_happened(
    tmp_path: Path, strategy: str, evaluator: str, evaluations: int
) -> None:
    config = settings(strategy, evaluator=evaluator, evaluations=evaluations)
    straight = dashfx.search(ToyNet, DATA, config=config)
    with pytest.raises(KeyboardInterrupt):
        dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run", observer=Kill(evaluations // 2 + 1))
    result = dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run", resume=True)
    assert result.genotype.rule in ("untouched", f"{strategy.partition(':')[0]} by {evaluator}")
    assert result.genotype == straight.genotype and result.valid == straight.valid
    assert [(r.genome, r.value) for r in result.evaluations] == [(r.genome, r.value) for r in straight.evaluations]
    assert len((tmp_path / "run/evaluations.jsonl").read_text().splitlines()) == evaluations
    assert Genotype.load(tmp_path / "run/genotype.json") == result.genotype


def test_a_warm_start_favours_what_the_proxy_likes() -> None:
    config = settings("dash", evaluations=60)
    config["search"] = {**config["search"], "warm_start": "params", "warmup": 0.99, "epochs": 1}
    result = dashfx.search(ToyNet, DATA, config=config)
    assert set(result.genotype.values()) <= {Candidate(5, 1), Candidate(5, 2)} and result.genotype.rule == "argmax"
    assert len(result.evaluations) == 60


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blackbox": {"evaluator": "gennass"}}, "no evaluator 'gennass' \\(did you mean 'gennas'"),
        ({"blackbox": {"evaluator": "none.json"}}, "none.json' cannot be read"),
        ({"blackbox": {"tournament": 60}}, "a tournament of 60 out of a population of 50"),
        ({"search": {"warm_start": "params"}}, "is for strategy dash"),
        ({"blackbox": {"evaluations": 0}}, "blackbox.evaluations"),
        ({"search": {"strategy": "robust"}, "blackbox": {"evaluations": 1}}, "give --evaluations 2 or more"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    config = {**FAST, "search": {"strategy": "evolution"}}
    for block, values in changes.items():
        config[block] = {**config.get(block, {}), **values}
    with pytest.raises(DashfxError, match=said):
        dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_does_nothing_is_noted_once() -> None:
    space = {**FAST["space"], "exclude": ["conv3"], "overrides": {"stem*": {"kernels": [3]}}}
    run = prepare(ToyNet, DATA, config={**settings("dash"), "space": space})
    _, supernet = rewritten(run)
    rewritten(run)
    check_strategy(run, supernet)
    said = [note.split(":")[0].split(" does")[0] for note in run.ledger.notes if not note.startswith("data:")]
    assert said == ["space.exclude", "space.overrides", "blackbox.evaluator", "blackbox.evaluations"]


def test_a_warm_start_from_a_supernet_is_refused() -> None:
    config = settings("dash")
    config["search"]["warm_start"] = "supernet"
    with pytest.raises(ConfigError, match="supernet"):
        dashfx.search(ToyNet, DATA, config=config)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"genotype": {"conv9": "3,1"}, "valid": 1}], "of another model"),
        ([{"genotype": {"conv1": "3,1", "conv2": "9,1"}, "valid": 1}], "k9 d1 is not a candidate of site 'conv2'"),
        ([{"genotype": {"conv1": "3,1"}}], "'valid'"),
        ([{"genotype": {"conv1": "three"}, "valid": 1}], "write kernel and dilation as 3,1"),
        ([], "no row"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, rows: list[Any], said: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(GenotypeError, match=said):
        search(evaluator=str(tmp_path / "bad.json"))


def test_a_table_can_be_a_csv_and_averages_seeds(tmp_path: Path) -> None:
    from dashfx.blackbox.genotype_table import GenotypeTable

    path = tmp_path / "known.csv"
    path.write_text('conv1,conv2,seed,valid\n"3,1",k5 d2,0,0.5\n"3,1",k5 d2,1,0.7\nk3 d2,k3 d1,0,nan\n')
    both = Genotype({"conv1": Candidate(3), "conv2": Candidate(5, 2)})
    assert GenotypeTable.load(path).values == {both: pytest.approx(0.6)}
