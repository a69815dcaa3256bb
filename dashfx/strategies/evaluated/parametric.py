"""ParZC: what proxies say of each conv by itself, weighed by a network that learns from true evaluations.

Dong, Li, Pan, Wei, Zhou, Liu and Chu, "ParZC: Parametric Zero-Cost Proxies for Efficient NAS", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from accelerate.utils import broadcast_object_list

from dashfx.blackbox.base import Row
from dashfx.blackbox.genomes import G, Listed, Space
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.blackbox.predictors.base import Predictor
from dashfx.blackbox.predictors.networks.ranking import Ranking
from dashfx.blackbox.surrogates.base import fit
from dashfx.blackbox.surrogates.surrogate import ByLearning, Learned, Predicting
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import copy_model
from dashfx.genotype import Genotype
from dashfx.plugins import Count, find
from dashfx.strategies.base import Context, Evaluator, Strategy, Training
from dashfx.strategies.evaluated.blackbox import BlackBox

SCORES = ("snip", "grad_norm", "synflow")
Vectors = Callable[[Sequence[Any]], np.ndarray]  # genomes -> (n, n_features)


@dataclass(frozen=True)
class Measured(ByLearning):
    """A surrogate search of a fixed pool, by vectors that are measured of each genome in it once."""

    vectors: Vectors
    size: Count = 100
    start: Count = 15
    top: Count = 5
    predictor: Predictor = field(default_factory=Ranking)
    pool: Count = 100
    parents: Count = 5
    acquire: Literal["mean"] = "mean"
    known: dict[Any, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    name: ClassVar[str] = "parametric"

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Predicting[G]:
        drawn = RandomSearch().begin(space, generator).ask(self.size)
        genomes = list(dict.fromkeys([*(each.genome for each in drawn), *(row.genome for row in start)]))
        self.known.update(zip(genomes, self.vectors(genomes), strict=True))

        def apart(a: G, b: G) -> float:
            return sum(x != y for x, y in zip(space.places(a), space.places(b), strict=True))

        return Predicting(self, Listed(genomes, space, apart), generator, start)

    def learn(self, space: Space[G], rows: Sequence[Row[G]], seed: int) -> Learned:
        return Learned(self.known.__getitem__, fit(self.predictor, self.known.__getitem__, rows, seed))


@dataclass(frozen=True)
class Parametric(Strategy):
    """Of a pool of random genotypes, those are evaluated that a network prefers, which sees proxies conv by conv.

    Args:
        evaluator: what the genotypes are worth.
        scores: proxies that are sums over layers: snip, grad_norm, synflow.
        batch_size: how many rows of the train part they see.
        start: random genotypes before the first fit; `top` are evaluated between two fits.
    """

    evaluator: Evaluator = field(default_factory=lambda: find("evaluator", "train"))
    scores: tuple[str, ...] = SCORES
    pool: Count = 100
    batch_size: Count = 16
    start: Count = 15
    top: Count = 5
    paper: ClassVar[str] = "Dong et al., ParZC: Parametric Zero-Cost Proxies for Efficient NAS, 2024"
    row: ClassVar[str] = "72"

    @property
    def training(self) -> Training | None:
        return self.evaluator.training

    def plan(self, config: RunConfig) -> str:
        return f"{Measured.name} by {self.evaluator.name}, {config.blackbox.evaluations} evaluations"

    def check(self, config: RunConfig) -> None:
        self._box(lambda genotypes: np.zeros((len(genotypes), 1))).check(config)
        if not self.scores:
            raise ConfigError("search.strategy=parametric learns from proxies, and there are none; give scores=[snip]")
        for name in self.scores:
            if not hasattr(find("proxy", name), "by_layer"):
                raise ConfigError(
                    f"search.strategy=parametric asks {name!r} of each conv, and it is no sum over layers; "
                    f"there are {', '.join(SCORES)}"
                )

    def search(self, context: Context) -> Genotype:
        def vectors(genotypes: Sequence[Genotype]) -> np.ndarray:
            context.note(f"{Measured.name}: {len(genotypes)} genotypes are scored by {', '.join(self.scores)}")
            rows = [self._vector(context, genotype) for genotype in genotypes]
            return np.stack(list(broadcast_object_list(rows)))  # several processes take one's word

        return self._box(vectors).search(context)

    def _box(self, vectors: Vectors) -> BlackBox:
        return BlackBox(Measured(vectors, self.pool, self.start, self.top), self.evaluator)

    def _vector(self, context: Context, genotype: Genotype) -> np.ndarray:
        device, seed = context.accelerator.device, context.config.seed
        x, y = next(iter(context.data.loader("train", self.batch_size, seed=seed)))
        labels = y.to(device) if context.data.kind == "classes" else None
        model, parts = context.model_of(genotype).to(device), []
        for name in self.scores:
            proxy = find("proxy", name, seed=seed)
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(seed)
                found = proxy.by_layer(copy_model(model), x.to(device), labels)
            parts.append(by_site(found, list(context.sites)))
        return np.concatenate(parts)


def by_site(scores: Mapping[str, float], sites: Sequence[str]) -> np.ndarray:
    """(n_sites + 1,): logarithms of 1 + the score of each site's layers, and of all other layers together at the end.

    What is not finite is 0.
    """
    found = np.zeros(len(sites) + 1)
    for name, score in scores.items():
        place = next((i for i, site in enumerate(sites) if name == site or name.startswith(f"{site}.")), len(sites))
        found[place] += score
    return np.nan_to_num(np.log1p(np.abs(found)), nan=0.0, posinf=0.0)
