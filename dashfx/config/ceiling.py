"""The ceiling on a supernet: a text such as `params=4x,macs=5x` goes in, multiples of the untouched model come out."""

from __future__ import annotations

import re
from dataclasses import dataclass

OFF = "none"
DEFAULT = "params=4x,macs=5x"
NAMES = ("params", "macs")


@dataclass(frozen=True)
class Ceiling:
    """How much larger than the untouched model a supernet may be.

    Attributes:
        params: its parameters, and at a conv those of all its options, over the conv's own.
        macs: the multiply-adds of a training step.
    """

    params: float = float("inf")
    macs: float = float("inf")


def read_ceiling(text: str) -> Ceiling | None:
    """The ceiling that a text names; None for "none".

    >>> read_ceiling("params=4x, macs=5x"), read_ceiling("none")
    (Ceiling(params=4.0, macs=5.0), None)

    Raises:
        ValueError: another form.
    """
    if text.strip() == OFF:
        return None
    found = dict[str, float]()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*([0-9]+\.?[0-9]*|\.[0-9]+)x\s*", part)
        if match is None or match[1] not in NAMES or match[1] in found or float(match[2]) < 1:
            raise ValueError(
                f"write {DEFAULT}, one of the two, or {OFF}; factors are of the untouched model, at least 1x"
            )
        found[match[1]] = float(match[2])
    return Ceiling(**found)
