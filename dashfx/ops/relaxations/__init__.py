"""Relaxations, one a file: how architecture logits become mixing coefficients. Imports errors and plug-ins alone."""

from dashfx.ops.relaxations.base import Progress, Relaxation
from dashfx.ops.relaxations.simplex import Simplex
from dashfx.ops.relaxations.soft_gumbel import SoftGumbel
from dashfx.ops.relaxations.softmax import Softmax

RELAXATIONS: dict[str, type[Relaxation]] = {"soft-gumbel": SoftGumbel, "softmax": Softmax, "simplex": Simplex}

__all__ = ["RELAXATIONS", "Progress", "Relaxation", "Simplex", "SoftGumbel", "Softmax"]
