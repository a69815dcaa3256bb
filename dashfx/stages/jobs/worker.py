"""Life of a job at a worker: inputs are prepared as the run prepared its own, and checked to be the same."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_model
from torch import nn

from dashfx.config.run import RunConfig
from dashfx.errors import DashfxError, DataError, RunFolderError, TrainingError, first_line
from dashfx.genotype import Genotype
from dashfx.run.files.portable import localised
from dashfx.run.folder import RunFolder
from dashfx.run.ledger import Ledger
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.jobs.claim import claimed
from dashfx.stages.jobs.code import forget_changed, remember
from dashfx.stages.jobs.job import PARTS, Answer, Job, versions
from dashfx.train.processes import digest
from dashfx.train.progress import JsonlLog, Observers

log = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.Lock()  # a worker of several threads has one generator of random numbers


@dataclass(frozen=True)
class Task:
    """A job as its worker has taken it up.

    Attributes:
        run: with the job's recipe; it writes its checkpoints where the run does, and goes on with those it finds.
        convs: those that the Fourier path computes.
    """

    job: Job
    run: Run
    convs: dict[str, str]

    def model(self, run: Run) -> nn.Module:
        """The model that `run` trains, with the weights that the job starts from."""
        inputs, choices = run.inputs, self.job.genotype
        model = inputs.start_model() if choices is None else specialised_by(inputs, Genotype.from_json(choices), "job")
        load_model(model, self.job.start)
        return model


def done(job: Job, train: Callable[[Task], Answer]) -> Answer:
    """The answer to a job; of an error that a user should see, its class and its line."""
    with _ONE_AT_A_TIME:
        torch.set_num_threads(job.threads)
        try:
            check_place(job)
            began = time.perf_counter()
            with claimed(Path(job.scratch)) as claim:
                task = _taken_up(job)
                writer = JsonlLog()
                writer.write_to(job.log)
                session = task.run.session.lent(RunFolder(Path(job.folder)), Observers([claim, writer]))
                answer = train(replace(task, run=replace(task.run, session=session)))
            return replace(answer, seconds=time.perf_counter() - began)
        except DashfxError as error:
            return Answer(error=(type(error).__name__, str(error)))
        except Exception as error:  # the user's code, or a bug; not every exception comes back from a pickle
            log.exception("job %s failed", job.name)
            text = f"{job.name}, at a worker on {socket.gethostname()}: {type(error).__name__}: {first_line(error)}"
            return Answer(error=(TrainingError.__name__, f"{text}; --workers 1 shows where"))


def check_place(job: Job) -> None:
    """Whether this worker sees the run's folder, and computes with the same packages.

    Raises:
        RunFolderError, TrainingError: it does not.
    """
    here = socket.gethostname()
    if not job.start.is_file():
        raise RunFolderError(
            f"the worker on {here} does not see {job.start}: the run's folder and its data have to lie on a file "
            "system that all workers share"
        )
    apart = [
        f"{n} {v} there, {own} here" for (n, v), (_, own) in zip(job.versions, versions(), strict=True) if v != own
    ]
    if apart:
        raise TrainingError(
            f"the worker on {here} has other versions than the run ({', '.join(apart)}): install the same"
        )


def _taken_up(job: Job) -> Task:
    if forget_changed():
        _prepared.cache_clear()
    run, found = _prepared(job.options, job.folder, job.directory)
    if found != job.data:  # this worker may have read the files of an earlier run
        _prepared.cache_clear()
        run, found = _prepared(job.options, job.folder, job.directory)
    apart = [part for part, own, other in zip(PARTS, found, job.data, strict=True) if own != other]
    if apart:
        raise DataError(
            f"the worker on {socket.gethostname()} has read other data than the run (part {', '.join(apart)}); give "
            "both the same files, and draw nothing without a seed"
        )
    recipe = _options(job.recipe, job.folder, job.directory)
    return Task(job, replace(run.with_config(recipe), ledger=Ledger()), dict(job.convs))


@lru_cache(maxsize=1)
def _prepared(options: str, folder: str, directory: str) -> tuple[Run, tuple[str, ...]]:
    """The run that these options make, and the digests of its data; the jobs of one run share them."""
    config = _options(options, folder, directory)
    assert config.model is not None  # the run was asked before
    run = prepare(config.model, config.data, config=config)
    remember(run.inputs)
    return run, tuple(digest(run.inputs.data.part(part)) for part in PARTS)


def _options(text: str, folder: str, directory: str) -> RunConfig:
    return localised(RunConfig.parse(json.loads(text)), Path(folder), Path(directory))
