"""Spaces of genomes, which a black-box search draws from: hashable genomes are sampled, mutated and written as JSON."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from dashfx.blackbox.features import of_choices
from dashfx.errors import SpaceError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, decisions_of
from dashfx.ops.ties import alive
from dashfx.space import DENSE, Candidate

G = TypeVar("G", bound=Hashable)


@dataclass(frozen=True)
class Graph:
    """A genome as nodes and edges.

    Attributes:
        labels: of each node, what was chosen there.
        edges: pairs of places in `labels`, from producer to consumer.
    """

    labels: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @classmethod
    def chain(cls, labels: Sequence[str]) -> Graph:
        """Each node reads the one before."""
        return cls(tuple(labels), tuple((i, i + 1) for i in range(len(labels) - 1)))


class Space(ABC, Generic[G]):
    """All genomes; every draw comes from the generator given."""

    @abstractmethod
    def sample(self, generator: torch.Generator) -> G:
        """A uniform draw."""

    @abstractmethod
    def mutate(self, genome: G, generator: torch.Generator) -> G:
        """A genome near this one, and another one wherever the space holds another."""

    @abstractmethod
    def encode(self, genome: G) -> Any:
        """The genome as JSON has it."""

    @abstractmethod
    def decode(self, facts: Any) -> G:
        """The genome that `encode` wrote."""

    def levels(self) -> tuple[int, ...]:
        """The number of choices at each position, for what goes by positions; see `at`.

        Raises:
            SpaceError: its genomes are not made of positions.
        """
        raise SpaceError(
            f"the genomes of {type(self).__name__} have no positions, which this optimiser goes by; "
            "search them by evolution, local or random-search"
        )

    def at(self, places: Sequence[int]) -> G:
        """The genome with these choices, each below its level; the nearest one where it is not in the space."""
        raise SpaceError(f"{type(self).__name__} has no positions")

    def places(self, genome: G) -> tuple[int, ...]:
        """The choices that the genome has; `at` of them is the genome."""
        raise SpaceError(f"{type(self).__name__} has no positions")

    def below(self, genome: G, other: G) -> bool:
        """Whether the genome is another one that is at most this other in every choice that has an order."""
        return False

    def holds(self, genome: G) -> bool:
        """Whether the genome is one of this space."""
        try:
            return self.at(self.places(genome)) == genome
        except (KeyError, ValueError):  # another site, another choice
            return False

    def crossover(self, a: G, b: G, generator: torch.Generator) -> G:
        """A genome with each position from either parent, by a fair coin."""
        pairs = list(zip(self.places(a), self.places(b), strict=True))
        coins = torch.randint(2, (len(pairs),), generator=generator).tolist()
        return self.at([pair[coin] for pair, coin in zip(pairs, coins, strict=True)])

    def one_hot(self, genome: G) -> np.ndarray:
        """(sum of levels,): a 1 for each choice made."""
        rows = zip(self.levels(), self.places(genome), strict=True)
        return np.concatenate([np.arange(size) == place for size, place in rows]).astype(float)

    def features(self, genome: G) -> np.ndarray:
        """(n_features,): what a predictor of values sees of the genome; `one_hot` where nothing better is known."""
        return self.one_hot(genome)

    def graph(self, genome: G) -> Graph:
        """The genome as a graph; a chain of its choices, by their places, where nothing better is known."""
        return Graph.chain([str(place) for place in self.places(genome)])

    def facts(self, genome: G) -> np.ndarray:
        """(n_facts,): what of its size is known without an evaluation, such as the number of its taps.

        Where nothing better is known, the mean place among the options.
        """
        shares = [place / max(1, n - 1) for place, n in zip(self.places(genome), self.levels(), strict=True)]
        return np.array([np.mean(shares)])


@dataclass(frozen=True)
class Positions(Space[tuple[int, ...]]):
    """Genomes of one choice a position, each a number below that position's size.

    A mutation redraws each position with probability 1/n among the other choices, and one position where none came up:
    about one change a child (Real et al., AAAI 2019).

    Raises:
        SpaceError: no positions, or one without choices.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise SpaceError(f"positions of sizes {self.sizes}: each needs at least one choice")

    def sample(self, generator: torch.Generator) -> tuple[int, ...]:
        return tuple(_below(size, generator) for size in self.sizes)

    def mutate(self, genome: tuple[int, ...], generator: torch.Generator) -> tuple[int, ...]:
        free = [place for place, size in enumerate(self.sizes) if size > 1]
        if not free:
            return genome
        hit = torch.rand(len(free), generator=generator) < 1 / len(free)
        places = [place for place, struck in zip(free, hit.tolist(), strict=True) if struck]
        child = list(genome)
        for place in places or [free[_below(len(free), generator)]]:
            size = self.sizes[place]
            child[place] = (genome[place] + 1 + _below(size - 1, generator)) % size
        return tuple(child)

    def encode(self, genome: tuple[int, ...]) -> Any:
        return list(genome)

    def decode(self, facts: Any) -> tuple[int, ...]:
        return tuple(facts)

    def levels(self) -> tuple[int, ...]:
        return self.sizes

    def at(self, places: Sequence[int]) -> tuple[int, ...]:
        return tuple(places)

    def places(self, genome: tuple[int, ...]) -> tuple[int, ...]:
        return genome

    def below(self, genome: tuple[int, ...], other: tuple[int, ...]) -> bool:
        return genome != other and all(a <= b for a, b in zip(genome, other, strict=True))


