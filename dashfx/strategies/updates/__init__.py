"""Updates of weights and architecture parameters, a training step each, one a file; and the latter's optimisers."""

from collections.abc import Callable

from torch.optim import Optimizer

from dashfx.strategies.updates.alpha_optimisers import adam, sgd
from dashfx.strategies.updates.base import Update
from dashfx.strategies.updates.first_order import FirstOrder
from dashfx.strategies.updates.one_level import OneLevel

UPDATES: dict[str, type[Update]] = {"one-level": OneLevel, "first-order": FirstOrder}
ALPHA_OPTIMISERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adam": adam}

__all__ = ["ALPHA_OPTIMISERS", "UPDATES", "FirstOrder", "OneLevel", "Update", "adam", "sgd"]
