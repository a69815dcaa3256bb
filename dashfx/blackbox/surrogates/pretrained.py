"""FBNetV3: a predictor whose first layers have learned what sizes genomes have, before the few values that are known.

Dai et al., "FBNetV3: Joint Architecture-Recipe Search using Predictor Pretraining", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from dashfx.blackbox.base import Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.predictors.base import Fitted, Predicted, standardised
from dashfx.blackbox.predictors.networks.nets import Nets, trained
from dashfx.blackbox.surrogates.surrogate import ByLearning, Learned
from dashfx.plugins import Count

FINER = 0.3  # the rate of the second training over that of the first


@dataclass(frozen=True)
class Pretrained(ByLearning):
    """After `start` random genomes, a network picks the `top` of a pool, half of it mutants.

    It is trained first to tell `Space.facts`, such as the number of taps, of `unlabelled` random genomes, which costs
    no evaluation; then, with a head of its own, to tell the values. Budgets hold, since all genomes of a space do.
    In a joint search a recipe is part of a genome. The paper has FLOPs and parameters as facts, and ends with an
    evolution on the predictor; here the pool is one generation of it.

    Args:
        networks: trained side by side; their mean predicts.
        steps: of each of the two trainings.
        pool: how many genomes are predicted each time.
        parents: how many of the best rows have mutants in the pool.
    """

    start: Count = 15
    top: Count = 5
    pool: Count = 300
    parents: Count = 5
    unlabelled: Count = 1000
    networks: Count = 3
    hidden: Count = 32
    steps: Count = 150
    acquire: Literal["mean"] = "mean"

    name: ClassVar[str] = "pretrained"
    paper: ClassVar[str] = "Dai et al., FBNetV3: Joint Architecture-Recipe Search, CVPR 2021"
    row: ClassVar[str] = "75"

    def learn(self, space: Space[G], rows: Sequence[Row[G]], seed: int) -> Learned:
        x = np.array([space.one_hot(row.genome) for row in rows])
        begun = encoder(self, space, seed)
        return Learned(space.one_hot, Finetuned(begun, x, np.array([row.fitness for row in rows]), self.steps))


@lru_cache(maxsize=4)
def encoder(settings: Pretrained, space: Space[Any], seed: int) -> Nets:
    """Networks that tell the facts of random genomes, in deviations; those draws are a function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = list(dict.fromkeys(space.sample(generator) for _ in range(settings.unlabelled)))
    x = torch.from_numpy(np.array([space.one_hot(genome) for genome in drawn]))
    facts = StandardScaler().fit_transform(np.array([space.facts(genome) for genome in drawn]))
    nets = Nets(x.shape[1], settings.hidden, facts.shape[1], generator, settings.networks)
    return trained(nets, x, torch.from_numpy(facts), settings.steps)


class Finetuned(Fitted):
    """Networks with the first layers of others and a new last one, trained further on values."""

    def __init__(self, begun: Nets, x: np.ndarray, y: np.ndarray, steps: int, rate: float = 0.01) -> None:
        target, self._mean, self._deviation = standardised(y)
        count, hidden, _ = begun.weights[-1].shape
        self._nets = Nets(x.shape[1], hidden, 1, torch.Generator().manual_seed(len(y)), count)
        with torch.no_grad():
            for own, other in zip(self._nets.parameters(), begun.parameters(), strict=True):
                if own.shape == other.shape and own is not self._nets.weights[-1] and own is not self._nets.biases[-1]:
                    own.copy_(other)
        rows, values = torch.from_numpy(x), torch.from_numpy(target)[:, None]
        head = [self._nets.weights[-1], self._nets.biases[-1]]
        trained(self._nets, rows, values, steps, rate, parameters=head)
        trained(self._nets, rows, values, steps, FINER * rate)

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> Predicted:
        found = self._nets(torch.from_numpy(x))[..., 0]
        mean = found.mean(0).numpy() * self._deviation + self._mean
        return Predicted(mean, np.zeros(len(x)))
