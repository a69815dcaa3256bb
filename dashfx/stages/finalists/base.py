"""Finalist, its training and the decision among them, as facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.errors import DivergedError
from dashfx.genotype import Genotype
from dashfx.run.result import Short
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.retrain import Retrained
from dashfx.tune import Tuned

RETRAIN, PLAIN, CONTROL = "retrain", "retrain-plain", "control"  # stages, one a finalist, as the log names them
NAN = float("nan")


@dataclass(frozen=True)
class Finalist:
    """A model that may be handed back: a genotype, a recipe and an origin.

    Attributes:
        recipe: the options that it is trained by.
        stage: the stage that trains it, `plan` what that says of itself.
        only_compared: whether it is trained for comparison, and never handed back.
    """

    name: str
    origin: str
    genotype: Genotype
    recipe: RunConfig
    stage: str
    plan: str
    only_compared: bool = False


@dataclass(frozen=True)
class Trained:
    """A finalist after its trainings, one a seed and fold.

    Attributes:
        model: of the training on the run's own split that is judged best; None where a training diverged.
        valid: its metric on the validation part; NaN without a model.
        judged: what it is told from others by: the mean over the trainings of the mean metric of the last epochs.
        spread: the standard deviation of that over the trainings; None for a single one.
        loss: the mean validation loss of the last epochs, over the trainings.
        seeds: every training.
        work: multiply-adds of all its training steps, forward only: a step costs what the model does for its rows.
        failure: why there is no model.
    """

    finalist: Finalist
    model: nn.Module | None
    valid: float
    judged: float = NAN
    spread: float | None = None
    loss: float = NAN
    seeds: tuple[Retrained, ...] = ()
    work: float = 0.0
    failure: DivergedError | None = None

    @property
    def steps(self) -> int:
        """Of all trainings."""
        return sum(epoch.steps for done in self.seeds for epoch in done.history)


@dataclass(frozen=True)
class Decision:
    """Which finalist is kept on validation, and beside which others.

    Attributes:
        run: with the recipe of the model that is kept, and the model that it retrains.
        trained: all finalists, in the order of their trainings.
        searched: the best searched model, by the better recipe.
        kept: the one that is handed back: `searched`, or an untouched model.
        sites: as they are in the model that is kept.
        tuned: what tuning found, with how its recipe did in full.
        short: the trainings of the low rungs.
        before: the work of the search and of the low rungs.
        unchanged: whether the searched model is the untouched one, which is then trained once.
        refit: the kept model after a training on the validation part too, where that was asked for.
    """

    run: Run
    trained: tuple[Trained, ...]
    searched: Trained
    kept: Trained
    sites: Mapping[str, Site]
    tuned: Tuned | None
    short: tuple[Short, ...] = ()
    before: float = 0.0
    unchanged: bool = False
    refit: nn.Module | None = None

    @property
    def compared(self) -> list[Trained]:
        """What stands in the comparison: all but the recipe that lost, and what diverged."""
        return [each for each in self.trained if each.model is not None and not self._lost(each)]

    def _lost(self, each: Trained) -> bool:
        """Whether it is the same proposal by the recipe that was not taken."""
        by_recipes = {"tuned", "plain"}
        names = {other.finalist.name for other in self.trained}
        return by_recipes <= names and each.finalist.name in by_recipes and each.finalist.recipe != self.recipe

    @property
    def recipe(self) -> RunConfig:
        """The recipe that all but the longer and the wider model were trained by."""
        return self.searched.finalist.recipe

    def led_to(self, each: Trained) -> float:
        """All work that led to a finalist: to a searched one that of the search and the low rungs as well.

        To the best searched one led also what the other searched ones took, which it was chosen from.
        """
        if each.finalist.origin != self.searched.finalist.origin:
            return each.work
        others = [other for other in self.trained if other.finalist.origin == each.finalist.origin]
        return self.before + sum(other.work for other in (others if each is self.searched else [each]))

    def cost(self, each: Trained) -> float | None:
        """The same, over the work of the untouched model's training; None where that was not trained."""
        untouched = next((t.work for t in self.trained if t.finalist.stage == CONTROL), 0.0)
        usual = self.searched.work if self.unchanged else untouched
        return self.led_to(each) / usual if usual and each.work else None


Start = Callable[[Run, Finalist], nn.Module]  # the model whose weights a finalist's training starts from
