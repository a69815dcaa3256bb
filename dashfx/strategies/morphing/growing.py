"""Evaluation of grown networks: each starts from the trained weights of the network that it has grown from.

Cai, Chen, Zhang, Yu and Wang, "Efficient Architecture Search by Network Transformation", AAAI 2018: steps that
preserve the function, and a short training after each. There a controller learns which to take; here any strategy does
that sees values alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from dashfx.blackbox.genomes import Space
from dashfx.errors import ConfigError, DivergedError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.options.morph import steps_of
from dashfx.passes.morphisms import morphed
from dashfx.strategies.base import Context, Evaluating, Evaluator
from dashfx.strategies.engine import Engine
from dashfx.strategies.morphing.space import MorphSpace, Steps


@dataclass(frozen=True)
class Morphing(Evaluator):
    """Another evaluator, of networks that have grown from the untouched one.

    Where it trains, a network starts from the weights of the longest part of its steps that was evaluated before it,
    after that one's training, and else from the untouched network's; the steps that are left preserve what it
    computes. So the value of a network depends on what came before it.

    Args:
        kinds: of steps, see `dashfx.passes.morphisms`.
        most: steps at most.
    """

    inner: Evaluator
    kinds: tuple[str, ...]
    most: int = 6
    paper: ClassVar[str] = "Cai et al., Efficient Architecture Search by Network Transformation, AAAI 2018"
    row: ClassVar[str] = "52"

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def trains(self) -> int:  # type: ignore[override]
        return self.inner.trains

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        own = Genotype({name: site.original for name, site in context.sites.items()})
        root = context.model_of(own).cpu().eval()
        space = MorphSpace(trace(root, context.example), own, self.kinds, self.most)
        if not space.decisions(()):
            raise ConfigError(f"--morph {','.join(self.kinds)}: no conv of the model can be grown so; add other kinds")
        if not self.inner.trains:
            return _Grown(self.inner.begin(context), space)
        return _Growing(context, space, root, self.inner.trains)


class _Grown(Evaluating):
    """By an evaluator that trains nothing."""

    def __init__(self, inner: Evaluating, space: MorphSpace) -> None:
        self._inner, self._space, self.maximise = inner, space, inner.maximise

    def value(self, genotype: Genotype) -> float:
        return self._inner.value(genotype)

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        return self._space


class _Growing(Evaluating):
    """By short trainings, one after another."""

    def __init__(self, context: Context, space: MorphSpace, root: nn.Module, epochs: int) -> None:
        self._context, self._space, self._root = context, space, root
        self.maximise = context.task.maximise
        self._options = context.config.retrain.model_copy(update={"epochs": epochs})
        before = context.history(space).before  # what a killed run has evaluated
        self._trained = {steps_of(told.genome.others) for told in before if told.value is not None}

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        return self._space

    def value(self, genotype: Genotype) -> float:
        steps = steps_of(genotype.others)
        try:
            found = self._context.trained(self.start(steps), self._options, name_of(steps))
        except DivergedError:
            return math.nan
        self._trained.add(steps)
        return found

    def start(self, steps: Steps) -> nn.Module:
        """The network of these steps, with the weights that its training starts from."""
        parts = (steps[:length] for length in range(len(steps) - 1, -1, -1))
        parent = next((part for part in parts if part in self._trained), ())
        model, example = self._root, self._context.example
        model = morphed(model, example, parent)
        if parent in self._trained:
            model = trace(model, example).model  # a copy
            model.load_state_dict(self._context.trained_weights(name_of(parent)))
        return trace(morphed(model, example, steps[len(parent) :]), example).model


def name_of(steps: Steps) -> str:
    """What a network's weights are kept under."""
    return f"morph-{hashlib.blake2b(repr(steps).encode(), digest_size=6).hexdigest()}"
