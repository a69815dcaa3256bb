"""InstaTune: a supernet of all genotypes is made while a model is fine-tuned, each taught by the model itself.

After Sridhar et al., "InstaTune: Instantaneous Neural Architecture Search During Fine-Tuning", 2023; who is in a step:
the sandwich rule of Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dashfx.errors import ConfigError
from dashfx.ops import decisions_of
from dashfx.ops.ties import alive
from dashfx.plugins import Count, Positive
from dashfx.strategies.updates.base import Update
from dashfx.train.distillation import disagreement

if TYPE_CHECKING:
    from dashfx.ops import AggConv
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

FULL = 30.0  # the logit of the full model's candidates, so that what is validated is the full model


@dataclass(frozen=True)
class Sandwich(Update):
    """The full model learns from the labels; the smallest and a few random genotypes learn from its answers.

    The full model has each conv's own kernel, or the one of the most taps where that is no candidate; the smallest has
    the fewest taps. The losses of a step are added up, and only candidates move that one of its genotypes has. Mixtures
    do not move and terms have no part, so this is for `--evaluator supernet`; with `search.init=grow` every genotype
    starts as the model that was given.

    Args:
        draws: how many random genotypes a step has.
        temperature: of the answers that genotypes learn from.
    """

    draws: Count = 2
    temperature: Positive = 1.0
    moves_mixtures: ClassVar[bool] = False
    paper: ClassVar[str] = "Sridhar et al., InstaTune: Instantaneous NAS During Fine-Tuning, 2023"
    row: ClassVar[str] = "120"

    def begin(self, engine: Engine) -> None:
        engine.need_gradients("search.update=sandwich")
        if engine.task.average is None:
            raise ConfigError(
                "search.update=sandwich has genotypes learn from the model's answers, and task "
                f"{engine.task.name!r} does not say what these are; give its Task an `average`"
            )
        for site in engine.sites.values():
            with torch.no_grad():
                site.alpha.zero_()
                site.alpha[full(site)] = FULL

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        x, y = train_batch
        largest = {name: full(site) for name, site in engine.sites.items()}
        smaller = [{name: smallest(site) for name, site in engine.sites.items()}]
        smaller += [drawn(engine.sites, engine.generator) for _ in range(self.draws)]
        engine.zero_grad()
        with engine.alone():
            output = engine.answer(x, largest)
            loss = engine.task.loss(output, y)
            total, taught = engine.gradients(loss, engine.learning), output.detach()
            for places in smaller:
                answer = engine.answer(x, places)
                apart = disagreement(answer, taught, y, engine.task, self.temperature)
                found = engine.gradients(apart, engine.learning)
                total = [own + more for own, more in zip(total, found, strict=True)]
        idle = without_part(engine.sites, [largest, *smaller])
        for weight, gradient in zip(engine.learning, total, strict=True):
            weight.grad = None if id(weight) in idle else gradient
        engine.step_weights()
        return loss.detach()


def full(site: AggConv) -> int:
    """The place of the conv's own kernel; of the candidate with the most taps where that is none."""
    left = alive(site)
    return site.candidates.index(site.original if site.original in left else max(left, key=lambda c: c.taps))


def smallest(site: AggConv) -> int:
    """The place of the candidate with the fewest taps, the narrowest of these."""
    return site.candidates.index(min(alive(site), key=lambda c: (c.taps, c.span)))


def drawn(sites: Mapping[str, AggConv], generator: torch.Generator) -> dict[str, int]:
    """A uniform draw; sites that choose together have the same candidate."""
    groups, places = decisions_of(sites), dict[str, int]()
    shares = torch.rand(len(groups), generator=generator, device=generator.device).tolist()
    for group, share in zip(groups, shares, strict=True):
        left = alive(sites[group[0]])
        chosen = left[int(share * len(left))]
        places |= {name: sites[name].candidates.index(chosen) for name in group}
    return places


def without_part(sites: Mapping[str, AggConv], genotypes: list[dict[str, int]]) -> set[int]:
    """The ids of the candidates' weights that no genotype has: a decay must not move them either."""
    held = {id(w) for places in genotypes for name, place in places.items() for w in sites[name].theta(place)}
    return {id(weight) for site in sites.values() for weight in site.weights} - held
