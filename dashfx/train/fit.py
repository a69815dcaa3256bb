"""Fit loop, the only one: a learner's weights are trained on data, and the curve comes out."""

from __future__ import annotations

import math
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, convert_to_fp32
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dashfx.config.run import RetrainConfig
from dashfx.config.search import FitConfig
from dashfx.data import Data
from dashfx.errors import DivergedError
from dashfx.task import Task, evaluate
from dashfx.train.averaging import Average
from dashfx.train.checkpoints import Checkpoint, Fitted, cpu_copy, keep_or_go_back, resumed
from dashfx.train.length import Plan, length_of
from dashfx.train.pace import of_supernet
from dashfx.train.paths import DropPaths, residual_paths
from dashfx.train.processes import (
    DDP,
    check_agreement,
    check_device,
    check_rows,
    finite,
    launched,
    share_buffers,
    spread,
    stepping,
    unspread,
)
from dashfx.train.progress import QUIET, Epoch, Observer
from dashfx.train.recipe import make_optimiser, prepared
from dashfx.train.stopwatch import Stopwatch

Batch = tuple[Tensor, Tensor]


class Learner(ABC):
    """What the fit loop trains: a model with its optimisers and the rule of one step."""

    model: nn.Module
    task: Task
    config: FitConfig
    accelerator: Accelerator
    keeps_best: bool = True  # whether the fit loop keeps the weights of the best epoch
    ring: int = 0  # of how many epochs, the latest, the fit loop keeps the state, so that training can go back

    @property
    @abstractmethod
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Every optimiser by a stable name, for checkpoints."""

    @abstractmethod
    def step(self, batch: Batch) -> Tensor:
        """One training step; returns the loss, detached, without waiting for the device."""

    def begin_epoch(self, epoch: int, seed: int) -> None:
        """Set what depends on the epoch; `seed` is this epoch's own."""

    def begin_step(self, progress: float) -> None:
        """Set what depends on the step; `progress` is the share of all epochs that is done."""

    def release(self) -> None:
        """Take away what training has put on the model."""

    def train_mode(self) -> None:
        """Put the model into the mode that training steps want."""
        self.model.train()

    def training_data(self, data: Data) -> Data:
        """The data whose train part the loop draws batches from."""
        return data

    def judged(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that are validated and kept."""
        return nullcontext()

    def before_validation(self, data: Data) -> None:
        """Bring the model into the state that validation should see."""

    def mixtures(self) -> dict[str, tuple[float, str]]:
        """How each site's mixture stands; empty where nothing is mixed."""
        return {}

    def finished(self, epoch: int, history: Sequence[Epoch] = ()) -> str | None:
        """Why training can stop after this epoch, or None."""
        return None

    def goes_back(self) -> int | None:
        """The epoch whose end training goes back to, as `finished` has decided; -1 is the start, None goes on."""
        return None

    def go_back(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` said so."""
        self.load_state_dict(state)

    def stalled(self, epochs: int) -> str | None:
        """Why training can stop after so many epochs without a better metric, or None."""
        return None

    def decisions(self) -> Iterable[Tensor]:
        """What must be the same, bit for bit, in every process of a run."""
        return ()

    @property
    def plain(self) -> nn.Module:
        """The model without the wrapper that several processes need."""
        return unspread(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, as tensors and plain values."""
        return {"model": self.plain.state_dict(), **{n: o.state_dict() for n, o in self.optimisers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.plain.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name])

    def loss(self, batch: Batch) -> Tensor:
        x, y = batch
        with self.accelerator.autocast():
            return self.task.loss(self.call(x), y)

    def call(self, x: Tensor) -> Tensor:
        """The model's output as it computes it, in full precision."""
        output: Tensor = convert_to_fp32(self.model(x))
        return output

    def predict(self, x: Tensor) -> Tensor:
        with self.accelerator.autocast():
            output: Tensor = convert_to_fp32(self.plain(x))
        return output

    def descend(self, loss: Tensor | None, optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
        """Backward, where there is a loss, clip, step."""
        if loss is not None:
            self.accelerator.backward(loss)
        if self.config.clip:
            self.accelerator.clip_grad_norm_(parameters, self.config.clip)
        optimiser.step()


class Supervised(Learner):
    """Ordinary training of a plain model; with `retrain.ema`, a moving average of its weights is what is judged."""

    config: RetrainConfig

    def __init__(self, model: nn.Module, task: Task, config: RetrainConfig, accelerator: Accelerator) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self.model = spread(prepared(model, config), accelerator)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = stepping(make_optimiser(parameters, config), accelerator)
        self._average = Average(self.plain, config.ema) if config.ema else None
        self._paths: DropPaths | None = None  # which need a batch to be found
        self._progress = 0.0
        # The call and not the module: torch.compile(module) sets an attribute on the module itself.
        self._forward = torch.compile(self.model.__call__) if config.compile else self.model

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"weights": self._optimiser}

    def begin_step(self, progress: float) -> None:
        self._progress = progress

    def release(self) -> None:
        if self._paths is not None:
            self._paths.remove()

    def step(self, batch: Batch) -> Tensor:
        if self._paths is None and self.config.drop_path:
            self._paths = DropPaths(self.plain, self.config.drop_path, residual_paths(self.plain, [batch[0][:2]])[0])
        if self._paths is not None:
            self._paths.begin_step(self._progress)
        self._optimiser.zero_grad()
        loss = self.loss(batch)
        self.descend(loss, self._optimiser, self.model.parameters())
        if self._average:
            self._average.update(self.plain)
        return loss.detach()

    def call(self, x: Tensor) -> Tensor:
        output: Tensor = convert_to_fp32(self._forward(x))
        return output

    def judged(self) -> AbstractContextManager[None]:
        if self._average is None:
            return nullcontext()
        return self._average.in_place_of(self.plain)

    def stalled(self, epochs: int) -> str | None:
        patience = self.config.patience
        return f"no better {self.task.metric_name} for {epochs} epochs" if 0 < patience <= epochs else None

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({"average": self._average.state_dict()} if self._average else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if self._average:
            self._average.load_state_dict(state["average"])


def fit(
    learner: Learner,
    data: Data,
    *,
    stage: str,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    observer: Observer = QUIET,
    from_start: bool = False,
) -> Fitted:
    """Train for `learner.config.epochs` epochs, or until validation tells that it is enough, validating after each.

    Data order, subset, dropout and noise of an epoch depend on (seed, stage, epoch) alone, so a resumed run continues
    as if it had not been interrupted. What an interrupted epoch has done is dropped, and the epoch runs again.

    Under several processes each takes `batch_size` rows a step, and all of them see the same curve.

    Args:
        folder: where `<stage>-last.pt` is written as epochs end, atomically, see `Checkpoint`; None keeps nothing on
            disk.
        resume: continue from that file where it exists.
        from_start: the weights that the learner comes with count too, and are kept where every epoch is worse.

    Raises:
        DivergedError: the loss or a weight is no longer finite.
        TrainingError: the processes of the run have drifted apart.
        ConfigError: too few rows for so many processes.
        RunFolderError: a checkpoint that does not fit, or cannot be written.
    """
    fitted, path = Fitted(), folder / f"{stage}-last.pt" if folder else None
    if resume and path is not None and path.exists():
        fitted = resumed(learner, path)
    elif from_start:
        _judge(learner, data, fitted, -1)
    if learner.ring and not fitted.ring and not fitted.history:
        fitted.ring[-1] = cpu_copy(learner.state_dict())
    with Checkpoint(path if learner.accelerator.is_main_process else None) as checkpoint:
        while not fitted.stopped and len(fitted.history) < (plan := _plan(learner, data, fitted.history)).epochs:
            epoch = _epoch(learner, data, stage, seed, fitted, observer, plan)
            keep_or_go_back(learner, fitted, stage, observer)
            checkpoint.keep(learner, fitted)
            observer.epoch(epoch)
    fitted.saving = checkpoint.seconds
    return fitted


def _plan(learner: Learner, data: Data, history: Sequence[Epoch]) -> Plan:
    """By the options as they are now: what watches a search may have changed them."""
    processes = learner.accelerator.num_processes
    return length_of(learner.config, len(data.train), processes, learner.task.maximise).plan(history)


def _epoch(
    learner: Learner, data: Data, stage: str, seed: int, fitted: Fitted, observer: Observer, plan: Plan
) -> Epoch:
    """Train and validate once more; `fitted` learns how it went."""
    config, accelerator, watch = learner.config, learner.accelerator, Stopwatch()
    epoch, started = len(fitted.history), time.perf_counter()
    epoch_seed = derive_seed(seed, stage, epoch)
    torch.manual_seed(epoch_seed + accelerator.process_index)  # every process drops out other units
    learner.begin_epoch(epoch, epoch_seed)
    loss, steps, rate = _train_epoch(learner, data, stage, epoch, epoch_seed, observer, plan, watch)
    with watch.during("calibration"):
        learner.before_validation(data)
    share_buffers(learner.plain, accelerator)
    with watch.during("validation"):
        metric, valid_loss = _judge(learner, data, fitted, epoch)
    lr, seconds = config.lr * plan.rate(epoch + 0.5), time.perf_counter() - started
    (lost, spent), fitted.lost, best = fitted.lost, (0, 0.0), fitted.best
    mixtures = learner.mixtures()
    seconds, steps = seconds + spent, steps + lost
    figures = (loss, metric, best, lr, seconds, rate, mixtures, steps, valid_loss)
    facts = Epoch(stage, epoch, plan.epochs, *figures, open=plan.open, spent=watch.seconds)
    fitted.history.append(facts)
    best_for = sum(not learner.task.better(fitted.best, earlier.best) for earlier in fitted.history) - 1
    fitted.stopped = learner.finished(epoch, fitted.history) or learner.stalled(best_for) or ""
    check_agreement(accelerator, stage, epoch, metric, learner.decisions())
    return facts


def _judge(learner: Learner, data: Data, fitted: Fitted, epoch: int) -> tuple[float, float]:
    """Metric and loss on the validation part, the loss as the first process has it.

    `fitted` takes the metric, and the weights, where it is the best yet.
    """
    with learner.judged():
        metric, loss = validate_with_loss(learner, data)
        (loss,) = broadcast_object_list([loss])  # it decides on a training's length, and may differ by rounding
        # Of equals the latest: on few rows many epochs tie, and the rate had come down furthest by then.
        if not learner.task.better(fitted.best, metric):
            fitted.best, fitted.best_epoch = metric, epoch
            if learner.keeps_best:
                fitted.best_weights = cpu_copy(learner.plain.state_dict())
    return metric, loss


def _train_epoch(
    learner: Learner,
    data: Data,
    stage: str,
    epoch: int,
    seed: int,
    observer: Observer,
    plan: Plan,
    watch: Stopwatch,
) -> tuple[float, int, float]:
    """Mean loss over the epoch, its steps, and steps per second; `watch` learns how long data took."""
    config, accelerator = learner.config, learner.accelerator
    loader = _train_loader(learner, data, stage, seed)
    learner.train_mode()
    total, steps, started = torch.zeros((), device=accelerator.device), len(loader), time.perf_counter()
    for step, batch in enumerate(watch.waiting("data", loader)):
        rate = config.lr * plan.rate(epoch + step / steps)
        for group in learner.optimisers["weights"].param_groups:
            group["lr"] = rate * group["share"]
        learner.begin_step((epoch + step / steps) / plan.epochs)
        total += learner.step(batch)
        observer.step(stage, epoch, step + 1, steps)
    rate = steps / (time.perf_counter() - started)
    loss = float(accelerator.reduce(total, "mean")) / steps
    if not math.isfinite(loss) or not finite(p for p in learner.plain.parameters() if p.requires_grad):
        wrong = "weights are no longer finite" if math.isfinite(loss) else f"the loss is {loss}"
        raise DivergedError(
            f"stage {stage}: {wrong} in epoch {epoch + 1}, the checkpoint before it is kept; begin another run with a "
            f"lower learning rate (--set {_block(stage)}.lr={config.lr / 10:g}), or look for extreme values in the data"
        )
    return loss, steps, rate


def _train_loader(learner: Learner, data: Data, stage: str, seed: int) -> DataLoader[Batch]:
    """This process's batches of an epoch; those left over when each process has had as many are not used."""
    config, accelerator, data = learner.config, learner.accelerator, learner.training_data(data)
    rows = round(config.fraction * len(data.train))
    check_rows(_block(stage), config.batch_size, rows, accelerator.num_processes)
    loader = data.loader("train", config.batch_size, seed=seed, fraction=config.fraction, drop_last=True)
    return accelerator.prepare_data_loader(loader)


def _block(stage: str) -> str:
    """The block of options that a stage is set by."""
    return "search" if of_supernet(stage) else "retrain"


def validate(learner: Learner, data: Data, part: str = "valid") -> float:
    """The task's metric over a whole part, in eval mode."""
    learner.model.eval()
    loader = data.loader(part, 4 * learner.config.batch_size)
    return metric_over(learner.predict, loader, learner.task, learner.accelerator)


def validate_with_loss(learner: Learner, data: Data) -> tuple[float, float]:
    """The task's metric over the validation part, in eval mode, and the mean loss of its rows."""
    learner.model.eval()
    batches = list[tuple[int, Tensor]]()  # rows and loss of each, read at the end: the device is not waited for

    def tallied(pair: Batch) -> Batch:
        output, y = learner.accelerator.gather_for_metrics(pair)
        batches.append((len(y), learner.task.loss(output, y)))
        return output, y

    loader = learner.accelerator.prepare_data_loader(data.loader("valid", 4 * learner.config.batch_size))
    metric = evaluate(learner.predict, loader, learner.task, tallied)
    return metric, sum(rows * float(loss) for rows, loss in batches) / sum(rows for rows, _ in batches)


def metric_over(
    predict: Callable[[Tensor], Tensor], loader: DataLoader[Batch], task: Task, accelerator: Accelerator
) -> float:
    """The task's metric over everything that `loader` gives: the processes share the work, and each row counts once."""
    loader = accelerator.prepare_data_loader(loader)
    return evaluate(predict, loader, task, accelerator.gather_for_metrics)


def derive_seed(*parts: object) -> int:
    """A seed of its own for every stage, epoch and use."""
    return zlib.crc32("/".join(map(str, parts)).encode())


def make_accelerator(device: str = "auto", amp: str = "no") -> Accelerator:
    """The accelerator for "auto" (a GPU when there is one), "cpu" or "cuda".

    Raises:
        ConfigError: a device that is not here, or unknown, or fewer GPUs than processes.
    """
    check_device(device, amp)
    cpu = device == "cpu" or not torch.cuda.is_available()
    AcceleratorState._reset_state(reset_partial_state=True)  # a second run in one process may choose otherwise
    # Without a word about the CPU, accelerate lets processes without a GPU run each by itself.
    return Accelerator(mixed_precision=amp, cpu=cpu if launched() > 1 else device == "cpu", kwargs_handlers=[DDP])
