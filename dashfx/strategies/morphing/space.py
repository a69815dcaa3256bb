"""Space of grown networks: a genome is the untouched network and the steps from it, of which each can be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dashfx.blackbox.genomes import Space
from dashfx.errors import DashfxError, PassError
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.options.base import Decision, read, written
from dashfx.options.morph import Morph, placed, steps_of
from dashfx.passes.morphisms import MorphFinder, applied
from dashfx.space import Candidate

TRIES = 20  # steps that are proposed until one can be made
BACK = 0.25  # the share of mutations that take the last step back
KEPT = 16  # networks that are held at a time

Steps = tuple[Morph, ...]


class MorphSpace(Space[Genotype]):
    """Networks of at most `most` steps; a mutation makes another one, or takes the last one back.

    Args:
        root: the untouched network.
        own: the kernels of its sites.
        kinds: of the steps.
    """

    def __init__(self, root: Program, own: Genotype, kinds: Sequence[str], most: int) -> None:
        self._own, self._most, self._finder = own, most, MorphFinder(kinds)
        self._programs: dict[Steps, Program] = {(): root}
        self._decisions: dict[Steps, dict[str, list[Decision[Any]]]] = {}

    def sample(self, generator: torch.Generator) -> Genotype:
        """Of one step to half of the most, each number alike."""
        genome = self._own
        for _ in range(1 + _below(max(1, self._most // 2), generator)):
            genome = self._grown(genome, generator)
        return genome

    def mutate(self, genome: Genotype, generator: torch.Generator) -> Genotype:
        steps, coin = steps_of(genome.others), float(torch.rand((), generator=generator))
        if steps and (len(steps) >= self._most or coin < BACK):
            return self.of(steps[:-1])
        return self._grown(genome, generator)

    def encode(self, genome: Genotype) -> Any:
        kernels = {name: choice.to_dict() for name, choice in genome.items()}
        return {**kernels, **{name: written(option) for name, option in genome.others.items()}}

    def decode(self, facts: Any) -> Genotype:
        others = {name: read(each) for name, each in facts.items() if "kind" in each}
        return Genotype({n: Candidate.from_dict(each) for n, each in facts.items() if n not in others}, others=others)

    def holds(self, genome: Genotype) -> bool:
        steps = steps_of(genome.others)
        try:
            return dict(genome) == dict(self._own) and len(steps) <= self._most and bool(self.program(steps))
        except DashfxError:
            return False

    def of(self, steps: Steps) -> Genotype:
        """The genome of these steps."""
        return Genotype(dict(self._own), others=placed(steps))

    def program(self, steps: Steps) -> Program:
        """The network after these steps.

        Raises:
            PassError: one of them cannot be made.
        """
        if steps not in self._programs:
            before = self.program(steps[:-1])
            self._programs[steps] = applied(Program(before.graph_module), steps[-1:])
            for old in list(self._programs)[1:-KEPT]:  # the untouched one stays
                del self._programs[old]
        return self._programs[steps]

    def decisions(self, steps: Steps) -> dict[str, list[Decision[Any]]]:
        """Kind -> the steps that may come next, conv by conv."""
        if steps not in self._decisions:
            found, _ = self._finder.decisions(self.program(steps))
            kinds = {each.name.rpartition(":")[2] for each in found}
            self._decisions[steps] = {
                kind: [each for each in found if each.name.endswith(f":{kind}")] for kind in sorted(kinds)
            }
        return self._decisions[steps]

    def _grown(self, genome: Genotype, generator: torch.Generator) -> Genotype:
        """One step more, of a kind, a conv and an option drawn evenly; the same genome where none can be made."""
        steps = steps_of(genome.others)
        kinds = list(self.decisions(steps).values())
        for _ in range(TRIES if kinds else 0):
            places = kinds[_below(len(kinds), generator)]
            options = places[_below(len(places), generator)].options
            further = (*steps, options[_below(len(options), generator)])
            try:
                self.program(further)
            except PassError:
                continue
            return self.of(further)
        return genome


def _below(size: int, generator: torch.Generator) -> int:
    return int(torch.randint(size, (), generator=generator))
