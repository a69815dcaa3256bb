"""Preparation of a run: configuration, model, data and task are resolved and checked before anything is traced."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dashfx.config import presets
from dashfx.config.data import IMAGENET, NormaliseConfig
from dashfx.config.run import RunConfig
from dashfx.data import Data, Normalisation, load_data
from dashfx.data.load import Wanted
from dashfx.data.reading import Reading
from dashfx.errors import ConfigError, did_you_mean
from dashfx.frontend.model import load_model
from dashfx.run.folder import check_folder
from dashfx.run.inputs import Inputs, ModelLike, check_model
from dashfx.run.ledger import Ledger, peak_memory
from dashfx.run.outcome.account import IMPORT, LOAD
from dashfx.run.run import Run
from dashfx.run.session import Session
from dashfx.space import SearchSpace
from dashfx.strategies.base import Strategy
from dashfx.strategies.named import text_of
from dashfx.task import LossOptions, Task, data_kind, load_task
from dashfx.train.processes import all_do, check_rows, check_same_data, launched
from dashfx.train.progress import QUIET, Observer
from dashfx.workers import Workers


def configured(
    config: RunConfig | Mapping[str, Any] | None,
    model: ModelLike,
    data: Any,
    task: str | Task | None = None,
    space: SearchSpace | None = None,
    strategy: str | Strategy | None = None,
) -> RunConfig:
    """The configuration with what came beside it written in, so that `config.yaml` tells the whole run."""
    if not isinstance(config, RunConfig):
        # A preset suggests what is not given, and a Python object is given without a name.
        named = {"model": model, "data": data}
        given = {key: value if isinstance(value, str) else None for key, value in named.items()}
        config = RunConfig.parse({**given, **(config or {})})
    options = config.model_dump()
    options.update({"model": model} if isinstance(model, str) else {})
    options.update({"data": str(data)} if isinstance(data, str | Path) else {})
    options.update({"task": task} if isinstance(task, str) else {})
    options.update({"space": config.space.holding(space).model_dump()} if space else {})
    called = text_of(strategy) if isinstance(strategy, Strategy) else strategy
    options["search"].update({"strategy": called} if called else {})
    return RunConfig.parse(options)


def prepare(
    model: ModelLike,
    data: Any,
    *,
    task: str | Task | None = None,
    space: SearchSpace | None = None,
    strategy: str | Strategy | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
    check: Callable[[RunConfig, Strategy | None], None] | None = None,
    workers: Workers | None = None,
) -> Run:
    """A run whose input has been checked as far as that can be done before tracing; `out` is checked, but not made.

    Args:
        check: what the configuration alone can get wrong, asked before data are read.
        workers: who does independent trainings; the model, data and task are then named, not given as objects.

    Raises:
        DashfxError: bad input.
    """
    began = time.perf_counter()
    given = strategy if isinstance(strategy, Strategy) else None
    checked = configured(config, model, data, task, space, strategy)
    if check is not None:
        check(checked, given)
    if resume and out is None:
        raise ConfigError("resume needs --out: the folder of the run to continue")
    if workers is not None:
        check_named(model, data, task or checked.task, out)
    if out is not None:
        check_folder(out, checked, resume=resume)
    session = Session(checked, observer, resume, began, workers)
    inputs, other_size = all_do(session.accelerator, lambda: _inputs(checked, model, data, task, given))
    run = Run(inputs, session, Ledger())
    check_same_data(session.accelerator, inputs.data)
    check_processes(inputs, session)
    notes = check_model(inputs)
    for note in (*notes, *([other_size] if other_size else []), *(f"data: {each}" for each in inputs.data.notes)):
        run.note(note)
    if observer.began is not None:
        run.ledger.seconds[IMPORT] = began - observer.began
    run.ledger.took(LOAD, session.elapsed, peak_memory(session.accelerator.device))
    return run


def check_named(model: ModelLike, data: Any, task: str | Task | None, out: str | Path | None) -> None:
    """Whether workers can make a run's inputs again, and leave what they find: by names, in a folder.

    Raises:
        ConfigError: they cannot.
    """
    objects = [
        name
        for name, given, kinds in (("model", model, str), ("data", data, str | Path), ("task", task, str | None))
        if not isinstance(given, kinds)
    ]
    if objects:
        raise ConfigError(
            f"workers make a run's inputs from names, and {' and '.join(objects)} came as Python objects: give "
            "file.py:NAME, or no workers"
        )
    if out is None:
        raise ConfigError("workers leave their checkpoints in the run's folder: give --out (from Python: out=)")
    check_alone()


def check_alone() -> None:
    """Whether no other process has been launched beside this one, which would train each model with it.

    Raises:
        ConfigError: some have.
    """
    if launched() > 1:
        raise ConfigError(
            f"{launched()} processes train each model together (torchrun), so there is nothing for --workers to do; "
            "leave one of the two out"
        )


def _inputs(
    config: RunConfig, model: ModelLike, data: Any, task: str | Task | None, given: Strategy | None
) -> tuple[Inputs, str | None]:
    """Model, data and task, and the note of `check_preset`."""
    source = load_model(model, config.model_args)
    spec = task or config.task
    loaded = load_run_data(config, data, spec)
    other_size = check_preset(config, loaded)
    judged = load_task(spec, loaded, LossOptions(**config.loss.model_dump()))
    return Inputs(source, loaded, judged, config, config.checkpoint, given), other_size


def note_idle_globs(run: Run, convs: Sequence[str]) -> None:
    """A note for each glob of the space that fits no conv."""
    for option in ("include", "exclude", "overrides"):
        for glob in getattr(run.config.space, option):
            if not any(fnmatchcase(conv, glob) for conv in convs):
                run.note(f"space.{option}: no conv is named {glob!r}{did_you_mean(glob, convs)}")


def load_run_data(config: RunConfig, data: Any, task: str | Task | None = None) -> Data:
    """The data as `config` says that they are read, for `task` or the configuration's.

    Raises:
        DataError, TaskError: bad data, or a task that is not known.
    """
    return load_data(
        data,
        seed=config.seed,
        valid_fraction=config.valid_fraction,
        kind=data_kind(task or config.task),
        normalise=_normalisation(config),
        limit=config.limit,
        reading=Reading(**config.reading.model_dump()),
        augment=config.augment,
    )


def _normalisation(config: RunConfig) -> Wanted:
    wanted = IMAGENET if config.normalise == "imagenet" else config.normalise
    return Normalisation(wanted.mean, wanted.std) if isinstance(wanted, NormaliseConfig) else wanted


def check_preset(config: RunConfig, data: Data) -> str | None:
    """A note where the data have another size than those of the preset; None without either.

    Raises:
        ConfigError: they are of another kind.
    """
    if config.preset is None:
        return None
    return presets.find(config.preset).check(data.name, data.input_shape, data.kind, data.n_outputs)


def check_processes(inputs: Inputs, session: Session) -> None:
    """Each process gets a full batch of the train part at every step.

    Raises:
        ConfigError: too few rows for so many processes.
    """
    config, rows, processes = inputs.config, len(inputs.data.train), session.accelerator.num_processes
    session.wait()  # one that left now would break the connection that others are waiting for
    if (training := inputs.strategy.training) is not None:
        held_out = config.search.held_out if training.holds_out else 0.0
        share = config.search.recovery if config.search.discretise == "one-by-one" else 1.0
        searched = round(config.search.fraction * share * (1 - held_out) * rows)
        check_rows("search", config.search.batch_size, searched, processes)
    check_rows("retrain", config.retrain.batch_size, round(config.retrain.fraction * rows), processes)
