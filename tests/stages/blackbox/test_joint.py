"""Networks and recipes together: what is trained for how long, the recipe that goes on, resumes, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toys import FAST, SIZE, ToyNet, toy_data

import dashfx
from dashfx import Genotype, SearchSpace
from dashfx.blackbox.base import Row
from dashfx.config.run import RunConfig
from dashfx.errors import DashfxError
from dashfx.ops import sites_of
from dashfx.options.morph import Morph
from dashfx.run.result import Result
from dashfx.stages import search as stage
from dashfx.strategies.evaluated import joint
from dashfx.strategies.evaluated.joint import recipes_of
from dashfx.train.progress import Observer

DATA = toy_data()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int, float]]:
    """Every training asked for: genotype, epochs, rate. What one is worth is told by its rate and its taps."""
    asked: list[tuple[Any, int, float]] = []

    def values(run: Any, genotypes: Any, options: Any) -> list[float]:
        asked.extend((genotype, options.epochs, options.lr) for genotype in genotypes)
        taps = [sum(choice.taps for choice in genotype.values()) for genotype in genotypes]
        return [(10 * (options.lr == 0.01) + each) * options.epochs / 100 for each in taps]

    monkeypatch.setattr(stage, "trained_values", values)
    return asked


def search(strategy: str = "joint:bohb,epochs=9", out: Path | None = None, **more: Any) -> Result:
    observer, resume = more.pop("observer", Observer()), more.pop("resume", False)
    config = {
        **FAST,
        "search": {"strategy": strategy},
        "retrain": {"epochs": 1, "batch_size": 16, "lr": 0.003},
        "tune": {"space": {"lr": [0.1, 0.01, 0.003]}},
        "blackbox": {"evaluations": 26},
        **more,
    }
    return dashfx.search(ToyNet, DATA, config=config, out=out, observer=observer, resume=resume)


def test_a_choice_keeps_what_it_has_beside_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Genotype({}, others={"conv1:morph": Morph("widen", "conv1", (("channels", 8),))})
    monkeypatch.setattr(joint, "optimise", lambda *_, **__: [Row(0, (grown, ()), 0.9, 0.9, None, 0.0)])
    sites = sites_of(dashfx.rewrite(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2])))
    context = SimpleNamespace(
        config=RunConfig(),
        sites=sites,
        limits=None,
        task=SimpleNamespace(maximise=True),
        history=lambda space: None,
        found_recipe=lambda *_: None,
    )
    found = joint.JointSearch().search(context)  # type: ignore[arg-type]
    assert found.others == grown.others and found.rule.endswith("over networks and recipes")


def test_short_trainings_come_first_and_the_best_recipe_is_a_finalist(trained: list[Any], tmp_path: Path) -> None:
    result = search(out=tmp_path / "run")
    assert [round(9 * row.fidelity) for row in result.evaluations[:13]] == [1] * 9 + [3] * 3 + [9]
    assert {epochs for _, epochs, _ in trained} == {1, 3, 9} and {rate for *_, rate in trained} == {0.1, 0.01, 0.003}
    assert result.tuned is not None and dict(result.tuned.values) == {"lr": 0.01}
    whole = [row for row in result.evaluations if row.fidelity == 1]
    assert result.tuned.metric == max(row.value or 0 for row in whole)
    assert result.chosen == max(whole, key=lambda row: (row.fitness, -row.number)).genome
    assert result.tuned.finals is not None  # by its own recipe, and by the options as they were
    assert {each.name for each in result.finalists} == {"tuned", "plain"} and len(result.tuned.trials) == 26
    first = json.loads((tmp_path / "run/evaluations.jsonl").read_text().splitlines()[0])
    assert first["genome"][1].keys() == {"lr"} and first["fidelity"] == pytest.approx(1 / 9)
    assert "Evaluations" in (tmp_path / "run/report.html").read_text()


class Kill(Observer):
    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if done == 11:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_as_if_nothing_had_happened(trained: list[Any], tmp_path: Path) -> None:
    straight, count = search(), len(trained)
    with pytest.raises(KeyboardInterrupt):
        search(out=tmp_path / "run", observer=Kill())
    result = search(out=tmp_path / "run", resume=True)
    assert len(trained) == 2 * count  # the two runs in parts have trained what one in one go does
    assert [(r.genome, r.point, r.fidelity) for r in result.evaluations] == [
        (r.genome, r.point, r.fidelity) for r in straight.evaluations
    ]
    assert result.tuned is not None and straight.tuned is not None and result.tuned.values == straight.tuned.values


def test_other_optimisers_train_each_pair_in_full(trained: list[Any]) -> None:
    result = search("joint:evolution,epochs=2", blackbox={"evaluations": 60})
    assert {epochs for _, epochs, _ in trained} == {2}
    assert result.tuned is not None and dict(result.tuned.values) == {"lr": 0.01}


def test_ranges_become_a_few_values() -> None:
    usual = recipes_of(RunConfig.parse({"retrain": {"lr": 0.01}}))
    assert usual["lr"] == pytest.approx((0.001, 10**-2.5, 0.01, 10**-1.5, 0.1)) and len(usual["weight_decay"]) == 5
    space = {"batch_size": {"low": 8, "high": 16}, "optimizer": ["sgd", "adam"]}
    found = recipes_of(RunConfig.parse({"tune": {"space": space}}))
    assert found == {"batch_size": (8, 10, 12, 14, 16), "optimizer": ("sgd", "adam")}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tune": {"trials": 3}}, "finds the recipe with the network; leave --tune out"),
        ({"tune": {"space": {"rule": ["argmax"]}}}, "'rule' of tune.space is no option of a recipe"),
        ({"tune": {"space": {"lr": [0.1, -1]}}}, "option 'lr': input should be greater than 0"),
        ({"blackbox": {"evaluations": 5}}, "its first bracket has 13 evaluations"),
        ({"blackbox": {"objectives": ["valid", "params"]}}, "joint has one objective"),
        ({"strategy": "joint:nonesuch"}, "no optimiser 'nonesuch'"),
    ],
)
def test_mistakes_are_one_line(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DashfxError, match=said):
        search(out=tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()
