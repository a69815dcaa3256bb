"""Search by morphisms: networks grow step by step, and go on with the weights of those that they were made from."""

from dashfx.strategies.morphing.check import check_morphs
from dashfx.strategies.morphing.growing import Morphing
from dashfx.strategies.morphing.space import MorphSpace

__all__ = ["MorphSpace", "Morphing", "check_morphs"]
