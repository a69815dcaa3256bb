"""Monitors, one a file: after each epoch, whether a search goes on, stops, goes back, or changes."""

from dashfx.config.search import SearchConfig
from dashfx.strategies.monitors.base import Action, Context, Drop, Monitor, Rollback, Set, Stop
from dashfx.strategies.monitors.count import CountSites
from dashfx.strategies.monitors.curvature import Curvature
from dashfx.strategies.monitors.patience import Patience
from dashfx.strategies.monitors.rank_stable import RankStable
from dashfx.strategies.monitors.shrink import Shrink
from dashfx.strategies.monitors.spectrum import Spectrum

MONITORS: dict[str, type[Monitor]] = {
    "patience": Patience,
    "shrink": Shrink,
    "rank-stable": RankStable,
    "count": CountSites,
    "curvature": Curvature,
    "spectrum": Spectrum,
}

__all__ = [
    "MONITORS",
    "Action",
    "Context",
    "CountSites",
    "Curvature",
    "Drop",
    "Monitor",
    "Patience",
    "RankStable",
    "Rollback",
    "Set",
    "Shrink",
    "Spectrum",
    "Stop",
    "monitors_of",
]


def monitors_of(config: SearchConfig) -> list[Monitor]:
    """The monitors that the options ask for."""
    patience: list[Monitor] = [Patience(config.patience)] if config.patience else []
    return [*patience, Shrink(config.shrink)] if config.shrink else patience
