"""Figures of the files of one model: metric, size, and latency at a batch of one and at the user's, measured alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from torch import Tensor

from dashfx.cost.latency.measure import HERE
from dashfx.deploy.runtime import OnnxModel
from dashfx.deploy.timing import call_of, in_turn

SECONDS = 1.0  # for all files together, at each size of a batch


@dataclass(frozen=True)
class Percentiles:
    """Seconds of `n` calls of so many rows, on so many threads of the CPU provider."""

    rows: int
    p50: float
    p95: float
    n: int
    threads: int = HERE.threads

    @classmethod
    def of(cls, rows: int, seconds: Sequence[float]) -> Percentiles:
        cuts = quantiles(seconds, n=20, method="inclusive")
        return cls(rows, cuts[9], cuts[18], len(seconds))

    def __str__(self) -> str:
        return f"{self.rows} row{'s' * (self.rows > 1)} {1e3 * self.p50:.3g} ms (p95 {1e3 * self.p95:.3g})"


@dataclass(frozen=True)
class FileFigures:
    """A file of the model.

    Attributes:
        precision: "float32", "int8" or "fp16"; in int8 what was chosen is.
        metric: on the validation part, through ONNX Runtime.
        latency: at each size of a batch that the file takes.
    """

    name: str
    precision: str
    metric: float
    bytes: int
    latency: tuple[Percentiles, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"latency": [asdict(each) for each in self.latency]}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> FileFigures:
        """What `to_dict` gave."""
        return cls(**{**facts, "latency": tuple(Percentiles(**each) for each in facts["latency"])})

    def __str__(self) -> str:
        times = ", ".join(map(str, self.latency))
        return f"{self.name}: metric on validation {self.metric:.4f}, {self.bytes / 1e6:.3g} MB, {times}"


def figures_of(files: Mapping[Path, tuple[str, float]], rows: Tensor) -> tuple[FileFigures, ...]:
    """What each file is worth and takes; all are called in turn, so that what else the machine does slows all alike.

    Args:
        files: each with its precision and its metric.
        rows: a batch of the user's size.
    """
    sizes = sorted({1, len(rows)}) if all(_free(path) for path in files) else [_taken(path) for path in files][:1]
    timed: dict[Path, list[Percentiles]] = {path: [] for path in files}
    for size in sizes:
        x = rows.repeat(-(-size // len(rows)), *(1 for _ in rows.shape[1:]))[:size].cpu().float()
        spent = in_turn([call_of(path, (x,)) for path in files], SECONDS)
        for path, seconds in zip(files, spent, strict=True):
            timed[path].append(Percentiles.of(size, seconds))
    return tuple(
        FileFigures(path.name, precision, metric, path.stat().st_size, tuple(timed[path]))
        for path, (precision, metric) in files.items()
    )


def _free(path: Path) -> bool:
    model = OnnxModel(path)
    return 0 in model.dynamic_axes[model.inputs[0]]


def _taken(path: Path) -> int:
    size = OnnxModel(path).session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else 1
