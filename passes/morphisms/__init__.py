"""Network morphisms: passes that make a network larger and leave what it computes as it is, one a file."""

from dashfx.passes.morphisms.base import Morphism
from dashfx.passes.morphisms.branch import Branch
from dashfx.passes.morphisms.deepen import Deepen
from dashfx.passes.morphisms.enlarge import Enlarge
from dashfx.passes.morphisms.finder import MorphFinder
from dashfx.passes.morphisms.named import MORPHISMS, applied, morph_of, morphed, pass_of
from dashfx.passes.morphisms.widen import Widen

__all__ = [
    "MORPHISMS",
    "Branch",
    "Deepen",
    "Enlarge",
    "MorphFinder",
    "Morphism",
    "Widen",
    "applied",
    "morph_of",
    "morphed",
    "pass_of",
]
