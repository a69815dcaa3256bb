"""Tuning tables: measured choices by the problem that they solve, as JSON in a run's folder or in the user's cache."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.geometry import ConvSpec
from dashfx.space import size_text

E = TypeVar("E")


@dataclass(frozen=True)
class Problem:
    """All that the fastest algorithm depends on.

    Attributes:
        spec: with the residual as one more term where the conv has grown from another.
        shape: of the input, (batch, in, *size).
        dtype: of the input, and `autocast` the one that autocast computes in, "" where it is off.
        machine: see `machine`.
    """

    spec: ConvSpec
    shape: tuple[int, ...]
    out_channels: int
    dtype: str
    autocast: str
    machine: str

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def itemsize(self) -> int:
        return getattr(torch, self.autocast or self.dtype).itemsize

    def __str__(self) -> str:
        batch, channels, *axes = self.shape
        stride = "" if set(self.spec.stride) == {1} else f" /{size_text(self.spec.stride)}"
        groups = f" in {self.spec.groups} groups" if self.spec.groups > 1 else ""
        size, terms = size_text(axes), len(self.spec.candidates)
        layer = f"{channels}->{self.out_channels}{stride}{groups} at {size}, batch {batch}"
        return f"{layer}, {terms} kernels, {self.precision}"

    @property
    def precision(self) -> str:
        return f"autocast {self.autocast}" if self.autocast else self.dtype


@dataclass(frozen=True)
class Entry:
    """The algorithm of a problem.

    Attributes:
        seconds: median of forward + backward by algorithm; empty where the choice is an estimate.
        layer, machine: the problem in words, for whoever reads the file.
    """

    choice: str
    seconds: Mapping[str, float]
    layer: str
    machine: str

    @classmethod
    def from_dict(cls, facts: Any) -> Entry | None:
        """What `asdict` made; None for anything else."""
        try:
            found = cls(**facts)
            texts = (found.choice, found.layer, found.machine)
            seconds = {name: float(value) for name, value in found.seconds.items()}
        except (TypeError, ValueError, AttributeError, OverflowError):
            return None
        names = {found.choice, *seconds} <= ALGORITHMS.keys()
        usable = names and all(isinstance(text, str) for text in texts)
        return found if usable and all(0 <= each < math.inf for each in seconds.values()) else None


class TuningTable:
    """Entries by `Problem.key`."""

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self.entries = dict(entries or {})

    @classmethod
    def load(cls, path: Path | None) -> TuningTable:
        """The table in a file; an empty one where there is none, or none that can be read: it can be measured again."""
        return cls(read_entries(path, Entry.from_dict))

    def save(self, path: Path) -> None:
        """As `write_entries` does."""
        write_entries(path, self.entries)

    def get(self, problem: Problem) -> Entry | None:
        return self.entries.get(problem.key)

    def put(self, problem: Problem, choice: str, seconds: Mapping[str, float]) -> Entry:
        entry = Entry(choice, dict(seconds), str(problem), problem.machine)
        self.entries[problem.key] = entry
        return entry


def read_entries(path: Path | None, read: Callable[[Any], E | None]) -> dict[str, E]:
    """The entries in a file by their keys; none where there is no file, or none that can be read.

    Args:
        read: one entry from JSON, None for what is none: it is left out, and can be measured again.
    """
    if path is None:
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {key: entry for key, row in rows.items() if (entry := read(row))}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def write_entries(path: Path, entries: Mapping[str, Any]) -> None:
    """Write dataclasses by their keys to a neighbour and rename it: nobody who reads or writes meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps({k: asdict(e) for k, e in entries.items()}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def cache_file() -> Path:
    """Where measurements of earlier runs are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dashfx" / "autotune.json"


def machine(device: torch.device) -> str:
    """The versions, the processor and the number of threads that times hold for."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return f"dashfx {_version()}, torch {torch.__version__}, {name}, {torch.get_num_threads()} threads"


@lru_cache(maxsize=1)
def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def _version() -> str:
    """The package's version, and a digest of the code that is timed: a work tree changes without a new version."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
    try:
        return f"{version('dashfx')} ({digest})"
    except PackageNotFoundError:
        return f"from source ({digest})"
