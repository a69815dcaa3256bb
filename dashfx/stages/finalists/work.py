"""Work of training in multiply-adds, which makes the trainings of different models comparable.

A step costs what the model's forward pass costs for its rows; backward passes cost about twice as much, for every model
alike, and are left out. A supernet's mixture costs what the cheapest of its algorithms is estimated to take
(`dashfx.ops.autotune.estimate`), in multiply-adds of a dense conv. So the work is counted, not timed: it is the same on
every machine and in a run that was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from torch import Tensor, nn

from dashfx.config.search import WIDTHS
from dashfx.cost.counts import conv_macs, flops_of
from dashfx.ops import AggConv, BesideConv, sites_of
from dashfx.ops.autotune.estimate import estimates
from dashfx.options.morph import steps_of
from dashfx.passes.morphisms import morphed
from dashfx.run.run import Run
from dashfx.stages.evaluators import ByTraining
from dashfx.strategies.morphing import Morphing
from dashfx.train.pace import of_supernet
from dashfx.train.progress import Epoch


def macs_of(model: nn.Module, x: Tensor) -> float:
    """Multiply-adds of a plain model for one row; at least one, so that ratios exist.

    Args:
        x: (1, C, *size).
    """
    return max(1.0, flops_of(model, x) / 2)


def step_work(run: Run, supernet: nn.Module) -> float:
    """Multiply-adds of a supernet for one row, as it is before the search."""
    plain, sites = macs_of(run.inputs.for_search().given_model(), run.inputs.example[:1]), traced_sites(supernet)
    return max(1.0, plain - own_work(sites) + sum(map(mixture_work, sites)))


def traced_sites(supernet: nn.Module) -> list[AggConv]:
    return [aggconv for aggconv in sites_of(supernet).values() if aggconv.site is not None]


def own_work(sites: Sequence[AggConv]) -> int:
    """Multiply-adds of the sites with their own kernels, for one row."""
    return sum(conv_macs(each.site, each.site.original) for each in sites if each.site)


def choice_ratio(run: Run, supernet: nn.Module) -> float:
    """What an epoch of a chosen model costs over one of the untouched model's, by the mean over its candidates."""
    plain, sites = macs_of(run.inputs.for_search().given_model(), run.inputs.example[:1]), traced_sites(supernet)
    chosen = sum(fmean(conv_macs(each.site, choice) for choice in each.candidates) for each in sites if each.site)
    return (plain - own_work(sites) + chosen) / plain


def mixture_work(aggconv: AggConv) -> float:
    """Multiply-adds of a mixture for one row, over all its calls, by the algorithm that promises the least."""
    site = aggconv.site
    assert site is not None  # it stands in a traced model
    shapes = [(1, site.in_channels, *size) for size in site.input_sizes]
    each = [estimates(aggconv.spec, shape, site.out_channels)[0][1] for shape in shapes]
    own = conv_macs(site, site.original) if isinstance(aggconv, BesideConv) else 0
    return own + sum(each) * site.calls / len(each)


def epoch_ratio(run: Run, supernet: nn.Module) -> float:
    """What an epoch of the search costs, over one of the untouched model's retraining."""
    options, plain = run.config, run.inputs.for_retraining().start_model()
    rows = options.search.fraction / options.retrain.fraction
    return rows * step_work(run, supernet) / macs_of(plain, run.inputs.example[:1])


def work_of(history: Sequence[Epoch], rows: int, macs: float) -> float:
    """Of a training: its steps times the rows of a step times the multiply-adds of one."""
    return sum(epoch.steps for epoch in history) * rows * macs


def search_work(run: Run, supernet: float) -> float:
    """Of the search, one-by-one discretisation and short trainings of genotypes included.

    Args:
        supernet: multiply-adds of the supernet for one row.
    """
    config, inputs = run.config, run.inputs
    history = [epoch for epoch in run.ledger.history if of_supernet(epoch.stage)]
    work = work_of(history, config.search.batch_size, supernet)
    if narrower := [epoch for epoch in run.ledger.history if epoch.stage == WIDTHS]:  # at the whole model's cost
        plain = macs_of(inputs.for_search().given_model(), inputs.example[:1])
        work += work_of(narrower, config.search.batch_size, plain)
    if isinstance(run.strategy.evaluator, Morphing):
        return work + grown_work(run)
    if isinstance(run.strategy.evaluator, ByTraining):
        steps = int(config.retrain.fraction * len(inputs.data.train)) // config.retrain.batch_size
        whole = sum(row.fidelity for row in run.ledger.evaluations)
        rows = round(whole * run.strategy.evaluator.epochs * steps * config.retrain.batch_size)
        work += rows * macs_of(inputs.for_search().given_model(), inputs.example[:1])
    return work


def grown_work(run: Run) -> float:
    """Of the short trainings of grown networks, each by what its own network takes."""
    assert run.strategy.evaluator is not None
    options, inputs = run.config.retrain, run.inputs
    steps = int(options.fraction * len(inputs.data.train)) // options.batch_size
    rows, example = run.strategy.evaluator.trains * steps * options.batch_size, inputs.example
    model, each = inputs.for_search().given_model(), dict.fromkeys(row.genome for row in run.ledger.evaluations)
    macs = [macs_of(morphed(model, example, steps_of(genome.others)), example[:1]) for genome in each]
    return rows * sum(macs)
