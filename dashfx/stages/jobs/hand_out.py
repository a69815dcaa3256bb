"""Handing jobs out to a run's workers; their answers come back in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from dashfx import errors
from dashfx.run.folder import RunFolder
from dashfx.run.run import Run
from dashfx.stages.jobs.job import Answer, Job


def handed_out(
    run: Run, function: Callable[[Job], Answer], jobs: Sequence[Job], look: Callable[[], None] = lambda: None
) -> list[Answer]:
    """What the workers make of the jobs; an error that is no `DivergedError` ends the run as one of its own would.

    Args:
        look: called now and then while they are at it.

    Raises:
        DashfxError: the first error among the answers, by the order of the jobs.
    """
    assert run.session.workers is not None
    answers = list(run.session.workers.map(function, jobs, look))
    for answer in answers:
        if answer.error and answer.error[0] != errors.DivergedError.__name__:
            raise error_of(answer.error)
    return answers


def cleared(jobs: Sequence[Job]) -> None:
    """Remove the jobs' scratch folders, once nothing of them is needed any more."""
    for job in jobs:
        shutil.rmtree(Path(job.scratch), ignore_errors=True)


def swept(folder: RunFolder) -> None:
    """Remove the scratch folders that a finished run has no use for: those of an earlier start of it."""
    for path in folder.checkpoints.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def error_of(facts: tuple[str, str]) -> errors.DashfxError:
    """A worker's error, as this process raises it."""
    kind = getattr(errors, facts[0], errors.TrainingError)
    made: errors.DashfxError = kind(facts[1])
    return made
