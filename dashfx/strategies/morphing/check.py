"""Checks of `space.morph`: what does not go with grown networks is refused before anything is read."""

from __future__ import annotations

from dashfx.blackbox.named import OPTIMISERS
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, did_you_mean
from dashfx.passes.morphisms import MORPHISMS
from dashfx.strategies.base import Strategy
from dashfx.strategies.morphing.growing import Morphing

STRATEGIES = ("evolution", "random-search", "local")  # which know no positions


def check_morphs(config: RunConfig, strategy: Strategy) -> None:
    """Whether the options fit a search by morphisms, where they ask for one.

    Raises:
        ConfigError: they do not.
    """
    kinds = config.space.morph
    if not kinds:
        return
    said = f"--morph {','.join(kinds)}"
    for kind in kinds:
        if kind not in MORPHISMS:
            raise ConfigError(
                f"{said}: no morphism {kind!r}{did_you_mean(kind, MORPHISMS)}; there are {', '.join(MORPHISMS)}"
            )
    evaluator, optimiser = strategy.evaluator, getattr(strategy, "optimiser", None)
    known = {kind for name, kind in OPTIMISERS.items() if name not in STRATEGIES}
    if not isinstance(evaluator, Morphing) or type(optimiser) in known:
        raise ConfigError(
            f"{said} grows networks step by step, which strategy {config.search.strategy} does not: take --strategy "
            f"{', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}"
        )
    if evaluator.inner.training is not None or not (evaluator.inner.trains or hasattr(evaluator.inner, "proxy")):
        raise ConfigError(
            f"{said}: evaluator {evaluator.name} knows the kernels of one network alone; take --evaluator train, or a "
            "proxy such as naswot"
        )
    _check_others(config, said)


def _check_others(config: RunConfig, said: str) -> None:
    space, options = config.space, config.blackbox
    refused = {
        "--kernels, --dilations or --families": space.kernels or space.dilations or space.families or space.candidates,
        "--max": config.search.budgets,
        "--objectives": options.costs,
        "--random-control": config.random_control,
        "--retrain-args": config.retrain.model_args,
        "blackbox.start": options.start,
        "blackbox.cache": options.cache,
    }
    hints = {
        "--kernels, --dilations or --families": "kernels grow by the morphism enlarge",
        "--random-control": "the control is --strategy random-search",
    }
    for option, given in refused.items():
        if given:
            why = hints.get(option, "it knows the convs of the untouched network alone")
            raise ConfigError(f"{said} does not go with {option}: {why}; leave it out")
