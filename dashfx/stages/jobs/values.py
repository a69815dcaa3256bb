"""Values of genotypes by short trainings, in this process or at the run's workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from dashfx.config.run import RetrainConfig
from dashfx.errors import DivergedError
from dashfx.genotype import Genotype
from dashfx.run.run import Run
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.jobs.hand_out import cleared, handed_out
from dashfx.stages.jobs.job import Answer, Job, job_of
from dashfx.stages.jobs.worker import Task, done
from dashfx.train.fit import Supervised, fit

STAGE = "evaluate"


def trained_values(run: Run, genotypes: Sequence[Genotype], options: RetrainConfig) -> list[float]:
    """The best metric of each on the validation part; NaN where training diverges."""
    models = (specialised_by(run.inputs, genotype, STAGE) for genotype in genotypes)
    if run.session.workers is None:
        return [_value(run, model, options) for model in models]
    if run.config.blackbox.together == 1:
        run.note("blackbox.together=1: one genotype at a time, so one worker at a time has work; set it to 4 or more")
    recipe = run.config.model_copy(update={"retrain": options})
    pairs = zip(genotypes, models, strict=True)
    jobs = [job_of(run, STAGE, recipe, genotype, model) for genotype, model in pairs]
    answers = handed_out(run, evaluate_genotype, jobs)
    cleared(jobs)
    return [math.nan if answer.value is None else answer.value for answer in answers]


def evaluate_genotype(job: Job) -> Answer:
    """The job of a worker: a short training, from its last checkpoint to its end."""
    return done(job, _evaluate)


def _evaluate(task: Task) -> Answer:
    run = task.run
    return Answer(_value(run, task.model(run), run.config.retrain, Path(task.job.scratch)))


def _value(run: Run, model: nn.Module, options: RetrainConfig, scratch: Path | None = None) -> float:
    """As a worker does it, from what it left in `scratch`, and telling its observers; else in silence."""
    learner = Supervised(model, run.inputs.task, options, run.session.accelerator)
    more = {} if scratch is None else {"folder": scratch, "resume": True, "observer": run.session.observer}
    try:
        return fit(learner, run.inputs.data, stage=STAGE, seed=run.config.seed, **more).best  # type: ignore[arg-type]
    except DivergedError:
        return math.nan
