"""Training of finalists, one after the other, each with all its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

from dashfx.errors import DivergedError
from dashfx.run.run import Run
from dashfx.stages.finalists.base import NAN, Finalist, Start, Trained
from dashfx.stages.finalists.work import macs_of, work_of
from dashfx.stages.retrain import Retrained, plan, retrain
from dashfx.train.fit import derive_seed


def train_finalists(
    run: Run, finalists: Sequence[Finalist], start: Start, seeds: int | None = None, needed: bool = True
) -> list[Trained]:
    """Each of `finalists`; one that diverges with any seed has lost.

    Args:
        seeds: how many trainings each has; by default as the options say.
        needed: whether the run cannot go on where all of them diverge.

    Raises:
        DivergedError: all of them have diverged, and one is needed.
    """
    count = run.config.finalists.seeds if seeds is None else seeds
    trained = [train_finalist(run, finalist, start, count) for finalist in finalists]
    failures = [each.failure for each in trained if each.failure]
    if needed and trained and len(failures) == len(trained):
        raise failures[-1]
    for each in trained:
        if each.failure:
            run.note(f"{each.finalist.stage}: the {each.finalist.name} model's training diverges, so it is out")
    return trained


def train_finalist(run: Run, finalist: Finalist, start: Start, seeds: int) -> Trained:
    """One model's trainings: another seed draws other weights and another order of the rows."""
    by_recipe, done = run.with_config(finalist.recipe), list[Retrained]()
    for number in range(1, seeds + 1):
        seeded, stage = with_seed(by_recipe, number), stage_of(finalist.stage, number)
        model = start(seeded, finalist)
        said = finalist.plan if seeds == 1 else f"{finalist.plan}, seed {number} of {seeds}"
        try:
            with run.stage(stage, plan(said, finalist.recipe.retrain.epochs)):
                done.append(retrain(seeded.for_retraining(), model, stage))
        except DivergedError as error:
            return Trained(finalist, None, NAN, failure=error)
    return judged(run, finalist, done)


def judged(run: Run, finalist: Finalist, done: Sequence[Retrained]) -> Trained:
    """The trainings together: the best seed's model, and what all of them say of it."""
    best = done[0]
    for each in done[1:]:
        best = each if run.inputs.task.better(each.judged, best.judged) else best
    values = [each.judged for each in done]
    macs, rows = macs_of(best.model, run.inputs.example[:1]), finalist.recipe.retrain.batch_size
    return Trained(
        finalist,
        best.model,
        best.valid,
        fmean(values),
        stdev(values) if len(values) > 1 else None,
        fmean(each.loss for each in done),
        tuple(done),
        sum(work_of(each.history, rows, macs) for each in done),
    )


def with_seed(run: Run, number: int) -> Run:
    """The run as training `number` of a finalist has it, from 1 on; the first has the run's own seed."""
    if number == 1:
        return run
    seed = derive_seed(run.config.seed, "finalists", number)
    return replace(run, inputs=run.inputs.with_config(run.config.model_copy(update={"seed": seed})))


def stage_of(stage: str, number: int) -> str:
    """The stage's name for training `number`."""
    return stage if number == 1 else f"{stage}-seed-{number}"
