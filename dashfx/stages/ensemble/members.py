"""Members of the ensemble: the best trained models of a run that may be handed back, each another training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key

import torch
from torch import nn

from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO
from dashfx.deploy.programs.averaged import AVERAGES
from dashfx.errors import ConfigError, TaskError
from dashfx.run.result import DISTILLED, SEARCHED
from dashfx.run.run import Run
from dashfx.stages.finalists import Decision, Finalist, Trained
from dashfx.stages.finalists.lengths import RACE
from dashfx.stages.search import proposed
from dashfx.stages.splits import stage_of
from dashfx.train.pace import of_supernet


def check_ensemble(run: Run) -> None:
    """Whether the ensemble that the options ask for can be made; nothing is trained before.

    Raises:
        TaskError: a task that does not say how outputs are averaged.
        ConfigError: more members than the run trains models.
    """
    count, task = run.config.ensemble.count, run.inputs.task
    if not count or count == AUTO:
        return
    if task.average not in AVERAGES:
        raise TaskError(
            f"--ensemble {count}: task {task.name} does not say how the outputs of several models become one; let its "
            f"Task say average= {' or '.join(map(repr, AVERAGES))}, or leave --ensemble away"
        )
    if count > (most := most_members(run.config, proposed(run), run.strategy.is_control)):
        raise ConfigError(
            f"--ensemble {count}: this run trains {most} model{'s' * (most != 1)} that may be handed back; average no "
            "more than those, or let it train more of them (--finalists, --seeds, --control)"
        )


def most_members(config: RunConfig, proposals: int, is_control: bool) -> int:
    """How many models the options train that may be handed back, at least where it is not asked for a longer one."""
    options = config.finalists
    models = min(options.count, proposals) + (config.tune.wanted and config.tune.finalist)
    if not is_control:
        models += config.control * (1 + bool(options.wider) + (options.longer is True))
    return options.seeds * models


@dataclass(frozen=True)
class Training:
    """A training of a finalist, which may be a member: its name and stage, the model, and what that is worth."""

    name: str
    stage: str
    finalist: Finalist
    model: nn.Module
    valid: float
    judged: float


def trainings_of(run: Run, each: Trained) -> list[Training]:
    """Those of a finalist that have a model, one a seed: trainings on other folds have seen validation rows."""
    if each.model is None:
        return []
    finalist, folds = each.finalist, run.config.finalists.folds
    found = []
    for number, done in enumerate(each.seeds[::folds], 1):
        name = finalist.name + f", seed {number}" * (number > 1)
        stage = stage_of(run, finalist.stage, 1 + (number - 1) * folds)
        found.append(Training(name, stage, finalist, done.model, done.valid, done.judged))
    return found


def members_of(decision: Decision) -> list[Training]:
    """The best on validation, no more than the options ask for; of equals those that were trained last come first.

    What is only compared, what a budget does not allow (unless it allows none) and what has the weights of a better one
    is no member; nor is a model that was trained on the ensemble's answers.
    """
    rivals = [each for each in decision.trained if each.model is not None and may_be_averaged(each.finalist)]
    limits = decision.run.limits
    held = [each for each in rivals if limits is None or limits.held(each.finalist.genotype)]
    found: list[Training] = []
    for training in ranked(decision.run, [one for each in held or rivals for one in trainings_of(decision.run, each)]):
        if not any(same_weights(training.model, other.model) for other in found):
            found.append(training)
    return found[: decision.run.config.ensemble.wanted]


def may_be_averaged(finalist: Finalist) -> bool:
    return not finalist.only_compared and finalist.origin != DISTILLED


def ranked(run: Run, trainings: Sequence[Training]) -> list[Training]:
    """The best first by what finalists are judged by; what has no metric last."""

    def order(a: Training, b: Training) -> int:
        better = run.inputs.task.better
        return better(b.judged, a.judged) - better(a.judged, b.judged)

    return sorted(reversed(trainings), key=cmp_to_key(order))


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models are one: the same names, and bit for bit the same tensors."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def steps_to(run: Run, trainings: Sequence[Training]) -> int:
    """Steps of all training that led to these models together, search and race included where they found one."""
    stages, by_search = {each.stage for each in trainings}, any(e.finalist.origin == SEARCHED for e in trainings)

    def led_there(stage: str) -> bool:
        return stage in stages or (by_search and (of_supernet(stage) or stage.startswith(f"{RACE}-")))

    return run.ledger.steps(led_there)
