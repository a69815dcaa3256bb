"""Black-box optimisers by the names that they have in a configuration."""

from __future__ import annotations

from dashfx.blackbox.base import Optimiser
from dashfx.blackbox.optimisers.differential import Differential
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.blackbox.optimisers.hyperband import Bohb
from dashfx.blackbox.optimisers.local import LocalSearch
from dashfx.blackbox.optimisers.partial_order import PartialOrder
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.blackbox.optimisers.samplers import ByOptuna, Nsga2, Tpe
from dashfx.blackbox.surrogates.linas import Linas
from dashfx.blackbox.surrogates.surrogate import BySurrogate

OPTIMISERS: dict[str, type[Optimiser]] = {
    "evolution": Evolution,
    "random-search": RandomSearch,
    "local": LocalSearch,
    "differential": Differential,
    "tpe": Tpe,
    "nsga2": Nsga2,
    "optuna": ByOptuna,
    "surrogate": BySurrogate,
    "linas": Linas,
    "bohb": Bohb,
    "partial-order": PartialOrder,
}
