"""Strategies by the names of a configuration: the one place where the text of its options becomes objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dashfx.blackbox.base import Optimiser
from dashfx.blackbox.named import OPTIMISERS
from dashfx.config.run import RunConfig
from dashfx.config.search import FROM_PYTHON, WIDTHS
from dashfx.errors import ConfigError, DashfxError
from dashfx.genotype import Genotype
from dashfx.plugins import find
from dashfx.strategies.base import Context, Control, Strategy, evaluator_of
from dashfx.strategies.evaluated.blackbox import BlackBox
from dashfx.strategies.evaluated.joint import JointSearch
from dashfx.strategies.evaluated.parametric import Parametric
from dashfx.strategies.evaluated.robust import Robust
from dashfx.strategies.gradient import DASH, Gradient
from dashfx.strategies.ladder import Ladder
from dashfx.strategies.morphing import Morphing
from dashfx.strategies.rules import RandomChoice, SelectionRule, Untouched
from dashfx.strategies.widths import Narrowing

STRATEGIES: dict[str, Any] = {
    "dash": Gradient,
    "ladder": Ladder,
    **OPTIMISERS,
    "joint": JointSearch,
    WIDTHS: Narrowing,
    "robust": Robust,
    "parametric": Parametric,
    "random": RandomChoice,
    "untouched": Untouched,
}


def strategy_of(config: RunConfig) -> Strategy:
    """The strategy with its parts; an optimiser becomes a black-box strategy, and a rule a control.

    Raises:
        ConfigError: a name that is not known, or an argument that its class does not take.
    """
    search, options = config.search, config.blackbox
    if search.strategy.endswith(FROM_PYTHON):
        return Elsewhere(config)
    parts = {each: getattr(training_of(config), each) for each in Gradient.__dataclass_fields__}
    sizes = {"population": options.population, "tournament": options.tournament}
    found = find("strategy", search.strategy, seed=config.seed, epochs=options.epochs, **sizes, **parts)
    return _narrowing(_strategy_of(found, config), config)


def _narrowing(found: Strategy, config: RunConfig) -> Strategy:
    """With widths behind the kernels that it chooses, where they are asked for."""
    gate = config.search.widths
    if isinstance(found, Narrowing):
        return replace(found, gate=find("gate", gate)) if gate else found
    return Narrowing(find("gate", gate), inner=found) if gate else found


def _strategy_of(found: Any, config: RunConfig) -> Strategy:
    search, options = config.search, config.blackbox
    if isinstance(found, Optimiser):
        evaluator = evaluator_of(options.evaluator, config, training=training_of(config))
        space = config.space
        return BlackBox(found, Morphing(evaluator, space.morph, space.morphs) if space.morph else evaluator)
    if isinstance(found, Robust | Parametric):
        return replace(found, evaluator=evaluator_of(options.evaluator, config, training=training_of(config)))
    if isinstance(found, SelectionRule):
        return Control(found)
    if not isinstance(found, Strategy):
        raise ConfigError(f"search.strategy {search.strategy!r} is no strategy, optimiser or rule of dashfx")
    return found


def strategy_told_by(config: RunConfig) -> Strategy:
    """The same for a run that is opened again: where its files are gone, what its configuration tells."""
    try:
        return strategy_of(config)
    except DashfxError:
        return Elsewhere(config)


def training_of(config: RunConfig) -> Gradient:
    """How mixtures are trained, by the options of `search`.

    Raises:
        ConfigError: as of `strategy_of`.
    """
    search, (start, end) = config.search, config.search.tau
    return Gradient(
        find("relaxation", search.relaxation, tau=start, end=None if end == start else end),
        find("update", search.update),
        find("rule", search.rule),
        tuple(find("monitor", text) for text in search.monitors),
        tuple(find("term", text) for text in search.terms),
        tuple(find("edit", text) for text in search.edits),
    )


def text_of(strategy: Strategy) -> str:
    """What a configuration says of a strategy that came from Python as an object."""
    shown = repr(strategy)
    return (type(strategy).__name__ if " at 0x" in shown else shown) + FROM_PYTHON


@dataclass(frozen=True)
class Elsewhere(Strategy):
    """The strategy of an earlier run, as far as the run's folder tells of it."""

    config: RunConfig

    @property
    def training(self) -> Gradient | None:
        return DASH if self.config.trains_supernet else None

    @property
    def judges_mixtures(self) -> bool:  # type: ignore[override]
        return self.config.search.judges_mixtures

    @property
    def is_control(self) -> bool:  # type: ignore[override]
        return self.config.search.is_control

    def check(self, config: RunConfig) -> None:
        raise ConfigError(
            f"search.strategy {self.config.search.strategy!r}: it was given from Python, as an object; "
            "give the same object to dashfx.search(..., strategy=)"
        )

    def search(self, context: Context) -> Genotype:
        self.check(context.config)
        raise AssertionError
