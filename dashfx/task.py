"""A task's name and the data go in; its loss, its metric over a whole set and its check of outputs come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanSquaredError, Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MultilabelAUROC,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)

from dashfx.data.base import Data, Kind
from dashfx.data.code import is_code, load_object
from dashfx.errors import TaskError, did_you_mean

Loss = Callable[[Tensor, Tensor], Tensor]
Prepare = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _as_it_is(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return output, target


@dataclass(frozen=True)
class Task:
    """What training lowers and what a model is judged by.

    Attributes:
        loss: (output, target) -> scalar.
        new_metric: makes a fresh torchmetrics metric, which is then fed the whole set.
        maximise: whether a larger metric is better.
        kind: the kind of data the task is for; None leaves model and data unchecked.
        prepare: (output, target) of a batch -> what the metric takes.
    """

    name: str
    loss: Loss
    new_metric: Callable[[], Metric]
    metric_name: str
    maximise: bool
    kind: Kind | None = None
    prepare: Prepare = _as_it_is

    def better(self, a: float, b: float) -> bool:
        """Whether metric `a` beats `b`; NaN beats nothing and loses to every number."""
        if math.isnan(a) or math.isnan(b):
            return not math.isnan(a) and math.isnan(b)
        return a > b if self.maximise else a < b

    def check(self, output: Tensor, data: Data) -> None:
        """Holds a model's output for a batch of `data` to the shape of its targets.

        Raises:
            TaskError: the output is no tensor, or does not fit.
        """
        if not isinstance(output, Tensor):
            raise TaskError(f"the model gives a {type(output).__name__}; task {self.name} needs one tensor")
        if self.kind is None:
            return
        expected = (data.n_outputs,) if self.kind == "classes" else data.target_shape
        found = tuple(output.shape[1:])
        if found == expected:
            return
        if self.kind != "dense" and len(found) == 1:
            what = "classes" if self.kind == "classes" else "labels"
            raise TaskError(
                f"the model gives {found[0]} outputs, the data has {expected[0]} {what}: "
                f"change the model's last layer (for example --model-args num_classes={expected[0]})"
            )
        raise TaskError(
            f"the model's output is {_shape(found)}, task {self.name} on {data.name} needs {_shape(expected)}; "
            "change the model's head, or choose another --task"
        )


class RelativeL2(Metric):
    """The mean over rows of ||output - target|| / ||target||, as in the Fourier Neural Operator's Darcy figures.

    torchmetrics' own NormalizedRootMeanSquaredError takes one norm over the whole set instead.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        self.total += _relative_l2_rows(output, target).sum()
        self.count += len(output)

    def compute(self) -> Tensor:
        return self.total / self.count


def relative_l2(output: Tensor, target: Tensor) -> Tensor:
    """The mean over rows of ||output - target||_2 / ||target||_2; a row of zeros is divided by 1e-8."""
    return _relative_l2_rows(output, target).mean()


def classify(data: Data, metric: str = "accuracy") -> Task:
    """Cross-entropy; accuracy, macro F1 or macro AUROC (one against the rest)."""
    n = data.n_outputs
    metrics: dict[str, Callable[[], Metric]] = {
        "accuracy": lambda: MulticlassAccuracy(n, average="micro"),
        "f1": lambda: MulticlassF1Score(n, average="macro"),
        "auroc": lambda: MulticlassAUROC(n, average="macro"),
    }
    return Task(
        "classify", F.cross_entropy, _pick(metrics, metric, "classify"), metric, True, "classes", _probabilities
    )


def multilabel(data: Data, metric: str = "map", *, pos_weight: float | None = None) -> Task:
    """Binary cross-entropy a label, positives weighted by `pos_weight`; macro mAP, AUROC or F1."""
    n = data.n_outputs
    metrics: dict[str, Callable[[], Metric]] = {
        "map": lambda: MultilabelAveragePrecision(n, average="macro"),
        "auroc": lambda: MultilabelAUROC(n, average="macro"),
        "f1": lambda: MultilabelF1Score(n, average="macro"),
    }

    def loss(output: Tensor, target: Tensor) -> Tensor:
        weight = None if pos_weight is None else output.new_tensor(pos_weight)
        return F.binary_cross_entropy_with_logits(output, target, pos_weight=weight)

    return Task(
        "multilabel", loss, _pick(metrics, metric, "multilabel"), metric, True, "multilabel", _label_probabilities
    )


