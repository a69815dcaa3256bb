"""Line-up of the last rung: the searched models with their recipes, the controls beside them, and where each starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.plugins import find
from dashfx.run.result import LONGER, RANDOM, UNTOUCHED, WIDER
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.finalists.base import CONTROL, PLAIN, RETRAIN, Finalist, Start, Trained
from dashfx.stages.finalists.lengths import LONGER_STAGE, TRIPLED, WIDER_STAGE, lengthened, with_epochs
from dashfx.stages.finalists.race import Race, file_name
from dashfx.stages.retrain import epochs_of, lowered
from dashfx.strategies.rules import RandomChoice
from dashfx.tune import Tuned, is_plain, with_values


@dataclass(frozen=True)
class Lineup:
    """The searched side of the last rung, and what came before it.

    Attributes:
        recipes: the best proposal, by the options as they are, by those that tuning found, or by both.
        others: name -> further proposals, which are trained by the better recipe.
        chance: a random choice per site, where one was asked for.
        race: the low rungs.
        before: the work of the search and of the low rungs, see `work`.
        controls: whether the untouched model is trained beside them.
        longest: the most epochs of a longer training of it, under a budget of wall time.
    """

    recipes: tuple[Finalist, ...]
    others: Mapping[str, Genotype] = field(default_factory=dict)
    chance: Genotype | None = None
    race: Race | None = None
    before: float = 0.0
    controls: bool = True
    longest: float = math.inf


def lined_up(
    run: Run,
    supernet: nn.Module,
    race: Race,
    tuned: Tuned | None,
    chance: Genotype | None,
    search: float,
    planned: Mapping[str, float],
) -> Lineup:
    """What is trained in full.

    Args:
        search: the work of the search.
        planned: the epochs of each stage, which a budget of wall time was divided by.
    """
    (name, genotype), *others = race.names.items()
    recipes = tuple(recipes_of(run, supernet, name, genotype, tuned))
    controls = run.config.control and not run.strategy.is_control
    longest = planned.get(LONGER_STAGE, 0.0) / run.config.finalists.trainings if run.config.budget else math.inf
    return Lineup(recipes, dict(others), chance, race, search + race.work, controls, longest)


def recipes_of(run: Run, supernet: nn.Module, name: str, genotype: Genotype, tuned: Tuned | None) -> list[Finalist]:
    """The best proposal by the options as they are, or by those that tuning found and, where they differ, by both.

    A few short trials hardly tell recipes apart.
    """
    origin = run.strategy.origin
    weights = f"{run.config.retrain.weights} weights"
    if tuned is None:
        return [Finalist(name, origin, genotype, run.config, RETRAIN, weights)]
    recipe = with_values(run.config, tuned.values)
    read = by_rule_of(recipe, run, supernet, genotype)
    weights_then = f"{recipe.retrain.weights} weights"
    if not run.config.tune.finalist or is_plain(tuned.values, run.config, run.inputs.for_retraining().fresh_model()):
        return [Finalist(name, origin, read, recipe, RETRAIN, weights_then)]
    plain = Finalist("plain", origin, genotype, run.config, PLAIN, f"{weights}, the recipe as it was")
    return [Finalist("tuned", origin, read, recipe, RETRAIN, weights_then), plain]


def by_rule_of(recipe: RunConfig, run: Run, supernet: nn.Module, genotype: Genotype) -> Genotype:
    """What the run has chosen, or what another rule reads from the same mixtures."""
    rule = recipe.search.rule
    return genotype if rule == run.config.search.rule else find("rule", rule).within(sites_of(supernet), run.limits)


def other_proposals(run: Run, lineup: Lineup) -> list[Finalist]:
    """Further proposals, by the run's recipe."""
    origin, weights = run.strategy.origin, f"{run.config.retrain.weights} weights"
    return [
        Finalist(name, origin, genotype, run.config, f"{RETRAIN}-{file_name(name)}", f"{name}, {weights}")
        for name, genotype in lineup.others.items()
    ]


