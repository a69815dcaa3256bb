"""Black-box optimisers by the names that they have in a configuration."""

from __future__ import annotations

from dashfx.blackbox.base import Optimiser
from dashfx.blackbox.evolution import Evolution
from dashfx.blackbox.local import LocalSearch
from dashfx.blackbox.random import RandomSearch

OPTIMISERS: dict[str, type[Optimiser]] = {
    "evolution": Evolution,
    "random-search": RandomSearch,
    "local": LocalSearch,
}
