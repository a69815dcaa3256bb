"""Latency tables: ONNX Runtime's time for each conv and candidate, as JSON in a run's folder or the user's cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from dashfx.cost.latency.measure import EXPORTER, HERE, Latency, Place
from dashfx.genotype import Genotype
from dashfx.ops.autotune.table import cache_file, processor, read_entries, write_entries
from dashfx.site import Site
from dashfx.space import Candidate, size_text

MODEL = "the untouched model"


@dataclass(frozen=True)
class Entry:
    """What was timed, on what, and how long it took."""

    layer: str
    machine: str
    time: Latency

    @classmethod
    def from_dict(cls, facts: Any) -> Entry | None:
        """What `asdict` made; None for anything else."""
        try:
            found = cls(facts["layer"], facts["machine"], Latency(**facts["time"]))
            numbers = [float(each) for each in asdict(found.time).values()]
        except (TypeError, ValueError, KeyError, OverflowError):
            return None
        usable = isinstance(found.layer, str) and isinstance(found.machine, str)
        return found if usable and all(0 <= each < math.inf for each in numbers) else None


class LatencyTable:
    """Entries by `key_of`.

    Attributes:
        place: what is asked for and added is of this place.
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None, place: Place = HERE) -> None:
        self.entries, self.place = dict(entries or {}), place

    @classmethod
    def load(cls, path: Path | None, place: Place = HERE) -> LatencyTable:
        """The table in a file; what is none, or no entry, is left out: it can be measured again."""
        return cls(read_entries(path, Entry.from_dict), place)

    def save(self, path: Path) -> None:
        """As `write_entries` does."""
        write_entries(path, self.entries)

    def seconds(self, layer: str) -> float | None:
        """The median, where it is known."""
        found = self.entries.get(key_of(layer, self.place))
        return found.time.median if found else None

    def put(self, layer: str, time: Latency) -> None:
        self.entries[key_of(layer, self.place)] = Entry(layer, machine(self.place), time)

    def of(self, layers: Iterable[str]) -> LatencyTable:
        """The part of the table that says something of these."""
        keys = [key for layer in layers if (key := key_of(layer, self.place)) in self.entries]
        return LatencyTable({key: self.entries[key] for key in keys}, self.place)

    def elsewhere(self) -> str | None:
        """The machine of a table that says nothing of this one; None where it does, or is empty."""
        machines = [entry.machine for entry in self.entries.values()]
        return machines[0] if machines and machine(self.place) not in machines else None

    def unsteady(self) -> list[Entry]:
        """What could not be timed steadily here, the worst first."""
        here = [each for each in self.entries.values() if each.machine == machine(self.place)]
        return sorted((each for each in here if not each.time.is_steady), key=lambda each: -each.time.spread)


def latency_file() -> Path:
    """Where measurements of earlier runs are kept."""
    return cache_file().with_name("latency.json")


def machine(place: Place = HERE) -> str:
    """The processor, the provider, its threads and the versions that times hold for."""
    versions = f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, {EXPORTER} exporter"
    return f"{processor()}, {place}, {versions}"


def key_of(layer: str, place: Place = HERE) -> str:
    return hashlib.sha256(f"{layer}; {machine(place)}".encode()).hexdigest()[:16]


def model_with(genotype: Genotype) -> str:
    """The untouched model with other kernels, in words."""
    return "the model with " + ", ".join(f"{name} {choice}" for name, choice in genotype.items())


def layer_of(site: Site, candidate: Candidate, size: tuple[int, ...]) -> str:
    """All of a conv that its time depends on, in words; the names of sites are no part of it."""
    padding = ",".join(f"{left}:{right}" for left, right in site.padding_of(candidate))
    layer = f"{site.in_channels}->{site.out_channels} {candidate} /{size_text(site.stride)} at {size_text(size)}"
    more = [f"padding {padding} {site.padding_mode}", f"{site.groups} groups", "bias" if site.bias else "no bias"]
    return ", ".join([layer, *more])
