"""Evaluation data for a finished model: which parts of what is given are measured."""

from __future__ import annotations

from collections.abc import Callable

from dashfx.data import Data
from dashfx.data.parts import PARTS

Load = Callable[[str], Data]  # "whole" or "drawn", as `load_data` has it for `parts`


def to_measure(load: Load, part: str | None) -> tuple[Data, tuple[str, ...]]:
    """The data, and which of its parts are measured: all that it has, or `part`, which is drawn where it has none.

    Raises:
        DataError: bad data, or no such part.
    """
    data = load("whole")
    if part is not None:
        data.part(part)  # whether there is one of that name
        if part not in (data.given or PARTS):
            data = load("drawn")
    return data, (part,) if part else data.given or PARTS
