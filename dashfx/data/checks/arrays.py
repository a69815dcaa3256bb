"""Checks of arrays: one `DataError` names the array, the row and the remedy where a `Source` cannot be."""

from __future__ import annotations

import numpy as np

from dashfx.data.base import pieces
from dashfx.data.readers.rows import Values
from dashfx.data.source import Source
from dashfx.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
RANKS = "(N, L), (N, C, L), (N, H, W), (N, C, H, W), (N, H, W, C) or (N, C, D, H, W)"


def check_source(source: Source) -> None:
    """Holds the parts to each other and each array to its rank, length and finiteness.

    Raises:
        DataError: an empty part, x and y of different lengths, text in x, a wrong rank, parts that differ in shape or
            in being uint8, NaN or infinity.
    """
    lead = source.lead
    first = source.parts[lead][0]
    for part, (x, y) in source.parts.items():
        where = source.where("x", part)
        if x.dtype.kind in "US":
            raise DataError(f"{where} holds text; x must be numbers")
        if not 2 <= x.ndim <= 5:
            raise DataError(f"{where} has shape {x.shape}; a model with convs needs {RANKS}")
        if y.ndim == 0:
            raise DataError(f"{source.where('y', part)} is a single value; it needs one entry for each row of x")
        if len(x) != len(y):
            raise DataError(f"{where} has {len(x)} rows, y_{part} has {len(y)}; they must be the same rows")
        if x.size == 0 or y.size == 0:
            raise DataError(
                f"{where} is empty (x {x.shape}, y {y.shape}); leave a part out rather than give it no rows"
            )
        if x.shape[1:] != first.shape[1:]:
            raise DataError(
                f"{where} has rows of shape {x.shape[1:]}, x_{lead} of {first.shape[1:]}; make them the same"
            )
        if (x.dtype == np.uint8) != (first.dtype == np.uint8):
            raise DataError(f"{where} is {x.dtype}, x_{lead} {first.dtype}: uint8 is scaled to [0, 1]; use one dtype")
        check_finite(x, where)
        check_finite(y, source.where("y", part), missing=y.ndim > 1)


def check_finite(array: Values, where: str, *, missing: bool = False) -> None:
    """Looks at `array` piece by piece, so that a memory-mapped one need not fit in memory.

    Args:
        missing: NaN marks a value that is not known, and is allowed.

    Raises:
        DataError: NaN, infinity or what becomes infinity in float32, with the number of rows and the first of them.
    """
    if array.dtype.kind != "f":
        return
    bad: list[int] = []
    for part in pieces(len(array), array.shape[1:]):
        piece = array[part]
        broken = np.isinf(piece) if missing else ~np.isfinite(piece)
        if piece.dtype.itemsize > 4:
            broken |= np.abs(piece) > LARGEST
        rows = broken.reshape(len(piece), -1).any(1)
        bad.extend((part.start + np.flatnonzero(rows)).tolist())
    if bad:
        what = "infinity" if missing else "NaN or infinity"
        what += f" (or values beyond {LARGEST:.1e}, float32's largest)" if array.dtype.itemsize > 4 else ""
        raise DataError(
            f"{where} has {what} in {len(bad)} of {len(array)} rows (first: row {bad[0]}); "
            "remove those rows or fill the values"
        )
