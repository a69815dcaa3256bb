"""What the stages of a run share: checked configuration, data, task, device, folder, and who listens."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from dashfx.blackbox.base import Row
from dashfx.config.run import IMAGENET, NormaliseConfig, RunConfig, presets
from dashfx.data import Data, Normalisation, load_data
from dashfx.data.load import Wanted, augmented
from dashfx.data.reading import Reading
from dashfx.errors import ConfigError, TrainingError, did_you_mean
from dashfx.frontend.checkpoint import load_checkpoint
from dashfx.frontend.model import ModelSource, build, load_model
from dashfx.frontend.outputs import check_fit
from dashfx.genotype import Genotype
from dashfx.run.folder import RunFolder, check_folder, make_folder, missing_folders, other_packages, remove_folder
from dashfx.space import SearchSpace
from dashfx.task import LossOptions, Task, data_kind, load_task
from dashfx.train.fit import make_accelerator
from dashfx.train.processes import check_rows
from dashfx.train.progress import QUIET, Epoch, JsonlLog, Observer, Observers

if TYPE_CHECKING:
    from dashfx.tune.study import Tuned

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ModelLike = str | nn.Module | Callable[..., nn.Module]


class Run:
    """The state that stages hand on.

    Attributes:
        checkpoint: the weights that the model comes with, where it does.
        seconds: wall time of each stage so far.
        memory: peak bytes of each stage: of the GPU's memory, or of the process so far where there is no GPU.
        history: every epoch so far.
        evaluations: every genotype that a black-box search has evaluated.
        tuned: what tuning has found, where there was one.
        notes: what a user should know, in the order in which it came up.

    Args:
        began: by `time.perf_counter`, when its preparation began: what a budget counts from.
    """

    def __init__(
        self,
        source: ModelSource,
        data: Data,
        task: Task,
        config: RunConfig,
        observer: Observer,
        resume: bool,
        began: float,
    ) -> None:
        self.source, self.data, self.task, self.config, self.resume = source, data, task, config, resume
        self.checkpoint = config.checkpoint
        self._began = began
        self.folder: RunFolder | None = None
        self._begun: tuple[Path, ...] | None = None  # the folders that were made for a run which has only begun
        self.accelerator: Accelerator = make_accelerator(config.device, config.amp)
        self._log = JsonlLog()
        self.observer: Observer = Observers([observer, self._log]) if self.is_main else QUIET
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self.history: list[Epoch] = []
        self.evaluations: list[Row[Genotype]] = []
        self.tuned: Tuned | None = None
        self.notes: list[str] = []

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.accelerator.is_main_process

    @property
    def example(self) -> Tensor:
        """Two rows of the training data: batch norm in train mode needs more than one."""
        x, _ = self.data.train.__getitems__([0, min(1, len(self.data.train) - 1)])
        return x

    @property
    def checkpoints(self) -> Path | None:
        return self.folder.checkpoints if self.folder else None

    @property
    def elapsed(self) -> float:
        """Seconds since its preparation began, in this process."""
        return time.perf_counter() - self._began

    @property
    def starts_fresh(self) -> bool:
        """Whether training starts from the model as its class builds it, rather than from the checkpoint."""
        return self.config.retrain.weights == "fresh" or not self.checkpoint

    def start_model(self) -> nn.Module:
        """The model that a training without a supernet starts from."""
        return self.fresh_model() if self.starts_fresh else self.given_model()

    def with_config(self, config: RunConfig) -> Run:
        """The same run, its log and clock shared, with other options; `augment` changes its data's training batches.

        Raises:
            DataError: an augmentation that is not there, or does not fit.
        """
        run = copy.copy(self)
        run.config = config
        if config.augment != self.config.augment:
            run.data = augmented(self.data, config.augment)
        return run

    def unheard(self) -> Run:
        """The same run without its listeners, for what is done over and over; its seconds count nowhere."""
        run = copy.copy(self)
        run.observer, run.seconds, run.memory = QUIET, {}, {}
        return run

    def for_retraining(self) -> Run:
        """The run as it trains what was chosen: with the model that `retrain.model_args` make, where there are any.

        Raises:
            ModelError: the model takes no such argument.
        """
        args = self.config.retrain.model_args
        if not args:
            return self
        run = copy.copy(self)
        run.source, run.checkpoint = self.source.with_arguments(args), None
        return run

    def fresh_model(self) -> nn.Module:
        """The model as its class builds it, the same weights at every call."""
        return build(self.source, self.config.seed)

    def given_model(self) -> nn.Module:
        """The user's model, with the checkpoint's weights where there is one."""
        model, config = self.fresh_model(), self.config
        if self.checkpoint:
            notes = load_checkpoint(model, self.checkpoint, key=config.checkpoint_key, new_head=config.new_head)
            for note in notes:
                if note not in self.notes:  # the checkpoint is loaded by every stage that starts from it
                    self.note(note)
        return model

    def use_folder(self, path: str | Path) -> None:
        """Make the run's folder, or take up an earlier one: by one process, before any other looks for it."""
        self.accelerator.wait_for_everyone()  # all have seen that the folder is free, or what it holds
        if self.is_main:
            self._begun = missing_folders(path)
        self.folder = make_folder(path, self.config) if self.is_main else RunFolder(Path(path))
        if self.is_main:
            self._log.write_to(self.folder.log)
        if self.resume and (changed := other_packages(self.folder)):
            self.note(f"resumed with other versions, so the result may differ in its digits: {'; '.join(changed)}")
        self.accelerator.wait_for_everyone()

    def leave_folder(self) -> None:
        """Undo `use_folder`, where it has begun a run: what is wrong with its input has shown only now."""
        if self.is_main and self.folder and self._begun is not None:
            remove_folder(self.folder, self._begun)
        self.accelerator.wait_for_everyone()  # a process that ends now would take the others along

    def agree(self, genotype: Genotype) -> Genotype:
        """The genotype, after all processes have been seen to hold the same one.

        Raises:
            TrainingError: they do not, so the architecture parameters have drifted apart.
        """
        found: list[str] = gather_object([genotype.to_json()])
        if len(set(found)) > 1:
            raise TrainingError(f"the {len(found)} processes chose {len(set(found))} different genotypes; report this")
        return genotype

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.observer.note(text)

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        self.observer.stage(name, detail)
        on_gpu = self.accelerator.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.accelerator.device)
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        peak = torch.cuda.max_memory_allocated(self.accelerator.device) if on_gpu else _resident_peak()
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds  # some are gone through twice
        self.memory[name] = max(self.memory.get(name, 0), peak)
        self.observer.stage_done(name, seconds)


