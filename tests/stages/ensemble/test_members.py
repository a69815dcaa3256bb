"""Which trained models are averaged: the best that may be handed back, each another training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from toys import FAST, ToyNet, toy_data

from dashfx.cost.budgets import Limits
from dashfx.errors import ConfigError, TaskError
from dashfx.genotype import Genotype
from dashfx.run.prepare import prepare
from dashfx.run.result import DISTILLED, RANDOM, SEARCHED, UNTOUCHED
from dashfx.run.run import Run
from dashfx.space import Candidate
from dashfx.stages.ensemble.average import part_of, unfit
from dashfx.stages.ensemble.distil import decided_again, work_of_teachers
from dashfx.stages.ensemble.members import (
    Training,
    check_ensemble,
    members_of,
    most_members,
    ranked,
    steps_to,
    trainings_of,
)
from dashfx.stages.finalists import Decision, Finalist, Trained, planned_epochs
from dashfx.stages.retrain import Retrained, epochs_of
from dashfx.task import classify
from dashfx.train.progress import Epoch

DATA = toy_data()
GENOTYPE = Genotype({"conv1": Candidate(3)}, "argmax")


def run_of(count: int = 2, **more: Any) -> Run:
    return prepare(ToyNet, DATA, config={**FAST, "control": True, "ensemble": {"count": count}, **more})


def trained(name: str, judged: float, seed: int, *, origin: str = SEARCHED, **more: Any) -> Trained:
    torch.manual_seed(seed)
    model = more.pop("model", ToyNet())
    finalist = Finalist(name, origin, more.pop("genotype", GENOTYPE), run_of().config, name, "", **more)
    if model is None:
        return Trained(finalist, None, math.nan)
    once = Retrained(model, 1 - judged, judged, 1.0, ())  # whose best epochs would say the opposite
    return Trained(finalist, model, 1 - judged, judged, seeds=(once,))


def decision(run: Run, *each: Trained) -> Decision:
    return Decision(run, each, each[0], each[0], {}, None)


def names(run: Run, *each: Trained) -> list[str]:
    return [member.name for member in members_of(decision(run, *each))]


def of(*each: Trained) -> list[Training]:
    return [training for one in each for training in trainings_of(run_of(), one)]


def test_the_best_by_the_finalists_judge_come_first() -> None:
    a, b, c = trained("a", 0.7, 0), trained("b", 0.9, 1), trained("c", 0.8, 2)
    assert names(run_of(2), a, b, c) == ["b", "c"]
    assert names(run_of(3), a, b, c) == ["b", "c", "a"]
    assert names(run_of(5), a, b, c) == ["b", "c", "a"]
    lower = run_of(2, task="classify:error")
    assert names(lower, a, b, c) == ["a", "c"]
    assert names(run_of(2), trained("nan", math.nan, 0), b, c) == ["b", "c"]
    assert names(run_of(0), a, b) == []


def test_of_equals_the_last_comes_first_as_for_what_is_kept() -> None:
    assert names(run_of(2), trained("a", 0.9, 0), trained("b", 0.9, 1), trained("c", 0.9, 2)) == ["c", "b"]


def test_what_may_not_be_handed_back_is_no_member() -> None:
    found = [
        trained("a", 0.7, 0),
        trained("random", 0.95, 1, origin=RANDOM, only_compared=True),
        trained("diverged", math.nan, 2, model=None),
        trained("distilled", 0.99, 3, origin=DISTILLED),
        trained("untouched", 0.6, 4, origin=UNTOUCHED),
    ]
    assert names(run_of(5), *found) == ["a", "untouched"]


def test_one_model_that_came_out_twice_counts_once() -> None:
    same = ToyNet()
    twin = ToyNet()
    twin.load_state_dict(same.state_dict())
    found = [trained("a", 0.9, 0, model=same), trained("b", 0.8, 1, model=twin), trained("c", 0.7, 2)]
    assert names(run_of(3), *found) == ["a", "c"]
    other = ToyNet(width=5)  # the same names and other shapes
    assert names(run_of(3), *found[:1], trained("wide", 0.8, 1, model=other)) == ["a", "wide"]


class AtMost(Limits):
    """A budget that only the choices of smaller kernels hold."""

    def __init__(self, largest: int) -> None:
        object.__setattr__(self, "largest", largest)

    def held(self, genotype: Genotype) -> bool:
        return all(max(choice.kernel) <= self.largest for choice in genotype.values())  # type: ignore[attr-defined]


def test_members_hold_the_budgets_where_any_does() -> None:
    big = Genotype({"conv1": Candidate(7)})
    found = [trained("a", 0.9, 0, genotype=big), trained("b", 0.8, 1), trained("c", 0.7, 2)]
    assert names(replace(run_of(3), limits=AtMost(3)), *found) == ["b", "c"]
    assert names(replace(run_of(3), limits=AtMost(1)), *found) == ["a", "b", "c"]


def test_ranks_do_not_depend_on_the_order_of_training_but_for_equals() -> None:
    a, b, c = trained("a", 0.7, 0), trained("b", 0.9, 1), trained("c", math.nan, 2)
    for order in ([a, b, c], [c, b, a], [b, c, a]):
        assert [each.name for each in ranked(run_of(), of(*order))] == ["b", "a", "c"]


def test_steps_count_the_search_where_it_found_a_member_and_no_stage_twice() -> None:
    run = run_of()
    for stage, steps in (("search", 100), ("a", 10), ("a", 10), ("untouched", 7), ("random", 3), ("one-by-one", 5)):
        run.ledger.history.append(Epoch(stage, 0, 1, 1.0, 1.0, 1.0, 0.1, 1.0, 1.0, {}, steps))
    searched, untouched = trained("a", 0.7, 0), trained("untouched", 0.6, 1, origin=UNTOUCHED)
    assert steps_to(run, of(untouched)) == 7
    assert steps_to(run, of(searched)) == 125
    assert steps_to(run, of(searched, untouched, searched)) == 132
    assert steps_to(run, []) == 0
    run.ledger.history.append(Epoch("race-1-k7 d1", 0, 1, 1.0, 1.0, 1.0, 0.1, 1.0, 1.0, {}, 30))
    assert steps_to(run, of(searched)) == 155 and steps_to(run, of(untouched)) == 7


def test_every_seed_is_a_training_and_other_folds_are_none() -> None:
    run = run_of(finalists={"seeds": 2, "folds": 3})
    each = trained("a", 0.7, 0)
    all_of_them = tuple(replace(each.seeds[0], judged=number / 10) for number in range(6))
    found = trainings_of(run, replace(each, seeds=all_of_them))
    assert [(one.name, one.stage, one.judged) for one in found] == [("a", "a", 0.0), ("a, seed 2", "a-seed-2", 0.3)]


@pytest.mark.parametrize(("judged", "better"), [(0.65, True), (0.55, False)])
def test_a_distilled_model_is_held_to_the_trainings_on_its_own_rows(judged: float, better: bool) -> None:
    """Of two seeds and two folds the mean is 0.8 over all and 0.6 on the run's own split."""
    run = run_of(finalists={"seeds": 2, "folds": 2})
    each = trained("a", 0.8, 0)
    each = replace(each, seeds=tuple(replace(each.seeds[0], judged=value) for value in (0.5, 1.0, 0.7, 1.0)))
    found = decided_again(decision(run, each), trained("distilled", judged, 1, origin=DISTILLED))
    assert (found.kept.finalist.origin == DISTILLED) == better
    (note,) = [note for note in run.ledger.notes if note.startswith("distil: ")]
    assert f"{judged:.4f}, 0.6000 of the a model" in note