class GenotypeSpace(Space[Genotype]):
    """One candidate per site.

    Args:
        choices: site name -> its candidates.
        alike: the sites that choose together, each in one group; by default each chooses for itself.
    """

    def __init__(
        self, choices: Mapping[str, Sequence[Candidate]], alike: Sequence[Sequence[str]] | None = None
    ) -> None:
        self.choices = {name: tuple(candidates) for name, candidates in choices.items()}
        self.alike = [[name] for name in self.choices] if alike is None else [list(group) for group in alike]
        self._positions = Positions(tuple(len(self.choices[group[0]]) for group in self.alike))

    @classmethod
    def of(cls, sites: Mapping[str, AggConv]) -> GenotypeSpace:
        """The candidates of a supernet that are alive, and its ties."""
        return cls({name: alive(site) for name, site in sites.items()}, decisions_of(sites))

    def sample(self, generator: torch.Generator) -> Genotype:
        return self._genotype(self._positions.sample(generator))

    def mutate(self, genome: Genotype, generator: torch.Generator) -> Genotype:
        return self._genotype(self._positions.mutate(self.places(genome), generator))

    def encode(self, genome: Genotype) -> Any:
        return {name: choice.to_dict() for name, choice in genome.items()}

    def decode(self, facts: Any) -> Genotype:
        return Genotype({name: Candidate.from_dict(choice) for name, choice in facts.items()})

    def levels(self) -> tuple[int, ...]:
        return self._positions.sizes

    def at(self, places: Sequence[int]) -> Genotype:
        return self._genotype(tuple(places))

    def places(self, genome: Genotype) -> tuple[int, ...]:
        return tuple(self.choices[group[0]].index(genome[group[0]]) for group in self.alike)

    def below(self, genome: Genotype, other: Genotype) -> bool:
        """A candidate is at most another one that has all of its taps."""
        return genome != other and all(choice.is_within(other[name]) for name, choice in genome.items())

    def features(self, genome: Genotype) -> np.ndarray:
        """Of each decision, and a summary of all: see `dashfx.blackbox.features`."""
        return of_choices([genome[group[0]] for group in self.alike])

    def graph(self, genome: Genotype) -> Graph:
        """A chain of the decisions, in the order of the sites."""
        return Graph.chain([str(genome[group[0]]) for group in self.alike])

    def facts(self, genome: Genotype) -> np.ndarray:
        """The logarithm of all taps, the mean logarithms of dilation and span, the share of families but dense."""
        rows = np.array([list(choice.features().values()) for choice in genome.values()])
        others = np.mean([choice.family != DENSE for choice in genome.values()])
        return np.array([np.log(np.exp(rows[:, 0]).sum()), rows[:, 1].mean(), rows[:, 2].mean(), others])

    def _genotype(self, places: tuple[int, ...]) -> Genotype:
        pairs = zip(self.alike, places, strict=True)
        chosen = {name: self.choices[group[0]][place] for group, place in pairs for name in group}
        return Genotype({name: chosen[name] for name in self.choices})


