"""The aggregated conv: a mixture of convs that differ in kernel size and dilation."""

from dashfx.ops.aggconv import AggConv, drop_residuals, sites_of
from dashfx.ops.autotune.choose import Tuning, tune
from dashfx.ops.autotune.table import TuningTable
from dashfx.ops.beside import BesideConv
from dashfx.ops.hosted import AdaptedConv, HostedConv
from dashfx.ops.relaxations import Relaxation, SoftGumbel, Softmax
from dashfx.ops.ties import Tying, decisions_of, tie

__all__ = [
    "AdaptedConv",
    "AggConv",
    "BesideConv",
    "HostedConv",
    "Relaxation",
    "SoftGumbel",
    "Softmax",
    "Tuning",
    "TuningTable",
    "Tying",
    "decisions_of",
    "drop_residuals",
    "sites_of",
    "tie",
    "tune",
]
