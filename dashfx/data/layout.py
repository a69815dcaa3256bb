"""Raw x in whatever layout goes in; views (N, C, *size), a scale, and a note on how it was read come out.

The rules look at the shape and dtype of the train part alone and then hold for every part:

1. (N, L) is a set of one-channel series.
2. Three axes are series (N, C, L); or, where the dtype is uint8 or bool, grey images (N, H, W) with H above 1.
3. Four or five axes whose last is 1, 3 or 4 and shorter than each other axis but the first are channels-last.
4. Anything else of four or five axes is channels-first already.
5. uint8 is scaled from [0, 255] to [0, 1]; other dtypes keep their values.
"""

from __future__ import annotations

import numpy as np

from dashfx.data.readers.rows import Rows, Values
from dashfx.space import size_text


def channels_first(x: Values, like: Values) -> Values:
    """A view of `x` with axes (N, C, *size), by the rules for `like` (the train part's x); `Rows` have them already."""
    if isinstance(x, Rows) or isinstance(like, Rows):
        return x
    if is_channels_last(like):
        return np.moveaxis(x, -1, 1)
    if like.ndim == 2 or _is_grey(like):
        return x[:, None]
    return x


def scale_of(x: Values) -> float:
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def is_channels_last(x: np.ndarray) -> bool:
    return x.ndim >= 4 and x.shape[-1] in (1, 3, 4) and x.shape[-1] < min(x.shape[1:-1])


def describe(x: Values) -> str:
    """How x is read, with the way out where a reader may have meant something else."""
    shape = size_text(x.shape[1:])
    if isinstance(x, Rows):
        text = f"layout: rows of {shape} {x.dtype}, read when they are needed"
    elif is_channels_last(x):
        text = f"layout: rows of {shape} {x.dtype} read as channels-last, moved to channels-first"
    elif x.ndim == 2:
        text = f"layout: rows of {shape} {x.dtype} read as one-channel series"
    elif _is_grey(x):
        text = f"layout: rows of {shape} {x.dtype} read as grey images (series: give floats)"
    elif x.ndim == 3:
        text = f"layout: rows of {shape} {x.dtype} read as {x.shape[1]}-channel series (images: give N x 1 x H x W)"
    else:
        text = f"layout: rows of {shape} {x.dtype} read as channels-first"
    return text + (", scaled to [0, 1]" if x.dtype == np.uint8 else "")


def _is_grey(x: np.ndarray) -> bool:
    return x.ndim == 3 and x.dtype in (np.uint8, np.bool_) and x.shape[1] > 1
