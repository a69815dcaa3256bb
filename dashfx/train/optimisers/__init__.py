"""Optimisers of weights that torch does not have, one a file."""

from dashfx.train.optimisers.lion import Lion, lion
from dashfx.train.optimisers.swats import Swats, swats

__all__ = ["Lion", "Swats", "lion", "swats"]
