"""Updates of weights and architecture parameters, a training step each, one a file; and the latter's optimisers."""

from collections.abc import Callable

from torch.optim import Optimizer

from dashfx.strategies.updates.alpha_optimisers import adam, sgd
from dashfx.strategies.updates.amended import Amended
from dashfx.strategies.updates.base import Update
from dashfx.strategies.updates.expgrad import expgrad
from dashfx.strategies.updates.first_order import FirstOrder
from dashfx.strategies.updates.frank_wolfe import frank_wolfe
from dashfx.strategies.updates.normalised import Normalised
from dashfx.strategies.updates.one_level import OneLevel
from dashfx.strategies.updates.projected import Projected
from dashfx.strategies.updates.relaxed import Relaxed
from dashfx.strategies.updates.sampled.agents import Agents
from dashfx.strategies.updates.sampled.autohas import AutoHas
from dashfx.strategies.updates.sampled.sandwich import Sandwich
from dashfx.strategies.updates.sampled.two_path import TwoPath
from dashfx.strategies.updates.unrolled import Unrolled

UPDATES: dict[str, type[Update]] = {
    "one-level": OneLevel,
    "first-order": FirstOrder,
    "unrolled": Unrolled,
    "amended": Amended,
    "relaxed": Relaxed,
    "normalised": Normalised,
    "projected": Projected,
    "sandwich": Sandwich,
    "two-path": TwoPath,
    "agents": Agents,
    "autohas": AutoHas,
}
ALPHA_OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "expgrad": expgrad,
    "frank-wolfe": frank_wolfe,
}
OF_SIMPLEX = ("expgrad", "frank-wolfe")  # those that move coefficients in the place of logits

__all__ = [
    "ALPHA_OPTIMISERS",
    "OF_SIMPLEX",
    "UPDATES",
    "Agents",
    "Amended",
    "AutoHas",
    "FirstOrder",
    "Normalised",
    "OneLevel",
    "Projected",
    "Relaxed",
    "Sandwich",
    "TwoPath",
    "Unrolled",
    "Update",
    "adam",
    "expgrad",
    "frank_wolfe",
    "sgd",
]
