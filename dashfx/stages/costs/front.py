"""Front, the stage: trained mixtures go in; their choices over one cost come out, each measured and validated."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from torch import nn

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limits, read_budget
from dashfx.cost.counts import conv_macs
from dashfx.cost.precision import UNKNOWN
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.plugins import name_of
from dashfx.run.outcome.front import Front, Point, SiteTime
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.space import Candidate
from dashfx.stages.compare import metric_of
from dashfx.stages.costs.drops import measured_drops
from dashfx.stages.costs.limits import choices_of, latencies_of, limits_for
from dashfx.strategies.base import Strategy
from dashfx.supernet import lower
from dashfx.train.batchnorm import CALIBRATION_BATCHES, recalibrate

STAGE = "front"


def front_cost(config: RunConfig) -> str:
    """The cost of the front: the one asked for, that of the first budget, or latency."""
    budgets = config.search.budgets
    return config.search.pareto_cost or (budgets[0].rpartition("=")[0].strip() if budgets else "latency")


def check_front(config: RunConfig, strategy: Strategy) -> None:
    """Whether there can be one, before anything is read.

    Raises:
        ConfigError: no mixtures to choose from, or no such cost.
    """
    if not config.search.pareto:
        return
    if not strategy.judges_mixtures:
        raise ConfigError(
            f"--pareto {config.search.pareto} chooses again from trained mixtures, and search.strategy="
            f"{config.search.strategy} trains none: use --strategy dash"
        )
    read_budget(f"{front_cost(config)}=1x")


def fronted(run: Run, supernet: nn.Module) -> Front | None:
    """The choices that the mixtures prefer, from the cheapest on; None where none are asked for.

    Budgets do not bind it: it is there to see what more or less would cost.
    """
    points = run.config.search.pareto
    training = run.strategy.training
    if not points or training is None:
        return None
    sites, name = sites_of(supernet), front_cost(run.config)
    with run.stage(STAGE, f"at most {points} choices over {name}"):
        limits = _limits(run, supernet, name)
        (limit,) = limits.each
        scores = training.rule.preferred(sites)
        found = limits.front(scores, points, decisions_of(sites))
        made = [_point(run, supernet, each, limits, scores_of(each, scores)) for each in found]
        cost = limit.budget.cost
    return Front(name_of("cost", cost), cost.unit, tuple(sorted(made, key=lambda each: each.cost)))


def scores_of(genotype: Genotype, scores: Mapping[str, Mapping[Candidate, float]]) -> float:
    return sum(scores[name][choice] for name, choice in genotype.items())


def _limits(run: Run, supernet: nn.Module, cost: str) -> Limits:
    """What the candidates cost; what budgets know is not measured again."""
    known = [each for each in run.limits.each if name_of("cost", each.budget.cost) == cost] if run.limits else []
    if known and run.limits:
        places = [run.limits.each.index(known[0])]
        measure = run.limits.measure
        one = (lambda choice: [measure(choice)[places[0]]]) if measure else None
        drops = measured_drops(run, supernet) if run.limits.is_precise else UNKNOWN
        return Limits((known[0],), drops, measure=one)
    search = run.config.search.model_copy(update={"budgets": (f"{cost}=1x",)})
    asked = run.with_config(run.config.model_copy(update={"search": search}))
    return limits_for(asked, choices_of(supernet), GenotypeSpace.of(sites_of(supernet)))


def _point(run: Run, supernet: nn.Module, genotype: Genotype, limits: Limits, score: float) -> Point:
    (limit,) = limits.each
    value = limits.measure(genotype)[0] if limits.measure else limit.total(genotype)
    model = lower(supernet, genotype, "inherit")
    data, size = run.inputs.data, run.config.search.batch_size
    loader = data.loader("train", size, seed=run.config.seed, drop_last=True)
    recalibrate(model, (x for x, _ in islice(loader, CALIBRATION_BATCHES)))
    return Point(genotype, value, limit.budget.cost.say(value), score, metric_of(run, model, "valid"))


def site_times(run: Run, genotype: Genotype, sites: Mapping[str, Site]) -> tuple[SiteTime, ...]:
    """What each conv takes before and after, where a budget has timed them; else nothing."""
    costs = latencies_of(run.limits)
    if not costs:
        return ()
    pairs = {name: (site, genotype.get(name, site.original)) for name, site in sites.items()}
    costs[0].prepare(sites, {name: [choice] for name, (_, choice) in pairs.items()})
    return tuple(
        SiteTime(
            name,
            (costs[0].at(site, site.original), conv_macs(site, site.original)),
            (costs[0].at(site, choice), conv_macs(site, choice)),
        )
        for name, (site, choice) in pairs.items()
    )