def test_a_distilled_model_has_had_all_training_that_found_its_choice() -> None:
    """The search, both of its finalists, and the untouched model, each once, whoever of them is a member."""
    run = run_of()
    a, b = (replace(trained(name, 0.5, i), work=work) for i, (name, work) in enumerate((("a", 10.0), ("b", 20.0))))
    untouched = replace(trained("untouched", 0.4, 2, origin=UNTOUCHED), work=4.0)
    made = replace(decision(run, a, b, untouched), before=100.0)
    assert work_of_teachers(made, of(a, untouched)) == work_of_teachers(made, of(a, b, untouched)) == 134
    assert work_of_teachers(made, of(a, b)) == 130
    alone = replace(made, kept=untouched)
    assert work_of_teachers(alone, of(untouched)) == 4 and work_of_teachers(alone, of(untouched, b)) == 134


def test_how_many_models_a_run_trains() -> None:
    tuned = {"tune": {"trials": 2, "space": {"lr": [0.1]}}}
    assert most_members(run_of().config, 1, is_control=False) == 2
    assert most_members(run_of(**tuned).config, 1, is_control=False) == 3
    assert most_members(run_of(control=False).config, 1, is_control=False) == 1
    assert most_members(run_of(**tuned).config, 1, is_control=True) == 2
    many = {"finalists": {"count": 2, "seeds": 3, "longer": True, "wider": {"width": 8}}}
    assert most_members(run_of(**many).config, 5, is_control=False) == 3 * (2 + 3)
    assert most_members(run_of(**many).config, 1, is_control=True) == 3


