"""Layout of axes: views (N, C, *size) of x, whatever its axes are, a scale, and a note on how it was read.

The rules look at the shape and dtype of the leading part alone and then hold for every part:

1. Where `reading.layout` says where channels stand, nothing is guessed.
2. (N, L) is a set of one-channel series.
3. Three axes are series (N, C, L); or, where the dtype is uint8 or bool, grey images (N, H, W) with H above 1.
4. Four or five axes whose last is 1, 3 or 4 and shorter than each other axis but the first are channels-last.
5. Anything else of four or five axes is channels-first already.
6. uint8 is scaled from [0, 255] to [0, 1]; other dtypes keep their values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dashfx.data.readers.rows import Rows, Values
from dashfx.data.reading import Layout, Reading
from dashfx.data.source import Pair, Source
from dashfx.errors import DataError
from dashfx.space import size_text

TOO_MANY = 4  # a series of so many times more channels than samples was hardly meant


class ChannelsLast(Rows):
    """Rows whose last axis, the channels, is moved to the front."""

    def __init__(self, rows: Rows) -> None:
        super().__init__((len(rows), rows.shape[-1], *rows.shape[1:-1]), rows.dtype)
        self.rows, self.slow, self.random = rows, rows.slow, rows.random

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        return np.moveaxis(self.rows.row(number, generator), -1, 0)


def laid_out(source: Source, reading: Reading) -> Source:
    """The source with its arrays as `reading.layout` says that they are meant; unchanged where it says nothing.

    Raises:
        DataError: records or images, whose channels have their place, or a wrong number of axes.
    """
    if reading.layout is None:
        return source
    parts: dict[str, Pair] = {
        part: (_moved(x, reading.layout, source.where("x", part)), y) for part, (x, y) in source.parts.items()
    }
    return replace(source, parts=parts)


def _moved(x: Values, layout: Layout, where: str) -> Values:
    if not isinstance(x, np.ndarray | Rows) or (isinstance(x, Rows) and layout == "none"):
        raise DataError(f"{where}: reading.layout is for arrays, whose channels could stand anywhere; leave it out")
    axes = x.ndim - 1 + (layout == "none")
    if not 2 <= axes <= 4:
        raise DataError(f"{where} has shape {x.shape}, which does not go with reading.layout={layout}")
    if layout == "first":
        return x
    if isinstance(x, Rows):
        return ChannelsLast(x)
    return np.moveaxis(x, -1, 1) if layout == "last" else x[:, None]


def channels_first(x: Values, like: Values, layout: Layout | None = None) -> Values:
    """A view of `x` with axes (N, C, *size), by the rules for `like` (the lead part's x); `Rows` have them already."""
    if layout is not None or isinstance(x, Rows) or isinstance(like, Rows):
        return x
    if is_channels_last(like):
        return np.moveaxis(x, -1, 1)
    if like.ndim == 2 or is_grey(like):
        return x[:, None]
    return x


def scale_of(x: Values) -> float:
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def is_channels_last(x: np.ndarray) -> bool:
    return x.ndim >= 4 and x.shape[-1] in (1, 3, 4) and x.shape[-1] < min(x.shape[1:-1])


def describe(x: Values, layout: Layout | None = None) -> str:
    """How x is read, with the way out where a reader may have meant something else."""
    shape = size_text(x.shape[1:])
    if layout is not None:
        text = f"layout: rows of {shape} {x.dtype}, channels first, as reading.layout={layout} has it"
    elif isinstance(x, Rows):
        text = f"layout: rows of {shape} {x.dtype}, read when they are needed"
    elif is_channels_last(x):
        text = f"layout: rows of {shape} {x.dtype} read as channels-last, moved to channels-first"
    elif x.ndim == 2:
        text = f"layout: rows of {shape} {x.dtype} read as one-channel series"
    elif is_grey(x):
        text = f"layout: rows of {shape} {x.dtype} read as grey images (series: give floats, or reading.layout=first)"
    elif x.ndim == 3:
        text = f"layout: rows of {shape} {x.dtype} read as {x.shape[1]}-channel series ({_otherwise(x)})"
    else:
        text = f"layout: rows of {shape} {x.dtype} read as channels-first"
    return text + (", scaled to [0, 1]" if x.dtype == np.uint8 else "")


def _otherwise(x: Values) -> str:
    if x.shape[1] >= TOO_MANY * x.shape[2]:
        return f"{x.shape[1]} channels of {x.shape[2]} samples: if it is (N, time, channels), say reading.layout=last"
    return "images: give N x 1 x H x W; (N, time, channels): say reading.layout=last"


def is_grey(x: np.ndarray) -> bool:
    return x.ndim == 3 and x.dtype in (np.uint8, np.bool_) and x.shape[1] > 1
