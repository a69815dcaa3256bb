"""The aggregated conv: a mixture of convs that differ in kernel size and dilation."""

from dashfx.ops.aggconv import AggConv
from dashfx.ops.relaxation import Relaxation, Softmax, SoftGumbel

__all__ = ["AggConv", "Relaxation", "SoftGumbel", "Softmax"]
