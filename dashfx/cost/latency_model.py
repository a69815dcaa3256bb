"""Latency of a network as a cost: measured medians of ONNX Runtime, added up conv by conv."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from dashfx.cost.base import Choices, TotalCost, one_row
from dashfx.cost.latency import Latency, int8_latencies, latencies, latency_of
from dashfx.cost.latency_table import MODEL, LatencyTable, key_of, latency_file, layer_of
from dashfx.errors import ExportError
from dashfx.frontend.shared import conv_for, parts_in
from dashfx.frontend.tracing import Program, no_seed
from dashfx.site import Site
from dashfx.space import Candidate

logger = logging.getLogger(__name__)
IN_INT8 = ", int8"  # behind a layer's words
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True)
class MeasuredLatency(TotalCost):
    """Seconds for one row of input on one thread of the CPU provider.

    A conv with a candidate is timed as a model of its own, in turn with the site's other candidates. That choices add
    up is an estimate, which starts from the untouched model's measured time; the lowered model is measured as a whole.

    Attributes:
        times: what is known so far; the user's cache is asked first.
    """

    unit: ClassVar[str] = "seconds"
    units: ClassVar[Mapping[str, float]] = UNITS
    times: LatencyTable = field(default_factory=LatencyTable, init=False, repr=False, compare=False)

    def prepare(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """Time what is not known, one group of candidates a shape, and add it to the user's cache."""
        self._prepare(sites, choices, "")

    def prepare_int8(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """As in float; inputs and outputs are float there too, so that neighbours in int8 take less."""
        self._prepare(sites, choices, IN_INT8)

    def _prepare(self, sites: Mapping[str, Site], choices: Choices, precision: str) -> None:
        known, fresh = LatencyTable.load(latency_file()), LatencyTable()
        for name, site in sites.items():
            for size in site.input_sizes:
                options = (site.original, *choices.get(name, ()))
                layers = {layer_of(site, c, size) + precision: c for c in options}
                self.times.entries.update({**known.of(layers).entries, **self.times.of(layers).entries})
                fresh.entries.update(self._timed(site, size, layers).entries)
        if fresh.entries:
            _add_to_cache(fresh)

    def at(self, site: Site, candidate: Candidate) -> float:
        return self._over_calls(site, candidate, "")

    def in_int8(self, site: Site, candidate: Candidate) -> float:
        return self._over_calls(site, candidate, IN_INT8)

    def _over_calls(self, site: Site, candidate: Candidate, precision: str) -> float:
        each = [self._seconds(site, candidate, size, precision) for size in site.input_sizes]
        return sum(each) * site.calls / len(each)

    def of_file(self, path: Path, program: Program) -> float:
        return latency_of(path, one_row(program)).median

    def whole(self, program: Program) -> float:
        """Measured anew at each call."""
        return _measured(program).median

    def rest(self, program: Program) -> float:
        """What stands in the table is taken, so that a resumed run decides as before."""
        if self.times.seconds(MODEL) is None:
            self.times.put(MODEL, _measured(program))
        whole = self.times.entries[key_of(MODEL)].time.median
        return whole - sum(self.at(site, site.original) for site in program.sites.values())

    def _seconds(self, site: Site, candidate: Candidate, size: tuple[int, ...], precision: str) -> float:
        layer = layer_of(site, candidate, size) + precision
        if self.times.seconds(layer) is None:
            self._prepare({site.name: site}, {site.name: [candidate]}, precision)
        found = self.times.seconds(layer)
        assert found is not None
        return found

    def _timed(self, site: Site, size: tuple[int, ...], layers: Mapping[str, Candidate]) -> LatencyTable:
        unknown = [layer for layer in layers if self.times.seconds(layer) is None]
        if not unknown:
            return LatencyTable()
        with no_seed():
            convs = [conv_for(site, layers[layer], torch.device("cpu"), torch.float32) for layer in unknown]
            for part in [part for conv in convs for part in parts_in(conv)]:
                part.reset_parameters()
            x = torch.randn(1, site.in_channels, *size)
        times = int8_latencies(convs, x) if unknown[0].endswith(IN_INT8) else latencies(convs, x)
        for layer, time in zip(unknown, times, strict=True):
            if time is None:
                raise ExportError(f"site {site.name!r}: ONNX Runtime does not take {layer}; leave it out of the space")
            self.times.put(layer, time)
        return self.times.of(unknown)


def _measured(program: Program) -> Latency:
    """The whole model.

    Raises:
        ExportError: the exporter or ONNX Runtime does not take it.
    """
    (found,) = latencies([program.model], one_row(program))
    if found is None:
        raise ExportError(
            "the model's latency cannot be measured, because ONNX Runtime does not take it: leave out the budget of it"
        )
    return found


def _add_to_cache(fresh: LatencyTable) -> None:
    """What others have written meanwhile stays."""
    path: Path = latency_file()
    try:
        LatencyTable({**LatencyTable.load(path).entries, **fresh.entries}).save(path)
    except OSError as error:
        logger.info("the cache %s cannot be written: %s", path, error)
