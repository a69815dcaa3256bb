"""The options of a run go in; what is wrong with them alone is refused here, before its data are read or made."""

from __future__ import annotations

from dashfx.config.run import BLACKBOX, RunConfig
from dashfx.cost.counts import load_cost
from dashfx.data.augment import check_augment
from dashfx.errors import ConfigError
from dashfx.proxy.named import load_proxy
from dashfx.strategies.genotype_table import GenotypeTable
from dashfx.strategies.rules import load_rule
from dashfx.task import LossOptions, check_names
from dashfx.train.processes import check_device
from dashfx.tune import check_choices

TABLES = (".json", ".csv")
SUPERNET, TRAIN = "supernet", "train"  # evaluators beside proxies and tables


def check_search(config: RunConfig) -> None:
    """Whether the options of a search fit together, and what they name is there.

    Raises:
        DashfxError: they do not, or it is not.
    """
    check_training(config)
    load_rule(config.search.rule)
    load_cost(config.search.cost)
    _check_sites(config)
    _check_evaluators(config)
    _check_budget(config)
    _check_tuning(config)


def check_training(config: RunConfig) -> None:
    """The same for options that a retraining has too.

    Raises:
        DashfxError: a device that is not here, a task, metric, loss or augmentation that is not known, or options of a
            checkpoint without one.
    """
    check_device(config.device, config.amp)
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
    if config.space.sites == "auto" and config.search.init != "grow":
        raise ConfigError(
            "space.sites=auto asks what new taps add to the model as it is; "
            "give --checkpoint, or --init grow, or search all sites"
        )


def _check_evaluators(config: RunConfig) -> None:
    search, options = config.search, config.blackbox
    if search.warm_start:
        if search.strategy != "dash":
            raise ConfigError(f"--warm-start {search.warm_start} is for strategy dash; with others use --evaluator")
        if search.warm_start == SUPERNET:
            raise ConfigError("--warm-start supernet: its weights are what follows; give a proxy, train or a table")
        _check_evaluator(search.warm_start)
    if search.strategy in BLACKBOX:
        _check_evaluator(options.evaluator)
    if search.strategy == "evolution" and options.tournament > options.population:
        raise ConfigError(
            f"a tournament of {options.tournament} out of a population of {options.population}: draw at most all of it"
        )


def _check_evaluator(name: str) -> None:
    if name.endswith(TABLES):
        GenotypeTable.load(name)
    elif name not in (SUPERNET, TRAIN):
        load_proxy(name)


def _check_budget(config: RunConfig) -> None:
    """A budget divides epochs, and some searches count evaluations."""
    strategy = config.search.strategy
    if config.budget and strategy in BLACKBOX and not config.trains_supernet:
        raise ConfigError(
            f"--budget divides epochs, and strategy {strategy} by {config.blackbox.evaluator} counts evaluations; "
            "leave it out and set blackbox.evaluations, or search by dash"
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
