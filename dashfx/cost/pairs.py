"""Pairs of a genotype and a deployment under a specification: the one that is preferred most and holds it.

After NASAIC (Yang et al., "Co-Exploration of Neural Architectures and Heterogeneous ASIC Accelerator Designs Targeting
Multiple Tasks", DAC 2020), with ONNX Runtime's session in the place of the accelerator's design, and in the place of
its controller a walk from the best pair down, which needs few measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Held(Generic[T]):
    """A pair, and what it costs.

    Attributes:
        costs: specification -> what was measured.
        missed: by how much the specifications are missed, as a share of the one that is missed by the most; 0 where all
            hold.
    """

    pair: T
    costs: Mapping[str, float]
    missed: float


def first_held(
    pairs: Iterable[T], costs: Callable[[T], Mapping[str, float] | None], most: Mapping[str, float]
) -> Held[T] | None:
    """The first pair that holds; where none does, the one that misses by the least; None where no pair can be made.

    Args:
        pairs: those that are preferred come first.
        costs: measured; None for a pair that cannot be made. It is asked no further than the first that holds.
        most: specification -> the most that it may be, with the room that measuring again takes.
    """
    best: Held[T] | None = None
    for pair in pairs:
        found = costs(pair)
        if found is None:
            continue
        missed = max((found[name] / limit - 1 for name, limit in most.items()), default=0.0)
        held = Held(pair, found, max(missed, 0.0))
        if not held.missed:
            return held
        best = held if best is None or held.missed < best.missed else best
    return best
