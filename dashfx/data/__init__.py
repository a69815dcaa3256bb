"""Data: a spec (a path, a name, arrays or code) becomes train, validation and test parts."""

from dashfx.data.base import Arrays, Data, Kind
from dashfx.data.load import load_data
from dashfx.data.normalisation import Normalisation

__all__ = ["Arrays", "Data", "Kind", "Normalisation", "load_data"]
