"""Finalists that are trained by workers: each training comes to its end in the run's folder, where the run finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.genotype import Genotype
from dashfx.run.run import Run
from dashfx.stages.jobs.hand_out import cleared, handed_out
from dashfx.stages.jobs.job import Answer, Job, job_of
from dashfx.stages.jobs.worker import Task, done
from dashfx.stages.retrain import retrain
from dashfx.stages.rewrite import fourier_convs
from dashfx.stages.splits import as_trained
from dashfx.train.progress import epochs_in


@dataclass(frozen=True)
class Training:
    """A finalist's training, whose checkpoint is `checkpoints/<stage>-last.pt`.

    Attributes:
        recipe: the options that it is trained by.
        genotype: None for the untouched model.
        start: gives the model that training starts from, anew at every call.
        number: which of its trainings it is, see `dashfx.stages.splits`.
    """

    stage: str
    recipe: RunConfig
    genotype: Genotype | None
    start: Callable[[], nn.Module]
    number: int = 1


def trained_by_workers(run: Run, trainings: Sequence[Training]) -> Run:
    """The run once its workers have brought these trainings to their end; by itself where it has none.

    What comes back goes on with checkpoints, so each of these trainings is at its end as soon as it begins. One that
    diverges at a worker has the checkpoint of the epoch before, and diverges here again.

    Raises:
        DashfxError: what a training raises that does not diverge, or workers that are lost.
    """
    if run.session.workers is None or not trainings:
        return run
    plural = "s" * (len(trainings) > 1)
    with run.stage("workers", f"{len(trainings)} training{plural} by {run.session.workers.name}"):
        jobs = [_job(run, each) for each in trainings]
        told = _Told(run, jobs)
        handed_out(run, train_finalist, jobs, told.look)
        cleared(jobs)
    return replace(run, session=run.session.resuming())


def train_finalist(job: Job) -> Answer:
    """The job of a worker: the training of one finalist, from its last checkpoint to its end."""
    return done(job, _train)


def _train(task: Task) -> Answer:
    run = as_trained(task.run, int(task.job.more or 1)).for_retraining()
    return Answer(retrain(run, task.model(run), task.job.name, convs=task.convs).valid)


def _job(run: Run, training: Training) -> Job:
    own, model = run.with_config(training.recipe), training.start()
    convs, number = fourier_convs(own, model), str(training.number)
    return job_of(run, training.stage, training.recipe, training.genotype, model, convs, number)


class _Told:
    """Tells the run's listeners of the epochs at its workers as they end, of each once.

    What a worker that died has not told of, the run tells when it goes on with the checkpoint, see `fit_stage`.
    """

    def __init__(self, run: Run, jobs: Sequence[Job]) -> None:
        self._run, self._jobs = run, jobs
        self._known = set[tuple[str, int]]()

    def look(self) -> None:
        """Tell what the workers' logs say by now."""
        epochs = [epoch for job in self._jobs for epoch in epochs_in(job.log)]
        new = [epoch for epoch in epochs if (epoch.stage, epoch.epoch) not in self._known]
        self._known |= {(epoch.stage, epoch.epoch) for epoch in new}
        for epoch in self._run.session.resuming().untold(new):  # of a job that goes on, some were told before
            self._run.session.observer.epoch(epoch)
