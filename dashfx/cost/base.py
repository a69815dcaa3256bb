"""Cost models, the base: what each candidate of a conv costs, and what a whole network does with a choice a site."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.errors import ConfigError
from dashfx.frontend.recording import tensors_in
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.site import Site
from dashfx.space import Candidate

Choices = Mapping[str, Sequence[Candidate]]  # site name -> the candidates that it has

COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "kB": 1e3, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
SHOWN = ("", "k", "M", "G", "B", "KB", "MB", "GB", "us", "ms", "s")  # units that values are told in


class CostModel(ABC):
    """A cost per candidate, from 0 up, without gradient."""

    unit: ClassVar[str]

    @abstractmethod
    def of(self, aggconv: AggConv) -> list[float]:
        """The cost of each candidate at this site, in `unit`."""

    def table(self, sites: Mapping[str, AggConv]) -> dict[str, Tensor]:
        """Site name -> (n_candidates,)."""
        return {name: torch.tensor(self.of(a), device=a.alpha.device, dtype=a.alpha.dtype) for name, a in sites.items()}

    def in_loss(self, sites: Mapping[str, AggConv]) -> dict[str, Tensor]:
        """The table whose mean over the sites a loss can hold."""
        return self.table(sites)


class TotalCost(CostModel):
    """A cost of a whole network, which a budget can limit: that of the rest and, added up, those of the choices.

    A program here is that of the untouched model, and of one row of its example.

    Attributes:
        units: how a limit may be written, and how many `unit` each is.
        noise: by what share two measurements of one model differ.
    """

    units: ClassVar[Mapping[str, float]] = COUNTS
    noise: ClassVar[float] = 0.0

    @property
    def line(self) -> tuple[float, float]:
        """Offset and factor that make sums of `at` and `rest` what whole networks cost."""
        return 0.0, 1.0

    def own(self, program: Program) -> float:
        """What the untouched model costs."""
        return self.whole(program)

    @abstractmethod
    def at(self, site: Site, candidate: Candidate) -> float:
        """What the site's conv costs with this candidate, over all its calls."""

    @abstractmethod
    def whole(self, program: Program) -> float:
        """What the model costs as it is."""

    def prepare(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """Whatever has to be measured for these, together; `at` then knows them."""

    def in_int8(self, site: Site, candidate: Candidate) -> float:
        """What the site's conv costs in an int8 file; by default as much as in float."""
        return self.at(site, candidate)

    def prepare_int8(self, sites: Mapping[str, Site], choices: Choices) -> None:
        """As `prepare`, for `in_int8`."""

    def of_file(self, path: Path, program: Program) -> float:
        """What an int8 file costs; by default as much as the model that it was made of."""
        return self.whole(program)

    def rest(self, program: Program) -> float:
        """What is not searched."""
        return self.whole(program) - sum(self.at(site, site.original) for site in program.sites.values())

    def total(self, program: Program, genotype: Genotype) -> float:
        """What the model costs with these choices; a site without one keeps its own kernel."""
        sites = program.sites.items()
        return self.rest(program) + sum(self.at(site, genotype.get(name, site.original)) for name, site in sites)

    def of(self, aggconv: AggConv) -> list[float]:
        site = site_of(aggconv)
        self.prepare({site.name: site}, {site.name: aggconv.candidates})
        return [self.at(site, candidate) for candidate in aggconv.candidates]

    def in_loss(self, sites: Mapping[str, AggConv]) -> dict[str, Tensor]:
        """As shares of the dearest choice, so that the mean over the sites lies between 0 and 1."""
        table = self.table(sites)
        dearest = sum(float(row.max()) for row in table.values()) or 1.0
        return {name: row * (len(table) / dearest) for name, row in table.items()}

    def read(self, text: str) -> float:
        """A limit in `unit`.

        Raises:
            ConfigError: no positive number, or another unit.
        """
        found = re.fullmatch(r"([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([a-zA-Z]*)", text.strip())
        if found is None or found[2] not in self.units or not 0 < (value := float(found[1])) < float("inf"):
            wanted = ", ".join(f"1{unit}" for unit in self.units)
            raise ConfigError(f"{text!r} is no limit in {self.unit}; write one such as {wanted}, or 0.7x of the model")
        return value * self.units[found[2]]

    def say(self, value: float) -> str:
        """A value in the unit that suits its size."""
        known = [unit for unit in SHOWN if unit in self.units]
        fitting = [unit for unit in known if abs(value) >= self.units[unit]] or known[:1]
        unit = fitting[-1] if known else ""
        return f"{value / self.units.get(unit, 1.0):.4g} {unit}".strip()


def one_row(program: Program) -> Tensor:
    """The first row of the example, for models of one input."""
    found: Tensor = next(tensors_in(program.example))[:1].clone()
    return found


def site_of(aggconv: AggConv) -> Site:
    """The place that a mixture has in its model.

    Raises:
        ConfigError: it was built by hand, and has none.
    """
    if aggconv.site is None:
        raise ConfigError(f"AggConv {aggconv.name!r} stands at no site of a traced model: use the cost 'taps'")
    return aggconv.site
