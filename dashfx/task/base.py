"""Task: a loss, a metric and its direction; and the metric of a model over a whole set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from dashfx.data.base import Data, Kind
from dashfx.data.normalisation import Normalisation
from dashfx.errors import TaskError, did_you_mean
from dashfx.task.voting import by_majority, voters

Loss = Callable[[Tensor, Tensor], Tensor]
Prepare = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Average = Literal["softmax", "sigmoid", "mean"]


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
        target: the units that the model's outputs are in, where the task normalises its targets: a value is
            output * std + mean. Loss and metric take care of it, and the exported graph undoes it.
        exported: where there are such units, the same task for a model whose outputs are in the data's.
        average: how the outputs of several models become one: "softmax" averages probabilities of classes (axis 1),
            "sigmoid" those of labels, "mean" the outputs, which must then stand for targets too; None where they
            cannot be averaged.
    """

    name: str
    loss: Loss
    new_metric: Callable[[], Metric]
    metric_name: str
    maximise: bool
    kind: Kind | None = None
    prepare: Prepare = _as_it_is
    target: Normalisation | None = None
    exported: Task | None = None
    average: Average | None = None

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
        expected = data.output_shape
        found = tuple(output.shape[1:])
        if found == expected:
            return
        if len(found) == len(expected) and found[1:] == expected[1:] and self.kind != "dense":
            what = "labels" if self.kind == "multilabel" else "classes"
            raise TaskError(
                f"the model gives {found[0]} outputs, the data has {expected[0]} {what}: "
                f"change the model's last layer (for example --model-args num_classes={expected[0]})"
            )
        remedy = "change the model's head, or choose another --task"
        if len(expected) > 1 and len(found) == 1:
            remedy = "give a model with an answer per position (UNet, or WRN or WRN1d with dense=true)"
        raise TaskError(
            f"the model's output is {_shape(found)}, task {self.name} on {data.name} needs {_shape(expected)}; {remedy}"
        )


@dataclass(frozen=True)
class Score:
    """One way to judge a model: a torchmetrics metric, its direction, and what it is fed."""

    new: Callable[[], Metric]
    maximise: bool
    prepare: Prepare = _as_it_is


def pick(scores: Mapping[str, Score], name: str, task: str) -> tuple[str, Score]:
    """The score of that name, whatever its capitals, and the name as it is written here.

    Raises:
        TaskError: no such metric.
    """
    if name.lower() not in scores:
        near = did_you_mean(name.lower(), scores)
        raise TaskError(f"task {task} has no metric {name!r}{near}; there are {', '.join(scores)}")
    return name.lower(), scores[name.lower()]


def evaluate(
    predict: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    gather: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]] = lambda pair: pair,
) -> float:
    """The task's metric over everything that `loader` gives, for a PyTorch or an ONNX model alike.

    Where the data's rows vote, it counts records.

    `predict` maps x to the model's output; a PyTorch model must already be in eval mode. Where `loader` gives a process
    its share only, `gather` maps outputs and targets of one batch to those of all processes.

    Raises:
        ValueError: the loader gives nothing.
    """
    metric: Metric | None = None
    with torch.no_grad():
        pairs = _answers(predict, loader, gather)
        if (records := voters(loader)) is not None:
            pairs = by_majority(pairs, records)
        for output, y in pairs:
            if metric is None:
                metric = task.new_metric().to(output.device)
                metric.distributed_available_fn = _never  # each process of a distributed run is fed the whole set
            metric.update(*task.prepare(output, y))
    if metric is None:
        raise ValueError("evaluate: the loader gives no batches")
    return float(metric.compute())


def _answers(
    predict: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    gather: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in loader:
        output = predict(x)
        yield gather((output, y.to(output.device)))


def _never() -> bool:
    return False


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['batch', *map(str, shape)])})"
