"""Relaxations, one a file: how architecture logits become mixing coefficients. Imports nothing of dashfx but errors."""

from dashfx.ops.relaxations.base import Relaxation
from dashfx.ops.relaxations.soft_gumbel import SoftGumbel
from dashfx.ops.relaxations.softmax import Softmax

__all__ = ["Relaxation", "SoftGumbel", "Softmax"]
