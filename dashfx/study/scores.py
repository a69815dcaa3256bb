"""Scores that a search itself gives to genotypes, against what these come to when each is trained alone.

After Yu et al., "Evaluating the Search Phase of Neural Architecture Search", ICLR 2020: a search whose scores do not
rank networks as their own trainings do has found what it found by other means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from dashfx.config.run import RunConfig
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, sites_of
from dashfx.plugins import published
from dashfx.proxy import Correlation, correlate
from dashfx.run.folder import existing_folder
from dashfx.run.prepare import prepare
from dashfx.stages.costs.mixtures import mixtures_of
from dashfx.stages.evaluators import ByProxy
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import Searching
from dashfx.strategies.base import evaluator_of
from dashfx.train.progress import QUIET

Score = Callable[[Genotype], float]  # larger where the search thinks better of it


@published("Yu et al., Evaluating the Search Phase of Neural Architecture Search, ICLR 2020", "46")
def rank_correlation(
    score: Score, truth: Mapping[Genotype, float], maximise: bool = True, seed: int = 0
) -> Correlation:
    """How a score orders genotypes whose results are known: Kendall's tau and Spearman's rho with their intervals.

    Args:
        truth: genotype -> what it came to when it was trained alone.

    Raises:
        ProxyError: fewer than three genotypes, or all of one result.
    """
    sign = 1 if maximise else -1
    return correlate([score(each) for each in truth], [sign * value for value in truth.values()], seed=seed)


def score_of(folder: Path) -> Score | None:
    """The score by which the search of a finished run orders genotypes; None where it has none that can be asked.

    Of trained mixtures it is the mean logarithm of the chosen coefficients, of a proxy what that says.
    Weights of a supernet and short trainings are not asked again.
    """
    _, config = existing_folder(folder)
    if config.search.judges_mixtures:
        _, supernet, _ = mixtures_of(folder)
        return likelihood(sites_of(supernet))
    if config.search.asks_nobody:
        return None
    return _evaluated(config)


def _evaluated(config: RunConfig) -> Score | None:
    evaluator = evaluator_of(config.blackbox.evaluator, config)
    if not isinstance(evaluator, ByProxy) or evaluator.training is not None:
        return None
    assert config.model is not None and config.data is not None  # the command line gave both
    run = prepare(config.model, config.data, config=config, observer=QUIET)
    evaluating = evaluator.begin(Searching(run, rewritten(run)[1]))
    sign = 1 if evaluating.maximise else -1
    return lambda genotype: sign * evaluating.value(genotype)


def likelihood(sites: Mapping[str, AggConv]) -> Score:
    """The mean over the sites of log a_i, i the genotype's choice; minus infinity where one has left."""
    logs = {
        name: {c: math.log(a) if a > 0 else -math.inf for c, a in zip(site.candidates, coef, strict=True)}
        for name, site in sites.items()
        for coef in [site.coefficients().tolist()]
    }
    return lambda genotype: fmean(row.get(genotype[name], -math.inf) for name, row in logs.items())


def distinct(pairs: Sequence[tuple[Genotype, float]]) -> dict[Genotype, float]:
    """Genotype -> the mean of its results."""
    found: dict[Genotype, list[float]] = {}
    for genotype, value in pairs:
        found.setdefault(genotype, []).append(value)
    return {genotype: fmean(values) for genotype, values in found.items()}
