"""Rewrites of a traced model, one law a file, listed in the order of the flow."""

from dashfx.passes.annotate import Annotate
from dashfx.passes.base import AbstractPass, Edit, PassManager, PassResult
from dashfx.passes.canonicalise import Canonicalise
from dashfx.passes.combinators import attempt, choice, everywhere, repeat, seq
from dashfx.passes.discretise import Discretise
from dashfx.passes.lower import Lower
from dashfx.passes.morphisms import Branch, Deepen, Enlarge, Widen
from dashfx.passes.prune import Prune
from dashfx.passes.substitute import Substitute

__all__ = [
    "AbstractPass",
    "Annotate",
    "Branch",
    "Canonicalise",
    "Deepen",
    "Discretise",
    "Edit",
    "Enlarge",
    "Lower",
    "PassManager",
    "PassResult",
    "Prune",
    "Substitute",
    "Widen",
    "attempt",
    "choice",
    "everywhere",
    "repeat",
    "seq",
]
