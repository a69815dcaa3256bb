"""Form of raw rows: how a user has inputs before dashfx reads them, and what becomes of them, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from dashfx.space import size_text


@dataclass(frozen=True)
class RawForm:
    """One input as the user has it, and what becomes of it before it is normalised.

    Attributes:
        shape: of one row: of images (height, width, channels) as decoders give it, or (height, width) of grey ones; of
            sounds (channels, samples); of arrays as they were given; () where it is not known.
        dtype: "uint8", "float32", or "float64" where float32 would lose values beside a large offset.
        layout: where the channels stand, first or last of a row's axes, or there are none.
        scale: what values are multiplied by.
        bands, rate: of waves, how many bands their log-mel spectrograms have, and samples a second; 0 for no spectra.
        outside: what has to be done to the user's files to get such rows, and to answers, in words.
        noise: it stands for data that are not here.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32", "float64"] = "float32"
    layout: Literal["first", "last", "none"] = "first"
    scale: float = 1.0
    bands: int = 0
    rate: int = 0
    outside: tuple[str, ...] = ()
    noise: bool = False

    def __str__(self) -> str:
        where = {"first": "channels first", "last": "channels last", "none": "one channel"}[self.layout]
        return f"{self.dtype} rows of {size_text(self.shape)}, {where}"

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "noise"}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> RawForm:
        """Raises a ValueError, KeyError or TypeError for anything that `to_dict` has not given."""
        shape, outside = tuple(facts["shape"]), tuple(map(str, facts["outside"]))
        known = {"dtype": ("uint8", "float32", "float64"), "layout": ("first", "last", "none")}
        if not shape or not all(type(n) is int and n > 0 for n in shape):
            raise ValueError(f"shape {shape}")
        if any(facts[name] not in values for name, values in known.items()):
            raise ValueError(f"{facts['dtype']}, {facts['layout']}")
        bands, rate = int(facts["bands"]), int(facts["rate"])
        return cls(shape, facts["dtype"], facts["layout"], float(facts["scale"]), bands, rate, outside)

    def as_users(self, x: np.ndarray) -> np.ndarray:
        """Rows (N, C, *size) as the user has them."""
        if self.layout == "last":
            x = np.moveaxis(x, 1, -1)
        elif self.layout == "none":
            x = x[:, 0]
        return np.ascontiguousarray(x, self.dtype)
