"""Spaces of genotypes within budgets: draws and mutations of another space, of which those that cost too much go."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dashfx.blackbox.genomes import GenotypeSpace, Listed, Space, Within, kernels_apart
from dashfx.cost.budgets import Limits
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype

TRIES = 200  # draws of which one may hold; then a program chooses by random scores, which is no uniform draw


class Limited(Within[Genotype]):
    """The genotypes of a space that hold all limits."""

    def __init__(self, inner: GenotypeSpace, limits: Limits) -> None:
        super().__init__(inner)
        self._whole, self._limits = inner, limits

    def sample(self, generator: torch.Generator) -> Genotype:
        for _ in range(TRIES):
            if self._limits.hold(found := self._inner.sample(generator)):
                return found
        scores = {
            name: dict(zip(row, torch.rand(len(row), generator=generator).tolist(), strict=True))
            for name, row in self._whole.choices.items()
        }
        return self._limits.best(scores, self._whole.alike)

    def mutate(self, genome: Genotype, generator: torch.Generator) -> Genotype:
        for _ in range(TRIES):
            if self._limits.hold(found := self._inner.mutate(genome, generator)):
                return found
        return self.sample(generator)

    def at(self, places: Sequence[int]) -> Genotype:
        """What is too dear becomes the nearest genotype that is not, by the sum over the sites of `kernels_apart`."""
        if self._limits.hold(wanted := self._inner.at(places)):
            return wanted
        scores = {
            name: {c: -kernels_apart(Genotype({name: wanted[name]}), Genotype({name: c})) for c in row}
            for name, row in self._whole.choices.items()
        }
        return self._limits.best(scores, self._whole.alike)


def limited(space: Space[Genotype], limits: Limits | None) -> Space[Genotype]:
    """The part of a space that holds the limits.

    Raises:
        ConfigError: a table of genotypes none of which does.
    """
    if limits is None:
        return space
    if isinstance(space, Listed):
        if not any(map(limits.hold, space.genomes)):
            raise ConfigError(f"budgets {limits}: no genotype of the table holds them; allow more")
        return space.only(limits.hold)
    assert isinstance(space, GenotypeSpace)
    return Limited(space, limits)
