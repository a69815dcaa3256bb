"""Latency of models in ONNX Runtime, timed in turn; with their size and work, the figures of a run's models."""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from dashfx.cost.counts import flops_of, parameters_of
from dashfx.deploy.export import examples_of
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.layout.sequences import as_2d
from dashfx.deploy.quantise.qdq import in_int8
from dashfx.deploy.runtime import load_proto, require_providers
from dashfx.deploy.targets.named import TARGETS
from dashfx.deploy.timing import Call, call_of, in_turn
from dashfx.errors import ConfigError, did_you_mean
from dashfx.frontend.tracing import copy_model

logger = logging.getLogger(__name__)

EXPORTER, OPSET = "torchscript", 18  # a tenth of a second a model; ONNX Runtime fuses both exporters' graphs alike
REPEATS = 100  # of calls that may take microseconds; slow ones stop earlier, see `in_turn`
UNSTEADY = 0.25  # of the median: quartiles further apart are told


@dataclass(frozen=True)
class Place:
    """Where models are timed.

    Attributes:
        provider: an execution provider, by its short name ("cpu", "cuda" and so on).
        threads: of ONNX Runtime, where the provider computes on the CPU.
        layout: "auto" also times 1-D convs written as 2-D ones, and takes what is faster, as the export does.
    """

    provider: str = "cpu"
    threads: int = 1
    layout: Literal["auto", "off"] = "auto"

    @property
    def full_name(self) -> str:
        """What ONNX Runtime calls the provider.

        Raises:
            ConfigError: no provider is called so.
        """
        if self.provider not in TARGETS:
            near = did_you_mean(self.provider, TARGETS)
            raise ConfigError(f"latency: no provider {self.provider!r}{near}; there are {', '.join(TARGETS)}")
        return TARGETS[self.provider].provider

    def __str__(self) -> str:
        form = "as 2-D ones where that is faster" if self.layout == "auto" else "as they are"
        return f"{self.full_name}, {self.threads} thread{'s' * (self.threads > 1)}, 1-D convs {form}"

    def check(self) -> None:
        """Whether ONNX Runtime computes there.

        Raises:
            ConfigError: no provider is called so.
            VerifyError: it is not installed, or does not start.
        """
        require_providers([self.full_name], allow_fallback=False)


HERE = Place()


@dataclass(frozen=True)
class Latency:
    """One row of input through ONNX Runtime.

    Attributes:
        median, low, high: seconds: the median and the quartiles of `n` calls.
        threads: of ONNX Runtime.
    """

    median: float
    low: float
    high: float
    n: int
    threads: int

    @property
    def spread(self) -> float:
        """How far the quartiles are apart, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def is_steady(self) -> bool:
        return self.spread <= UNSTEADY

    def scaled(self, factor: float) -> Latency:
        """The same on a machine that takes `factor` times as long."""
        return replace(self, median=factor * self.median, low=factor * self.low, high=factor * self.high)


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
    models: Mapping[str, nn.Module],
    metrics: Mapping[str, tuple[float, float]],
    x: Tensor,
    timed: bool,
    place: Place = HERE,
) -> dict[str, Figures]:
    """Name -> figures, in the order of `models`.

    Args:
        metrics: of each model on the validation and the test part.
        x: (1, C, *size), the row that all are run on.
        timed: measure the latency too.
    """
    times = latencies(list(models.values()), x, place) if timed else [None] * len(models)
    return {
        name: Figures(*metrics[name], parameters_of(model), flops_of(model, x), latency)
        for (name, model), latency in zip(models.items(), times, strict=True)
    }


def latencies(
    models: Sequence[nn.Module | Path], x: Tensor, place: Place = HERE, free: bool = True
) -> list[Latency | None]:
    """How long each model, or file, takes for `x` in ONNX Runtime; None where it cannot be written.

    All models are written by the same exporter, and all are called in turn, so that what else the machine does slows
    all of them. Of a model in two layouts the faster one counts; a file is timed as it is.

    Args:
        free: sizes are free where the model takes several, as in its file: ONNX Runtime makes less of those, and takes
            up to a tenth longer. A single conv has too few nodes for that to matter.
    """
    return _timed([_calls(model, x, place, free=free) for model in models], place)


def int8_latencies(models: Sequence[nn.Module], x: Tensor, place: Place = HERE) -> list[Latency | None]:
    """As `latencies`, with all convs and linear layers in int8."""
    return _timed([_calls(model, x, place, int8=True) for model in models], place)


def _timed(calls: Sequence[Sequence[Call]], place: Place) -> list[Latency | None]:
    times = iter(in_turn([call for each in calls for call in each], repeats=REPEATS))
    found = [[_latency(next(times), place) for _ in each] for each in calls]
    return [min(each, key=lambda time: time.median, default=None) for each in found]


def _latency(seconds: Sequence[float], place: Place) -> Latency:
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Latency(median, low, high, len(seconds), place.threads)


def _calls(model: nn.Module | Path, x: Tensor, place: Place, int8: bool = False, free: bool = False) -> list[Call]:
    """Calls of the model in each of its layouts in ONNX Runtime; none where the exporter does not take it."""
    inputs = (x.cpu().float(),)
    try:
        if isinstance(model, Path):
            return [call_of(model, inputs, place.threads, place.full_name)]
        with written(model, x, free) as path:
            paths = [path, *_lifted(path)] if place.layout == "auto" else [path]
            paths = [in_int8(each, inputs[0]) for each in paths] if int8 else paths
            return [call_of(each, inputs, place.threads, place.full_name) for each in paths]
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        logger.info("latency not measured: %s", error)
        return []


def _lifted(path: Path) -> list[Path]:
    """The file with 2-D convs beside it, where it has 1-D ones."""
    proto, convs = as_2d(load_proto(path))
    if not convs:
        return []
    beside = path.with_name(f"2d-{path.name}")
    beside.write_bytes(proto.SerializeToString())
    return [beside]


@contextmanager
def written(model: nn.Module, x: Tensor, free: bool = False) -> Iterator[Path]:
    """Inside, the path of the model's ONNX file, as it is measured.

    Args:
        free: sizes are free where the model takes several.

    Raises:
        ExportError: the exporter does not take the model.
    """
    plain = copy_model(model).cpu().float().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ways = examples_of(plain, (x.cpu().float(),))
        example, axes = ways[0 if free else -1]
        write(plain, Attempt(EXPORTER, example, axes, OPSET), path, {})
        yield path