def regress(data: Data, metric: str = "relative_l2") -> Task:
    """Relative L2 as loss and metric, or the mean squared error as both (where targets may be near zero)."""
    metrics: dict[str, Callable[[], Metric]] = {"relative_l2": RelativeL2, "mse": MeanSquaredError}
    losses: dict[str, Loss] = {"relative_l2": relative_l2, "mse": F.mse_loss}
    return Task(
        "regress", losses.get(metric, relative_l2), _pick(metrics, metric, "regress"), metric, False, "dense", _flat
    )


TASKS: dict[str, Callable[..., Task]] = {"classify": classify, "multilabel": multilabel, "regress": regress}
KIND_OF: dict[str, Kind] = {"classify": "classes", "multilabel": "multilabel", "regress": "dense"}


def data_kind(spec: str | Task | None) -> Kind | None:
    """The kind of data that `spec` asks `load_data` for; None where it leaves that to the data.

    Raises:
        TaskError: no such task.
    """
    if spec is None:
        return None
    if isinstance(spec, Task):
        return spec.kind
    name = spec.partition(":")[0]
    if name not in KIND_OF and not is_code(spec):
        raise TaskError(_unknown(spec))
    return KIND_OF.get(name)


def load_task(spec: str | Task | None, data: Data) -> Task:
    """`classify`, `classify:f1`, a Task, the user's `file.py:function`, or None for what the data suggests.

    The user's function is called with the data and returns a Task; a Task that stands in the file will do as well.

    Raises:
        TaskError: no such task, metric or function, one for another kind of data, or a function that returns no Task.
    """
    if spec is None:
        spec = next(name for name, kind in KIND_OF.items() if kind == data.kind)
    task = spec if isinstance(spec, Task) else _named_task(spec, data)
    if task.kind not in (None, data.kind):
        suits = next(name for name, kind in KIND_OF.items() if kind == data.kind)
        raise TaskError(f"task {task.name} needs {task.kind} data, {data.name} is {data.kind}; try --task {suits}")
    return task


def evaluate(predict: Callable[[Tensor], Tensor], loader: Iterable[tuple[Tensor, Tensor]], task: Task) -> float:
    """The task's metric over everything that `loader` gives, for a PyTorch or an ONNX model alike.

    `predict` maps x to the model's output; a PyTorch model must already be in eval mode.

    Raises:
        ValueError: the loader gives nothing.
    """
    metric: Metric | None = None
    with torch.no_grad():
        for x, y in loader:
            output = predict(x)
            if metric is None:
                metric = task.new_metric().to(output.device)
                metric.distributed_available_fn = _never  # each process of a distributed run sees the whole set
            metric.update(*task.prepare(output, y.to(output.device)))
    if metric is None:
        raise ValueError("evaluate: the loader gives no batches")
    return float(metric.compute())


def _never() -> bool:
    return False


def _named_task(spec: str, data: Data) -> Task:
    name, _, metric = spec.partition(":")
    if name in TASKS:
        return TASKS[name](data, metric) if metric else TASKS[name](data)
    if not is_code(spec):
        raise TaskError(_unknown(spec))
    made = load_object(spec, TaskError)
    if not isinstance(made, Task) and callable(made):
        made = made(data)
    if not isinstance(made, Task):
        raise TaskError(
            f"{spec} gives a {type(made).__name__}; it must be a Task, or a function of the data that returns one"
        )
    return made


def _pick(metrics: dict[str, Callable[[], Metric]], name: str, task: str) -> Callable[[], Metric]:
    if name not in metrics:
        near = did_you_mean(name, metrics)
        raise TaskError(f"task {task} has no metric {name!r}{near}; there are {', '.join(metrics)}")
    return metrics[name]


def _unknown(spec: str) -> str:
    near = did_you_mean(spec.partition(":")[0], TASKS)
    return f"no task {spec!r}{near}; there are {', '.join(TASKS)}, or give file.py:function"


# torchmetrics turns logits into probabilities only for batches where some value leaves [0, 1], so it is done here.
def _probabilities(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return output.float().softmax(1), target


def _label_probabilities(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return output.float().sigmoid(), target.long()


def _flat(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """One row of numbers each: a mean over all of them does not depend on their shape."""
    return output.float().flatten(1), target.flatten(1)


def _relative_l2_rows(output: Tensor, target: Tensor) -> Tensor:
    difference = (output.float() - target.float()).flatten(1).norm(dim=1)
    return difference / target.float().flatten(1).norm(dim=1).clamp_min(1e-8)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['batch', *map(str, shape)])})"
