"""Latency in ONNX Runtime, size and work of the trained models of one run, measured alike."""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dashfx.cost.counts import flops_of, parameters_of
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.quantise.qdq import in_int8
from dashfx.deploy.timing import Call, call_of, in_turn
from dashfx.frontend.tracing import copy_model

logger = logging.getLogger(__name__)

EXPORTER, OPSET = "torchscript", 18  # a tenth of a second a model; ONNX Runtime fuses both exporters' graphs alike
THREADS = 1


@dataclass(frozen=True)
class Latency:
    """One row of input through ONNX Runtime on the CPU.

    Attributes:
        median, low, high: seconds: the median and the quartiles of `n` calls.
        threads: of ONNX Runtime.
    """

    median: float
    low: float
    high: float
    n: int
    threads: int


@dataclass(frozen=True)
class Figures:
    """What a trained model is worth, by the task's metric on validation and test, and what it costs.

    Attributes:
        flops: of one row, see `flops_of`.
        latency: None where ONNX Runtime was not asked or does not take the model.
    """

    valid: float
    test: float
    parameters: int
    flops: int
    latency: Latency | None = None

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Figures:
        """What `dataclasses.asdict` gave."""
        latency = facts.get("latency")
        return cls(**{**facts, "latency": Latency(**latency) if latency else None})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    models: Mapping[str, nn.Module], metrics: Mapping[str, tuple[float, float]], x: Tensor, timed: bool
) -> dict[str, Figures]:
    """Name -> figures, in the order of `models`.

    Args:
        metrics: of each model on the validation and the test part.
        x: (1, C, *size), the row that all are run on.
        timed: measure the latency too.
    """
    times = latencies(list(models.values()), x) if timed else [None] * len(models)
    return {
        name: Figures(*metrics[name], parameters_of(model), flops_of(model, x), latency)
        for (name, model), latency in zip(models.items(), times, strict=True)
    }


def latencies(models: Sequence[nn.Module], x: Tensor) -> list[Latency | None]:
    """How long each model takes for `x` in ONNX Runtime on one CPU thread; None where it cannot be written.

    All are written by the same exporter and called in turn, so that what else the machine does slows all of them.
    """
    return _latencies([_call(model, x) for model in models])


def int8_latencies(models: Sequence[nn.Module], x: Tensor) -> list[Latency | None]:
    """As `latencies`, with all convs and linear layers in int8."""
    return _latencies([_call(model, x, int8=True) for model in models])


def _latencies(calls: Sequence[Call | None]) -> list[Latency | None]:
    times = iter(in_turn([call for call in calls if call]))
    return [_latency(next(times)) if call else None for call in calls]


def latency_of(path: Path, x: Tensor) -> Latency:
    """How long a file takes for `x`, as models do in `latencies`."""
    (spent,) = in_turn([call_of(path, (x.cpu().float(),))])
    return _latency(spent)


def _latency(seconds: Sequence[float]) -> Latency:
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Latency(median, low, high, len(seconds), THREADS)


def _call(model: nn.Module, x: Tensor, int8: bool = False) -> Call | None:
    """A call of the model in ONNX Runtime, or None where the exporter does not take it."""
    try:
        with written(model, x) as path:
            return call_of(in_int8(path, x.cpu().float()) if int8 else path, (x.cpu().float(),))
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        logger.info("latency not measured: %s", error)
        return None


@contextmanager
def written(model: nn.Module, x: Tensor) -> Iterator[Path]:
    """Inside, the path of the model's ONNX file, as it is measured.

    Raises:
        ExportError: the exporter does not take the model.
    """
    plain = copy_model(model).cpu().float().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write(plain, Attempt(EXPORTER, (x.cpu().float(),), ({},), OPSET), path, {})
        yield path
