"""Decision on validation: the last rung is trained, and the best finalist is kept, of equals the plainest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dashfx.frontend.tracing import Program
from dashfx.run.folder import write_text
from dashfx.run.result import LONGER, UNTOUCHED, WIDER
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.costs.clock import CLOSING, by_clock, files_of
from dashfx.stages.finalists.base import Decision, Start, Trained
from dashfx.stages.finalists.lengths import LONGER_STAGE, planned_epochs
from dashfx.stages.finalists.lineup import Lineup, controls, longer, other_proposals, own_kernels, wider
from dashfx.stages.finalists.training import train_finalists
from dashfx.stages.finalists.widths import wider_arguments
from dashfx.stages.retrain import epochs_of
from dashfx.stages.rewrite import retrained_sites
from dashfx.tune import Tuned

PLAINEST = (UNTOUCHED, LONGER, WIDER)  # before anything searched; of searched models the earlier is the likelier one


def decided(run: Run, lineup: Lineup, start: Start, program: Program, tuned: Tuned | None = None) -> Decision:
    """Train the searched models, then their controls by the recipe that won, and keep the best on validation."""
    trained = train_finalists(run, lineup.recipes, start, needed=not lineup.others)
    best, tuned = decide_recipe(run, trained, tuned)
    run = run.with_config(best.finalist.recipe).for_retraining()
    others = train_finalists(run, other_proposals(run, lineup), start, needed=best.model is None)
    searched = best_of(run, [best, *others])
    short = lineup.race.short if lineup.race else ()
    decision = Decision(run, (*trained, *others), searched, searched, {}, tuned, short, lineup.before)
    decision = _with_controls(decision, lineup, start, retrained_sites(run, program), program)
    kept = best_of(run, [searched, *_controls_of(decision)])
    return _written(replace(decision, kept=kept), program)


def _with_controls(
    decision: Decision, lineup: Lineup, start: Start, sites: Mapping[str, Site], program: Program
) -> Decision:
    """With the controls of the searched model: the longer one last, whose length follows from all the others."""
    run, genotype = decision.run, decision.searched.finalist.genotype
    plain = train_finalists(run, controls(run, lineup, sites, genotype), start, needed=False)
    decision = replace(decision, trained=(*decision.trained, *plain))
    if not lineup.controls:
        return decision
    own = own_kernels(sites, genotype)
    decision = replace(decision, unchanged=genotype == own)
    if arguments := wider_arguments(run, decision.searched.model):
        wide = train_finalists(run, [wider(run, arguments, own)], start, needed=False)
        decision = replace(decision, trained=(*decision.trained, *wide))
    untouched = next((each for each in plain if each.finalist.origin == UNTOUCHED and each.model), None)
    if untouched is None:
        return decision
    wanted = _longer_is_wanted(run, untouched)
    longest = min(lineup.longest, _epochs_left(run, untouched)) if wanted else 0
    candidate = longer(run, untouched, decision.led_to(decision.searched), longest) if wanted else None
    epochs = epochs_of(run.with_config(candidate.recipe)).most if candidate else 0
    bounds = epochs_of(run)
    planned = planned_epochs(run.config, bounds, 1 + len(lineup.others), longer=epochs)
    run.session.observer.planned(planned, at_most=not bounds.given)
    long = train_finalists(run, [candidate], start, needed=False) if candidate else []
    return replace(decision, trained=(*decision.trained, *long))


def _longer_is_wanted(run: Run, untouched: Trained) -> bool:
    """Whether more training may change what the untouched model is worth, or is asked for."""
    wanted = run.config.finalists.longer
    return wanted is True or (wanted == "auto" and not has_converged(untouched))


def _epochs_left(run: Run, untouched: Trained) -> float:
    """How long a training of the untouched model can be, by what its epochs took and a budget of wall time has left."""
    if not run.config.budget:
        return math.inf
    epochs = [epoch.seconds for done in untouched.seeds for epoch in done.history]
    each = len(untouched.seeds) * sum(epochs) / max(1, len(epochs))
    closing = files_of(run.config) * CLOSING
    return by_clock(run, LONGER_STAGE, lambda left: max(0, int((left - closing) / max(each, 1e-6))))


def has_converged(each: Trained) -> bool:
    """Whether its first training has, as far as its epochs tell; of too few nothing is known, so more may help."""
    found = each.seeds[0].convergence
    return found is not None and found.converged


def _controls_of(decision: Decision) -> list[Trained]:
    return [each for each in decision.trained if each.finalist.origin != decision.searched.finalist.origin]


def _written(decision: Decision, program: Program) -> Decision:
    """The decision with the recipe and the sites of the kept model; its recipe and the search's choice on the disk."""
    kept, searched = decision.kept, decision.searched
    run = decision.run.with_config(kept.finalist.recipe).for_retraining()
    if folder := run.session.writes:
        other = kept.finalist.origin in (LONGER, WIDER)
        if decision.tuned or run.config.budget or other:
            write_text(folder.retrained, run.config.to_yaml())
        if kept is not searched:
            write_text(folder.searched, searched.finalist.genotype.to_json())
    return replace(decision, run=run, sites=retrained_sites(run, program))


def best_of(run: Run, trained: Sequence[Trained]) -> Trained:
    """The best on validation; of equals the plainest: an untouched model, then the recipe as it was, then the likelier.

    What a budget does not allow is handed back only where no rival holds all budgets.
    """
    rivals = [each for each in trained if each.model is not None and not each.finalist.only_compared]
    first, *rest = sorted(_within_budgets(run, rivals), key=_plainness)
    best = first
    for each in rest:
        best = each if run.inputs.task.better(each.judged, best.judged) else best
    return best


def _plainness(each: Trained) -> tuple[int, bool]:
    origin = each.finalist.origin
    return PLAINEST.index(origin) if origin in PLAINEST else len(PLAINEST), each.finalist.name == "tuned"


def _within_budgets(run: Run, rivals: list[Trained]) -> list[Trained]:
    """Those whose genotype holds all budgets; all of them where none does."""
    held = [run.limits is None or run.limits.held(each.finalist.genotype) for each in rivals]
    if all(held) or not any(held):
        return rivals
    for each in [each for each, holds in zip(rivals, held, strict=True) if not holds]:
        run.note(f"the {each.finalist.name} model costs more than {run.limits} allows, so it is only compared")
    return [each for each, holds in zip(rivals, held, strict=True) if holds]


def decide_recipe(run: Run, trained: Sequence[Trained], tuned: Tuned | None) -> tuple[Trained, Tuned | None]:
    """The searched model by the better recipe; its choices and what tuning came to stand in the run's folder."""
    best = best_of(run, trained) if any(each.model for each in trained) else trained[-1]
    if tuned is None:
        return best, None
    if len(trained) == 2:
        by_tuned, by_plain = (each.valid for each in trained)
        kept = "plain" if best is trained[1] else "tuned"
        tuned = replace(tuned, finals={"tuned": by_tuned, "plain": by_plain, "kept": kept})
        run.note(f"finalists, retrained in full: {tuned.finals_text}")
    if folder := run.session.writes:
        write_text(folder.tuned, tuned.to_json())
        write_text(folder.genotype, best.finalist.genotype.to_json())
    return best, tuned