def test_distilling_is_one_more_training_in_the_plan() -> None:
    run = run_of(ensemble={"count": 2, "distil": True})
    assert planned_epochs(run.config, epochs_of(run))["distil"] == run.config.retrain.epochs
    assert "distil" not in planned_epochs(run_of().config, epochs_of(run))


def test_more_members_than_models_are_refused() -> None:
    check_ensemble(run_of(2))
    check_ensemble(run_of(0, control=False))
    with pytest.raises(ConfigError, match="--ensemble 3: this run trains 2 models that may be handed back"):
        check_ensemble(run_of(3))
    with pytest.raises(ConfigError, match="--ensemble 2: this run trains 1 model that may"):
        check_ensemble(run_of(2, control=False))
    with pytest.raises(ConfigError, match="trains 1 model "):
        check_ensemble(run_of(2, search={**FAST["search"], "strategy": "untouched"}))


@pytest.mark.parametrize("average", [None, "median"])
def test_a_task_that_says_no_average_is_refused(average: Any) -> None:
    own = replace(classify(DATA), name="mine", average=average)
    run = prepare(ToyNet, DATA, task=own, config={**FAST, "control": True, "ensemble": {"count": 2}})
    with pytest.raises(TaskError, match="task mine does not say how the outputs of several models become one"):
        check_ensemble(run)
    said = prepare(
        ToyNet, DATA, task=replace(own, average="mean"), config={**FAST, "control": True, "ensemble": {"count": 2}}
    )
    check_ensemble(said)


def test_each_member_is_built_by_its_own_recipe() -> None:
    """The run that goes on has the winner's recipe, here with a wider model."""
    wide = run_of(retrain={**FAST["retrain"], "weights": "fresh", "model_args": {"width": 6}}).for_retraining()
    for run in (wide, run_of()):
        own = part_of(run, *of(trained("a", 0.9, 0)))
        assert own.args == {} and own.reference.conv1.out_channels == 4 and own.names == ["conv1"]
        one = trained("b", 0.9, 0, model=ToyNet(width=6))
        one = replace(one, finalist=replace(one.finalist, recipe=wide.config))
        other = part_of(run, *of(one))
        assert other.args == {"width": 6} and other.reference.conv1.out_channels == 6


class Two(ToyNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :2]


def test_models_with_other_outputs_have_no_average() -> None:
    run = run_of()
    pair = [trained("a", 0.9, 0), trained("b", 0.8, 1)]
    assert unfit(run, of(*pair)) == ""
    said = unfit(run, of(*pair, trained("c", 0.7, 2, model=Two())))
    assert said == "the models give different outputs (a (3,), b (3,), c (2,)), which have no average"
    assert unfit(run, of(*pair, trained("d", 0.7, 2, model=Pair()))).endswith("d no tensor), which have no average")
    assert unfit(run, of(*pair[:1])).startswith("1 model that may be handed back")


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x