def own_kernels(sites: Mapping[str, Site], genotype: Genotype) -> Genotype:
    """The untouched model's choices at the sites of a genotype."""
    return Genotype({name: sites[name].original for name in genotype}, UNTOUCHED)


def controls(run: Run, lineup: Lineup, sites: Mapping[str, Site], searched: Genotype) -> list[Finalist]:
    """What the searched model is compared with, by its recipe: the untouched model, and on request a random choice.

    A model that is trained already is not trained again: the untouched one where the search chose it, and a random
    choice that is one of the others.
    """
    found, own, config = list[Finalist](), own_kernels(sites, searched), run.config
    if lineup.controls and searched != own:
        found.append(Finalist(UNTOUCHED, UNTOUCHED, own, config, CONTROL, "the untouched model"))
    if lineup.chance is not None:
        if lineup.chance in (own, searched, *lineup.others.values()):
            run.note("the random choice is a model that is trained already, so it is not trained again")
        else:
            plan = "a random choice per site"
            found.append(Finalist(RANDOM, RANDOM, lineup.chance, config, RANDOM, plan, only_compared=True))
    return found


def longer(run: Run, untouched: Trained, total: float, longest: float = math.inf) -> Finalist | None:
    """The untouched model with a complete schedule that takes as much work as all that led to the searched one.

    None where it was trained as long already.

    Args:
        total: that work, in multiply-adds.
        longest: the most epochs of a training; one that would be longer ends there, and a note says so.
    """
    seeds = len(untouched.seeds)
    epochs = sum(len(done.history) for done in untouched.seeds)  # fewer than configured where training stopped early
    wanted, full = round(lengthened(epochs, untouched.work, total) / seeds), epochs_of(run)
    plan = "the untouched model, as long as all training of the searched one"
    tripled = round(TRIPLED * epochs / seeds) if run.config.finalists.longer == AUTO else wanted
    if wanted > min(longest, tripled):
        most, why = (int(longest), "the budget has no more") if longest < tripled else (tripled, "--longer has all")
        run.note(f"{LONGER_STAGE}: equal training is {wanted} epochs, of which {most} are trained: {why}")
        wanted, plan = most, f"the untouched model, for {most} of {wanted} epochs"
    if wanted <= (full.most if full.given else epochs / seeds):
        return None
    recipe, genotype = with_epochs(run.config, wanted), untouched.finalist.genotype
    return Finalist("untouched, longer", LONGER, genotype, recipe, LONGER_STAGE, plan)


def wider(run: Run, arguments: Mapping[str, object], genotype: Genotype) -> Finalist:
    """The untouched model with more channels, from fresh weights.

    Under a budget, which is counted for the narrower model, it is only compared.
    """
    merged = {**run.config.retrain.model_args, **arguments}
    retrain = run.config.retrain.model_copy(update={"model_args": merged, "weights": "fresh"})
    recipe = run.config.model_copy(update={"retrain": retrain})
    said = " ".join(f"{name}={value}" for name, value in arguments.items())
    plan, limited = f"the untouched model with {said}", run.limits is not None
    return Finalist("untouched, wider", WIDER, genotype, recipe, WIDER_STAGE, plan, only_compared=limited)


def chance_of(run: Run, supernet: nn.Module) -> Genotype | None:
    """What chance chooses among the same candidates, drawn before any of them leaves; None unless asked for."""
    if not run.config.random_control or run.strategy.is_control:
        return None
    return RandomChoice(run.config.seed).within(sites_of(supernet), run.limits)


def start_from(supernet: nn.Module) -> Start:
    """Where finalists start: the searched one from the supernet, the user's model as it is, chance from its kernels."""

    def start(run: Run, finalist: Finalist) -> nn.Module:
        if finalist.origin == RANDOM and finalist.only_compared:
            return specialised_by(run.for_retraining().inputs, finalist.genotype, RANDOM)
        if finalist.origin in (LONGER, WIDER) or finalist.stage == CONTROL:
            return run.for_retraining().inputs.start_model()
        return lowered(run, supernet, finalist.genotype)

    return start
