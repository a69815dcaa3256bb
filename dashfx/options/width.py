"""Widths, options: how many channels a layer keeps, and which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dashfx.errors import GenotypeError


@dataclass(frozen=True)
class Width:
    """How many channels a layer keeps, the option of kind `width`.

    Args:
        of: how many it has.
        channels: the places of those that stay, in order.

    Raises:
        GenotypeError: places that are not there, or none.
    """

    of: int
    channels: tuple[int, ...]
    kind: ClassVar[str] = "width"

    def __post_init__(self) -> None:
        numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in (self.of, *self.channels))
        ordered = numbers and list(self.channels) == sorted(set(self.channels))
        if not ordered or not self.channels or not 0 <= self.channels[0] <= self.channels[-1] < self.of:
            raise GenotypeError(
                f"width {self.channels!r} of {self.of!r}: name places from 0 on, in order, at least one"
            )

    def __str__(self) -> str:
        return f"{len(self.channels)} of {self.of} channels"

    def to_dict(self) -> dict[str, Any]:
        return {"of": self.of, "channels": list(self.channels)}

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> Width:
        return Width(facts["of"], tuple(facts["channels"]))

    def features(self) -> Mapping[str, float]:
        """In order of size."""
        return {"log width": math.log(len(self.channels))}


def placed(widths: Mapping[str, Width]) -> dict[str, Width]:
    """The options that a genotype has of these widths, by layer."""
    return {f"{name}:{Width.kind}": width for name, width in widths.items()}
