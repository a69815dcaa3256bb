"""A searched run goes in; its choices come out, retrained by the tuned recipe or the plain one: the better of these.

A few short trials hardly tell recipes apart, so their winner has to beat the options as they were once more, in full.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import nn

from dashfx.errors import DivergedError
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.folder import write_text
from dashfx.run.run import Run
from dashfx.stages.retrain import lowered, plan, retrain
from dashfx.stages.tune import tune_run
from dashfx.strategies.rules import load_rule
from dashfx.tune import PLAIN_STAGE, Finals, Tuned, is_plain, with_values

Recipe = tuple[Run, Genotype]  # options of retraining in their run, and what their rule has chosen


@dataclass(frozen=True)
class Retrained:
    """A recipe and what it came to.

    Attributes:
        run: with the recipe's options, and the model that they retrain.
        genotype: as the recipe's rule reads the mixtures.
        valid: the model's metric on the validation part.
    """

    run: Run
    genotype: Genotype
    model: nn.Module
    valid: float


def tuned(run: Run, supernet: nn.Module, genotype: Genotype) -> Tuned:
    """The options of retraining that did best on the validation part, and all trials.

    What the study has found stands in the run's folder, where a resumed run takes it from.
    """

    def start(tried: Run) -> nn.Module:
        return lowered(tried.unheard(), supernet, _choices(run, tried, supernet, genotype))

    path = run.folder.tuned if run.folder else None
    known = path is not None and path.is_file()
    found = Tuned.load(path) if path is not None and known else tune_run(run, genotype, start)
    if path is not None and run.is_main and not known:
        write_text(path, found.to_json())
    run.note(f"tune: trial {found.number + 1} of {len(found.trials)} is the best, {found}")
    run.accelerator.wait_for_everyone()
    return found


def retrained(run: Run, supernet: nn.Module, genotype: Genotype) -> Retrained:
    """The choices after training in full; where the options were tuned, by the recipe that is better on validation.

    Of equals the plain one, as it needs no explanation. The run's folder gets the choices of the one that is kept.
    """
    found = run.tuned
    if found is None:
        return _by_recipe((run, genotype), supernet, "retrain")
    better = run.with_config(with_values(run.config, found.values))
    recipe = better, _choices(run, better, supernet, genotype)
    if run.config.tune.finalist and not is_plain(found.values, run.config, run.for_retraining().fresh_model()):
        best, finals = _better_of(recipe, (run, genotype), supernet)
        found = replace(found, finals=finals)
    else:
        best = _by_recipe(recipe, supernet, "retrain")
    best.run.tuned = found
    if run.folder and run.is_main:
        write_text(run.folder.tuned, found.to_json())
        write_text(run.folder.genotype, best.genotype.to_json())
    return best


def _better_of(tuned: Recipe, plain: Recipe, supernet: nn.Module) -> tuple[Retrained, Finals]:
    """The recipe that is better after a whole retraining, and how both did; one that diverges only then has lost."""
    run, best = plain[0], None
    try:
        best = _by_recipe(tuned, supernet, "retrain")
    except DivergedError:
        run.note("retrain: the tuned recipe, which came through its trial, diverges in the whole retraining")
    rival = _by_recipe(plain, supernet, PLAIN_STAGE)
    wins = best is not None and run.task.better(best.valid, rival.valid)
    finals = Finals(best.valid if best else math.nan, rival.valid, "tuned" if wins else "plain")
    run.note(f"finalists, retrained in full: {finals}")
    return best if best and wins else rival, finals


def _by_recipe(recipe: Recipe, supernet: nn.Module, stage: str) -> Retrained:
    run, genotype = recipe
    model, options, wide = lowered(run, supernet, genotype), run.config.retrain, run.for_retraining()
    what = f"{options.weights} weights" + (", the recipe as it was" if stage == PLAIN_STAGE else "")
    with run.stage(stage, plan(what, options.epochs)):
        return Retrained(wide, genotype, *retrain(wide, model, stage))


def _choices(run: Run, tried: Run, supernet: nn.Module, genotype: Genotype) -> Genotype:
    """What the run has chosen, or what another rule reads from the same mixtures."""
    rule = tried.config.search.rule
    return genotype if rule == run.config.search.rule else load_rule(rule).select(sites_of(supernet))