def _resident_peak() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not say (Windows)."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def prepare(
    model: ModelLike,
    data: Any,
    *,
    task: str | Task | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
) -> Run:
    """A run whose input has been checked as far as that can be done before tracing; `out` is checked, but not made.

    Raises:
        DashfxError: bad input.
    """
    began = time.perf_counter()
    checked = configured(config, model, data, task)
    if resume and out is None:
        raise ConfigError("resume needs --out: the folder of the run to continue")
    if out is not None:
        check_folder(out, checked, resume=resume)
    source = load_model(model, checked.model_args)
    spec = task or checked.task
    loaded = load_run_data(checked, data, spec)
    note = check_preset(checked, loaded)
    judged = load_task(spec, loaded, LossOptions(**checked.loss.model_dump()))
    run = Run(source, loaded, judged, checked, observer, resume, began)
    check_processes(run)
    check_model(run)
    if note:
        run.note(note)
    for note in loaded.notes:
        run.note(f"data: {note}")
    return run


def note_idle_globs(run: Run, convs: Sequence[str]) -> None:
    """A note for each glob of the space that fits no conv, once."""
    for option in ("include", "exclude", "overrides"):
        for glob in getattr(run.config.space, option):
            note = f"space.{option}: no conv is named {glob!r}{did_you_mean(glob, convs)}"
            if not any(fnmatchcase(conv, glob) for conv in convs) and note not in run.notes:
                run.note(note)


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


def check_processes(run: Run) -> None:
    """Each process gets a full batch of the train part at every step.

    Raises:
        ConfigError: too few rows for so many processes.
    """
    config, rows, processes = run.config, len(run.data.train), run.accelerator.num_processes
    run.accelerator.wait_for_everyone()  # one that left now would break the connection that others are waiting for
    if config.trains_supernet:
        held_out = config.search.held_out if config.search.alpha_on == "held-out" else 0.0
        share = config.search.recovery if config.search.discretise == "one-by-one" else 1.0
        searched = round(config.search.fraction * share * (1 - held_out) * rows)
        check_rows("search", config.search.batch_size, searched, processes)
    check_rows("retrain", config.retrain.batch_size, round(config.retrain.fraction * rows), processes)


def check_model(run: Run) -> None:
    """The user's model takes the data and gives what the task needs.

    Raises:
        ModelError: its forward fails on two rows of the data, gives other than one tensor, or cannot be trained.
        TaskError: its output does not fit the targets.
        CheckpointError: the checkpoint does not fit.
    """
    for warning in check_fit(run.given_model(), run.example, run.data, run.task):
        run.note(warning)


def configured(
    config: RunConfig | Mapping[str, Any] | None,
    model: ModelLike,
    data: Any,
    task: str | Task | None = None,
    space: SearchSpace | None = None,
    strategy: str | None = None,
) -> RunConfig:
    """The configuration with what came beside it written in, so that `config.yaml` tells the whole run."""
    if not isinstance(config, RunConfig):
        # A preset suggests what is not given, and a Python object is given without a name.
        named = {"model": model, "data": data}
        given = {key: value if isinstance(value, str) else None for key, value in named.items()}
        config = RunConfig.parse({**given, **(config or {})})
    checked = config
    options = checked.model_dump()
    options.update({"model": model} if isinstance(model, str) else {})
    options.update({"data": str(data)} if isinstance(data, str | Path) else {})
    options.update({"task": task} if isinstance(task, str) else {})
    options.update({"space": checked.space.holding(space).model_dump()} if space else {})
    options["search"].update({"strategy": strategy} if strategy else {})
    return RunConfig.parse(options)
