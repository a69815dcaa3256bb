"""Training of finalists, one after the other, each with all its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean, stdev

from dashfx.errors import DivergedError
from dashfx.run.result import LONGER, UNTOUCHED, WIDER
from dashfx.run.run import Run
from dashfx.stages.finalists.base import CONTROL, NAN, Finalist, Start, Trained
from dashfx.stages.finalists.work import macs_of, work_of
from dashfx.stages.jobs.finalists import Training, trained_by_workers
from dashfx.stages.retrain import Retrained, plan, retrain
from dashfx.stages.splits import as_trained, stage_of


def train_finalists(
    run: Run, finalists: Sequence[Finalist], start: Start, trainings: int | None = None, needed: bool = True
) -> list[Trained]:
    """Each of `finalists`; one that diverges with any seed has lost.

    Args:
        trainings: how many each has; by default as the options say.
        needed: whether the run cannot go on where all of them diverge.

    Raises:
        DivergedError: all of them have diverged, and one is needed.
    """
    count = run.config.finalists.trainings if trainings is None else trainings
    run = trained_by_workers(
        run, [_training(run, each, start, number) for each in finalists for number in range(1, count + 1)]
    )
    trained = [train_finalist(run, finalist, start, count) for finalist in finalists]
    failures = [each.failure for each in trained if each.failure]
    if needed and trained and len(failures) == len(trained):
        raise failures[-1]
    for each in trained:
        if each.failure:
            run.note(f"{each.finalist.stage}: the {each.finalist.name} model's training diverges, so it is out")
    return trained


def _training(run: Run, finalist: Finalist, start: Start, number: int) -> Training:
    """What a worker needs to know of one of its trainings."""
    untouched = finalist.stage == CONTROL or finalist.origin in (LONGER, WIDER) or finalist.origin == UNTOUCHED
    by_recipe = run.with_config(finalist.recipe).silent()
    begin = partial(start, as_trained(by_recipe, number), finalist)
    genotype = None if untouched else finalist.genotype
    return Training(stage_of(by_recipe, finalist.stage, number), finalist.recipe, genotype, begin, number)


def train_finalist(run: Run, finalist: Finalist, start: Start, trainings: int) -> Trained:
    """One model's trainings: another seed draws other weights and another order of the rows, a fold other rows."""
    by_recipe, done = run.with_config(finalist.recipe), list[Retrained]()
    for number in range(1, trainings + 1):
        seeded, stage = as_trained(by_recipe, number), stage_of(by_recipe, finalist.stage, number)
        model = start(seeded, finalist)
        said = finalist.plan if trainings == 1 else f"{finalist.plan}, training {number} of {trainings}"
        try:
            with run.stage(stage, plan(said, seeded)):
                done.append(retrain(seeded.for_retraining(), model, stage))
        except DivergedError as error:
            return Trained(finalist, None, NAN, failure=error)
    return judged(run, finalist, done)


def judged(run: Run, finalist: Finalist, done: Sequence[Retrained]) -> Trained:
    """The trainings together: what all of them say, and the model of the best one on the run's own split."""
    best, *others = done[:: run.config.finalists.folds] if len(done) > 1 else done
    for each in others:
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
