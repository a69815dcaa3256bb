"""A spec (a path, a name, arrays or code) goes in; `Data` with train, validation and test parts comes out."""

from dashfx.data.base import Arrays, Data, Kind
from dashfx.data.load import load_data
from dashfx.data.normalisation import Normalisation

__all__ = ["Arrays", "Data", "Kind", "Normalisation", "load_data"]
