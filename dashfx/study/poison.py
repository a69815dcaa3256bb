"""Poisoned spaces: candidates that can do next to nothing, many times over, and how often a search falls for them.

Wu et al., "Poisoning the Search Space in Neural Architecture Search", 2021. A search that looks at what candidates do
passes them over; one that draws takes them as often as there are copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dashfx.plugins import published
from dashfx.space import Candidate, SearchSpace

SMALLEST = 1e-9  # the share of a kernel's numbers that a poisoned conv keeps: one number


@published("Wu et al., Poisoning the Search Space in Neural Architecture Search, 2021", "29")
def poisoned(space: SearchSpace, copies: int) -> SearchSpace:
    """The space with so many candidates more at every site: sparse convs of one number, which differ in name alone.

    They have the first candidate's kernel size and dilation.
    """
    return replace(
        space,
        candidates=(*space.candidates, *_poison(space.candidates[0], copies)),
        overrides=tuple((glob, (*own, *_poison(own[0], copies))) for glob, own in space.overrides),
    )


def poisoned_share(genotype: Mapping[str, Candidate]) -> float:
    """The share of sites whose choice is poison."""
    return sum(is_poison(choice) for choice in genotype.values()) / len(genotype)


def is_poison(choice: Candidate) -> bool:
    """Whether `poisoned` has added a candidate like this one."""
    name, _, share = choice.family.partition(":share=")
    return name == "sparse" and bool(share) and float(share) < 1e3 * SMALLEST


def _poison(like: Candidate, copies: int) -> tuple[Candidate, ...]:
    names = [f"sparse:share={SMALLEST * (number + 1):g}" for number in range(copies)]
    return tuple(Candidate(like.kernel, like.dilation, name) for name in names)
