"""Morphs: enlargements of a network as options of a genotype, plain facts that files hold and passes carry out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Morph:
    """One step from a network to a larger one that computes the same, see `dashfx.passes.morphisms`.

    Args:
        what: the pass, such as "widen".
        at: the conv that it is for, by the name that it has when earlier steps have been made.
        facts: its other arguments, in the order of their names.
    """

    kind: ClassVar[str] = "morph"
    what: str
    at: str
    facts: tuple[tuple[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "at": self.at, **dict(self.facts)}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Morph:
        rest = {name: value for name, value in facts.items() if name not in ("what", "at")}
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in rest.items()}
        return cls(str(facts["what"]), str(facts["at"]), tuple(sorted(plain.items())))

    def features(self) -> dict[str, float]:
        """The logarithm of each number that is a size."""
        return {name: math.log(value) for name, value in self.facts if type(value) is int and value > 0}

    def __str__(self) -> str:
        return " ".join([self.what, self.at, *(f"{name}={value}" for name, value in self.facts)])


def place(number: int) -> str:
    """The name of the n-th step's decision, from 0 on: decisions are in this order.

    >>> place(0), place(11)
    ('morph:01', 'morph:12')
    """
    return f"morph:{number + 1:02d}"


def steps_of(others: Mapping[str, Any]) -> tuple[Morph, ...]:
    """The morphs among the options of a genotype, in order."""
    return tuple(others[name] for name in sorted(others) if isinstance(others[name], Morph))


def placed(steps: Sequence[Morph]) -> dict[str, Morph]:
    """The options that a genotype has of these steps."""
    return {place(number): step for number, step in enumerate(steps)}
