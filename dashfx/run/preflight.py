"""Preflight checks: what is wrong with a run's options alone is refused before its data are read or made."""

from __future__ import annotations

from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.cost.budgets import read_budgets
from dashfx.data.augment import check_augment
from dashfx.errors import ConfigError
from dashfx.plugins import find
from dashfx.space import DENSE
from dashfx.strategies.base import Strategy, evaluator_of
from dashfx.strategies.morphing import check_morphs
from dashfx.strategies.named import strategy_of
from dashfx.task import LossOptions, check_names
from dashfx.train.processes import check_device
from dashfx.train.recipe import check_recipe
from dashfx.tune import check_choices


def check_search(config: RunConfig, given: Strategy | None = None) -> None:
    """Whether the options of a search fit together, and what they name is there.

    Args:
        given: the strategy, where it came from Python as an object.

    Raises:
        DashfxError: they do not, or it is not.
    """
    check_training(config)
    _check_sites(config)
    if given is not None:
        _check_parts(config)
    _check_strategy(config, given or strategy_of(config))
    _check_tuning(config)
    read_budgets(config.search.budgets)


def check_training(config: RunConfig, given: Strategy | None = None) -> None:
    """The same for options that a retraining has too.

    Raises:
        DashfxError: a device that is not here, a task, metric, loss or augmentation that is not known, or options of a
            checkpoint without one.
    """
    check_device(config.device, config.amp)
    check_recipe(config.retrain)
    check_names(config.task, LossOptions(**config.loss.model_dump()))
    if config.augment:
        check_augment(config.augment)
    if config.checkpoint:
        return
    for name in ("new_head", "checkpoint_key"):
        if getattr(config, name):
            raise ConfigError(f"{name} says how a checkpoint is read: give --checkpoint, or leave it out")
    if config.retrain.weights == "pretrained":
        raise ConfigError(
            "--weights pretrained starts from a checkpoint's kernels: give --checkpoint, or --weights inherit or fresh"
        )


def _check_sites(config: RunConfig) -> None:
    space = config.space
    named = space.named_families().union(*(each.named_families() for each in space.overrides.values()))
    for name in sorted(named):
        find("family", name)
    if space.sites == "auto" and named - {DENSE}:
        raise ConfigError(
            f"space.sites=auto asks what new taps of dense kernels add, and the space has {', '.join(sorted(named))}; "
            "search all sites, or dense kernels alone"
        )
    if config.space.sites == "auto" and config.search.init != "grow":
        raise ConfigError(
            "space.sites=auto asks what new taps add to the model as it is; "
            "give --checkpoint, or --init grow, or search all sites"
        )


def _check_parts(config: RunConfig) -> None:
    """A strategy that is an object has its own parts, so options that name some would do nothing."""
    usual = SearchConfig()
    for name in ("relaxation", "update", "rule", "monitors", "terms", "edits", "tau"):
        if getattr(config.search, name) != getattr(usual, name):
            raise ConfigError(
                f"search.{name} does nothing beside a strategy that is an object: say it there, as in Gradient(rule=)"
            )


def _check_strategy(config: RunConfig, strategy: Strategy) -> None:
    search = config.search
    check_recipe(search)
    find("alpha optimiser", search.alpha_optimizer)
    find("cost", search.cost)
    check_morphs(config, strategy)
    strategy.check(config)
    _check_repeats(config, strategy)
    if search.warm_start:
        if not strategy.judges_mixtures:
            raise ConfigError(f"--warm-start {search.warm_start} is for strategy dash; with others use --evaluator")
        if evaluator_of(search.warm_start, config).training is not None or search.warm_start == "supernet":
            raise ConfigError("--warm-start supernet: its weights are what follows; give a proxy, train or a table")
    if config.blackbox.costs and strategy.evaluator is None:
        raise ConfigError(
            f"--objectives {','.join(config.blackbox.objectives)}: strategy {search.strategy} evaluates no genotypes "
            "one by one; take --strategy nsga2 or linas, or limit a cost with --max"
        )
    if config.budget and strategy.evaluator is not None and strategy.training is None:
        raise ConfigError(
            f"--budget divides epochs, and strategy {search.strategy} by {config.blackbox.evaluator} counts "
            "evaluations; leave it out and set blackbox.evaluations, or search by dash"
        )


def _check_repeats(config: RunConfig, strategy: Strategy) -> None:
    """What is repeated or searched at another width has to be of use."""
    search = config.search
    if search.seeds > 1 and not strategy.is_control and (not strategy.judges_mixtures or search.warm_start):
        why = f"--warm-start {search.warm_start}" if strategy.judges_mixtures else f"strategy {search.strategy}"
        raise ConfigError(
            f"search.seeds={search.seeds} trains mixtures again from other starts, which {why} does not allow; "
            "leave it out, or run the search again with another --seed"
        )
    if search.as_retrained and config.checkpoint and config.retrain.model_args:
        raise ConfigError(
            "search.as_retrained searches the network that retrain.model_args make, which the checkpoint does not fit; "
            "leave one of the three out"
        )


def _check_tuning(config: RunConfig) -> None:
    """What the trials vary, as far as it is not the model's own."""
    if not config.tune.wanted:
        return
    check_choices(config.tune.space, config)
    choices = config.tune.space.get("augment", ())
    for spec in choices if isinstance(choices, tuple) else ():
        if spec:
            check_augment(spec)