class Within(Space[G]):
    """A part of another space, whose genomes are written, numbered and described as there."""

    def __init__(self, inner: Space[G]) -> None:
        self._inner = inner

    def encode(self, genome: G) -> Any:
        return self._inner.encode(genome)

    def decode(self, facts: Any) -> G:
        return self._inner.decode(facts)

    def levels(self) -> tuple[int, ...]:
        return self._inner.levels()

    def at(self, places: Sequence[int]) -> G:
        return self._inner.at(places)

    def places(self, genome: G) -> tuple[int, ...]:
        return self._inner.places(genome)

    def below(self, genome: G, other: G) -> bool:
        return self._inner.below(genome, other)

    def features(self, genome: G) -> np.ndarray:
        return self._inner.features(genome)

    def graph(self, genome: G) -> Graph:
        return self._inner.graph(genome)

    def facts(self, genome: G) -> np.ndarray:
        return self._inner.facts(genome)


class Listed(Within[G]):
    """A few genomes out of a larger space, such as those that a table holds; a mutation steps to one of the nearest.

    Args:
        inner: the space that writes the genomes.
        distance: between two genomes; those that are as far as the `nearest`-th neighbour count as near too.
    """

    def __init__(
        self, genomes: Sequence[G], inner: Space[G], distance: Callable[[G, G], float], nearest: int = 5
    ) -> None:
        if not genomes:
            raise SpaceError("a list of no genomes: nothing can be drawn from it")
        super().__init__(inner)
        self.genomes, self._distance, self._nearest = tuple(genomes), distance, nearest
        self._held = frozenset(self.genomes)

    def only(self, wanted: Callable[[G], bool]) -> Listed[G]:
        """Those that are wanted."""
        return Listed([each for each in self.genomes if wanted(each)], self._inner, self._distance, self._nearest)

    def sample(self, generator: torch.Generator) -> G:
        return self.genomes[_below(len(self.genomes), generator)]

    def mutate(self, genome: G, generator: torch.Generator) -> G:
        others = [(self._distance(genome, other), other) for other in self.genomes if other != genome]
        if not others:
            return genome
        limit = sorted(far for far, _ in others)[: self._nearest][-1]
        near = [other for far, other in others if far <= limit]
        return near[_below(len(near), generator)]

    def at(self, places: Sequence[int]) -> G:
        wanted = self._inner.at(places)
        if wanted in self._held:
            return wanted
        return min(self.genomes, key=lambda genome: self._distance(wanted, genome))


def kernels_apart(a: Genotype, b: Genotype) -> float:
    """How far two genotypes of the same sites lie from each other: ratios of spans and of kernel sizes, in logarithms,
    and 1 for each site of another family.

    The number of sites that differ would not do: of random genotypes nearly all differ at nearly all sites.
    """
    sizes = ((x, y) for name in a for x, y in ((a[name].span, b[name].span), (a[name].kernel, b[name].kernel)))
    others = sum(a[name].family != b[name].family for name in a)
    return others + sum(abs(math.log(m / n)) for x, y in sizes for m, n in zip(x, y, strict=True))


def _below(size: int, generator: torch.Generator) -> int:
    return int(torch.randint(size, (), generator=generator))
