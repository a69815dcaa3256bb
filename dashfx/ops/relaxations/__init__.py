"""Relaxations, one a file: how architecture logits become mixing coefficients. Imports errors and plug-ins alone."""

from dashfx.ops.relaxations.base import Progress, Relaxation
from dashfx.ops.relaxations.categorical import Categorical
from dashfx.ops.relaxations.gates import Gates
from dashfx.ops.relaxations.gdas import GDAS
from dashfx.ops.relaxations.grouped_drop import GroupedDrop
from dashfx.ops.relaxations.max_w import MaxW
from dashfx.ops.relaxations.simplex import Simplex
from dashfx.ops.relaxations.soft_gumbel import SoftGumbel
from dashfx.ops.relaxations.softmax import Softmax
from dashfx.ops.relaxations.sparse_noisy import SparseNoisy
from dashfx.ops.relaxations.together import Together

RELAXATIONS: dict[str, type[Relaxation]] = {
    "soft-gumbel": SoftGumbel,
    "softmax": Softmax,
    "simplex": Simplex,
    "sparse-noisy": SparseNoisy,
    "max-w": MaxW,
    "grouped-drop": GroupedDrop,
    "gdas": GDAS,
    "categorical": Categorical,
    "gates": Gates,
}

__all__ = [
    "GDAS",
    "RELAXATIONS",
    "Categorical",
    "Gates",
    "GroupedDrop",
    "MaxW",
    "Progress",
    "Relaxation",
    "Simplex",
    "SoftGumbel",
    "Softmax",
    "SparseNoisy",
    "Together",
]
