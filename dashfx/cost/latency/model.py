"""Latency of a network as a cost: measured medians of ONNX Runtime, added up conv by conv."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn

from dashfx.cost.base import Choices, TotalCost, one_row
from dashfx.cost.latency.correction import Correction, correction
from dashfx.cost.latency.measure import Latency, Place, int8_latencies, latencies
from dashfx.cost.latency.table import MODEL, LatencyTable, key_of, latency_file, layer_of, model_with
from dashfx.errors import ExportError
from dashfx.frontend.shared import parts_in
from dashfx.frontend.tracing import Program, no_seed
from dashfx.genotype import Genotype
from dashfx.ops.families import conv_of
from dashfx.plugins import Count
from dashfx.site import Site
from dashfx.space import Candidate

logger = logging.getLogger(__name__)
IN_INT8 = ", int8"  # behind a layer's words
NOISE = 0.04  # medians of one file, measured minutes apart on a machine that others use
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True)
class MeasuredLatency(TotalCost):
    """Seconds for one row of input in ONNX Runtime.

    A conv with a candidate is timed as a model of its own, in turn with the site's other candidates. That choices add
    up is an estimate, which starts from the untouched model's measured time and is corrected where some networks that
    were measured as a whole say so; the lowered model is measured as a whole.

    Args:
        threads, provider: of ONNX Runtime, such as 4 and "cpu".
        layout: "off" where 1-D convs are not exported as 2-D ones.

    Attributes:
        times: what is known so far; the user's cache is asked first.
        fits: the correction, once there is one.
    """

    threads: Count = 1
    provider: str = "cpu"
    layout: Literal["auto", "off"] = "auto"
    unit: ClassVar[str] = "seconds"
    units: ClassVar[Mapping[str, float]] = UNITS
    noise: ClassVar[float] = NOISE
    paper: ClassVar[str] = "Wu et al., FBNet, CVPR 2019; the correction after Xu et al., LA-DARTS, 2020"
    row: ClassVar[str] = "104"
    times: LatencyTable = field(default_factory=LatencyTable, init=False, repr=False, compare=False)
    fits: list[Correction] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.times.place = self.place

    @property
    def place(self) -> Place:
        return Place(self.provider, self.threads, self.layout)

    @property
    def line(self) -> tuple[float, float]:
        return self.fits[-1].line if self.fits else (0.0, 1.0)

    def prepare(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """Time what is not known, one group of candidates a shape, and add it to the user's cache."""
        self._prepare(sites, choices, "")

    def prepare_int8(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """As in float; inputs and outputs are float there too, so that neighbours in int8 take less."""
        self._prepare(sites, choices, IN_INT8)

    def _prepare(self, sites: Mapping[str, Site], choices: Choices, precision: str) -> None:
        known, fresh = LatencyTable.load(latency_file(), self.place), LatencyTable(place=self.place)
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
        (found,) = self._taken([path], one_row(program))
        return found.median

    def whole(self, program: Program) -> float:
        """Measured anew at each call."""
        return self._measured(program).median

    def rest(self, program: Program) -> float:
        """What stands in the table is taken, so that a resumed run decides as before."""
        return self.own(program) - sum(self.at(site, site.original) for site in program.sites.values())

    def own(self, program: Program) -> float:
        """The untouched model's, from the table where it stands there."""
        if self.times.seconds(MODEL) is None:
            self.place.check()
            self.times.put(MODEL, self._measured(program))
        return self.times.entries[key_of(MODEL, self.place)].time.median

    def totals(self, program: Program, models: Mapping[Genotype, Callable[[], nn.Module]]) -> list[float]:
        """What models of these choices take as a whole, each from the table where it stands there.

        They are timed in turn with the untouched model, and told as if that took what it takes in the table: what slows
        the machine between two measurements slows both.

        Raises:
            ExportError: the exporter or ONNX Runtime does not take one.
        """
        own, unknown = self.own(program), [each for each in models if self.times.seconds(model_with(each)) is None]
        if unknown:
            row = one_row(program)
            base, *found = self._taken([program.model, *(models[each]() for each in unknown)], row)
            for each, time in zip(unknown, found, strict=True):
                self.times.put(model_with(each), time.scaled(own / base.median))
        seconds = [self.times.seconds(model_with(each)) for each in models]
        return [each for each in seconds if each is not None]

    def beside(self, program: Program, other: nn.Module | Path, row: torch.Tensor) -> tuple[Latency, Latency]:
        """The untouched model's time and that of another model or of a file, in turn.

        Raises:
            ExportError: ONNX Runtime does not take one.
        """
        own, found = self._taken([program.model, other], row)
        return own, found

    def corrected(self, sums: list[float], measured: list[float]) -> Correction | None:
        """Reckon with what whole networks say of sums from now on, where that is better."""
        found = correction(sums, measured)
        self.fits[:] = [found] if found else []
        return found

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
        self.place.check()
        with no_seed():
            convs = [conv_of(site, layers[layer], torch.device("cpu"), torch.float32) for layer in unknown]
            for part in [part for conv in convs for part in parts_in(conv) if part.weight.requires_grad]:
                part.reset_parameters()
            x = torch.randn(1, site.in_channels, *size)
        timed = int8_latencies if unknown[0].endswith(IN_INT8) else partial(latencies, free=False)
        for layer, time in zip(unknown, timed(convs, x, self.place), strict=True):
            if time is None:
                raise ExportError(f"site {site.name!r}: ONNX Runtime does not take {layer}; leave it out of the space")
            self.times.put(layer, time)
        return self.times.of(unknown)

    def _measured(self, program: Program) -> Latency:
        """The whole model.

        Raises:
            ExportError: the exporter or ONNX Runtime does not take it.
        """
        (found,) = self._taken([program.model], one_row(program))
        return found

    def _taken(self, models: Sequence[nn.Module | Path], row: torch.Tensor) -> list[Latency]:
        found = latencies(models, row, self.place)
        if any(each is None for each in found):
            raise ExportError(
                "the model's latency cannot be measured, because ONNX Runtime does not take it: leave out its budget"
            )
        return [each for each in found if each is not None]


def _add_to_cache(fresh: LatencyTable) -> None:
    """What others have written meanwhile stays."""
    path: Path = latency_file()
    try:
        LatencyTable({**LatencyTable.load(path).entries, **fresh.entries}).save(path)
    except OSError as error:
        logger.info("the cache %s cannot be written: %s", path, error)
