"""Joint spaces: genomes of several spaces side by side, such as a network and the recipe that trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from dashfx.blackbox.genomes import Positions, Space
from dashfx.errors import SpaceError


class Joint(Space[tuple[Any, ...]]):
    """Every combination of one genome of each space; a mutation changes one of them, by its share of the positions."""

    def __init__(self, *spaces: Space[Any]) -> None:
        if not spaces:
            raise SpaceError("a joint space of no spaces: give one at least")
        self.spaces = spaces
        ends = [0, *accumulate(len(space.levels()) for space in spaces)]
        self._slices = [slice(a, b) for a, b in pairwise(ends)]

    def sample(self, generator: torch.Generator) -> tuple[Any, ...]:
        return tuple(space.sample(generator) for space in self.spaces)

    def mutate(self, genome: tuple[Any, ...], generator: torch.Generator) -> tuple[Any, ...]:
        free = [sum(size > 1 for size in space.levels()) for space in self.spaces]
        if not any(free):
            return genome
        struck = int(torch.multinomial(torch.tensor(free, dtype=torch.float64), 1, generator=generator))
        pairs = enumerate(zip(self.spaces, genome, strict=True))
        return tuple(space.mutate(part, generator) if i == struck else part for i, (space, part) in pairs)

    def encode(self, genome: tuple[Any, ...]) -> Any:
        return [space.encode(part) for space, part in zip(self.spaces, genome, strict=True)]

    def decode(self, facts: Any) -> tuple[Any, ...]:
        return tuple(space.decode(part) for space, part in zip(self.spaces, facts, strict=True))

    def levels(self) -> tuple[int, ...]:
        return tuple(size for space in self.spaces for size in space.levels())

    def at(self, places: Sequence[int]) -> tuple[Any, ...]:
        return tuple(space.at(places[own]) for space, own in zip(self.spaces, self._slices, strict=True))

    def places(self, genome: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(place for space, part in zip(self.spaces, genome, strict=True) for place in space.places(part))

    def features(self, genome: tuple[Any, ...]) -> np.ndarray:
        return np.concatenate([space.features(part) for space, part in zip(self.spaces, genome, strict=True)])

    def facts(self, genome: tuple[Any, ...]) -> np.ndarray:
        return np.concatenate([space.facts(part) for space, part in zip(self.spaces, genome, strict=True)])


Recipe = tuple[tuple[str, Any], ...]  # options of a training, each with its value


class Recipes(Space[Recipe]):
    """One value of each option.

    Args:
        options: name -> the values that it may have, plain ones that JSON knows.
    """

    def __init__(self, options: Mapping[str, Sequence[Any]]) -> None:
        self.options = {name: tuple(values) for name, values in options.items()}
        self._positions = Positions(tuple(map(len, self.options.values())))

    def sample(self, generator: torch.Generator) -> Recipe:
        return self.at(self._positions.sample(generator))

    def mutate(self, genome: Recipe, generator: torch.Generator) -> Recipe:
        return self.at(self._positions.mutate(self.places(genome), generator))

    def encode(self, genome: Recipe) -> Any:
        return dict(genome)

    def decode(self, facts: Any) -> Recipe:
        return tuple((name, facts[name]) for name in self.options)

    def levels(self) -> tuple[int, ...]:
        return self._positions.sizes

    def at(self, places: Sequence[int]) -> Recipe:
        pairs = zip(self.options.items(), places, strict=True)
        return tuple((name, values[place]) for (name, values), place in pairs)

    def places(self, genome: Recipe) -> tuple[int, ...]:
        return tuple(self.options[name].index(value) for name, value in genome)
