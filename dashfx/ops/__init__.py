"""The aggregated conv: a mixture of convs that differ in kernel size and dilation."""

from dashfx.ops.aggconv import AggConv, sites_of
from dashfx.ops.relaxation import Relaxation, SoftGumbel, Softmax

__all__ = ["AggConv", "Relaxation", "SoftGumbel", "Softmax", "sites_of"]
