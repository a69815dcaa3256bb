"""Facts of a training that is done elsewhere, and of what came of it: plain values, so that a pickle holds no code."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import nn

from dashfx.config.run import RunConfig
from dashfx.config.search import BlackBoxConfig, SearchConfig
from dashfx.config.tuning import TuneConfig
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.run.run import Run
from dashfx.train.processes import digest

PARTS = ("train", "valid")  # of the data, which a worker has to have read alike


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        name: in the log and in errors; `scratch` is the job's own folder, where the weights that it starts from are.
        folder: the run's.
        directory: where relative paths of the options are meant from.
        options: of the run, as JSON; `recipe` those that the model is trained with.
        genotype: as JSON; None for the model as it is.
        convs: those that the Fourier path computes, each with its algorithm.
        threads: of torch; other numbers add in another order.
        data: a digest of each part.
        versions: of packages that have to be the same.
        more: what else a kind of training needs, as JSON.
    """

    name: str
    folder: str
    scratch: str
    directory: str
    options: str
    recipe: str
    genotype: str | None
    convs: tuple[tuple[str, str], ...]
    threads: int
    data: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    more: str = ""

    @property
    def start(self) -> Path:
        return Path(self.scratch) / "start.safetensors"

    @property
    def log(self) -> Path:
        """The job's epochs, an object a line, as they end."""
        return Path(self.scratch) / "log.jsonl"


@dataclass(frozen=True)
class Answer:
    """What a training has come to.

    Attributes:
        value: its best metric on the validation part; None where it was given up.
        seconds: of this worker's part of it.
        reports: epoch -> the best value by then, for trials; `rungs` what is remembered of each rung.
        error: the class and the text of what a user should know instead.
    """

    value: float | None = None
    seconds: float = 0.0
    reports: tuple[tuple[int, float], ...] = ()
    rungs: Mapping[str, float] = field(default_factory=dict)
    error: tuple[str, str] | None = None


def job_of(
    run: Run,
    name: str,
    recipe: RunConfig,
    genotype: Genotype | None,
    model: nn.Module,
    convs: Mapping[str, str] | None = None,
    more: str = "",
) -> Job:
    """The job of training `model` by `recipe`; what it starts from stands in its scratch folder from here on.

    The folder's name tells jobs of one name apart, so that none goes on with what another one had begun.

    Args:
        genotype: the model's; None for the user's model as it is.

    Raises:
        ConfigError: a run without a folder.
    """
    folder = run.session.folder
    if folder is None:
        raise ConfigError("workers leave their checkpoints in the run's folder: give --out (from Python: out=)")
    choices = None if genotype is None else genotype.to_json()
    options, trained_with = _shared(run).model_dump_json(), recipe.model_dump_json()
    mark = zlib.crc32("\n".join([options, trained_with, choices or "", more]).encode())
    scratch = folder.checkpoints.resolve() / f"{name}-{mark:08x}"
    scratch.mkdir(exist_ok=True)
    job = Job(
        name,
        str(folder.root.resolve()),
        str(scratch),
        str(Path.cwd()),
        options,
        trained_with,
        choices,
        tuple((convs or {}).items()),
        torch.get_num_threads(),
        tuple(digest(run.inputs.data.part(part)) for part in PARTS),
        versions(),
        more,
    )
    part = job.start.with_suffix(".part")
    save_model(model, str(part))
    part.replace(job.start)
    return job


def _shared(run: Run) -> RunConfig:
    """The options that data, task and model depend on, with the device that this process computes on."""
    rest = {"search": SearchConfig(), "blackbox": BlackBoxConfig(), "tune": TuneConfig(), "budget": None}
    return run.config.model_copy(update={**rest, "device": run.session.accelerator.device.type})


def versions() -> tuple[tuple[str, str], ...]:
    """Of the packages that say how a training computes."""
    return tuple((name, _version(name)) for name in ("dashfx", "torch"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"
