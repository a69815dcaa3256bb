"""Samplers of Optuna as black-box optimisers: TPE, NSGA-II, Gaussian processes, CMA-ES and others by name."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.errors import ConfigError, did_you_mean
from dashfx.plugins import Count

SAMPLERS = {
    "tpe": "TPESampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "gp": "GPSampler",
    "cma-es": "CmaEsSampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
}
NEEDS = {"cma-es": "cmaes", "gp": "scipy", "qmc": "scipy"}  # the package beside Optuna that a sampler asks for
ONE = ("cma-es",)  # samplers of one objective
NUMBERS = ("cma-es", "qmc")  # samplers that know numbers only: options count in the order of the space
POPULATIONS = ("nsga2", "nsga3")


@dataclass(frozen=True)
class ByOptuna(Optimiser):
    """What a sampler of Optuna asks for; positions are categorical, and to CMA-ES whole numbers.

    A killed search is replayed: a new study hears what the old one was told, and its sampler draws from the same seed.

    Args:
        sampler: "tpe", "nsga2", "nsga3", "gp", "cma-es", "qmc" or "random".
        population: of the NSGA samplers, of which the first are drawn at random.

    Raises:
        ConfigError: no such sampler, or one whose package is not installed.
    """

    sampler: str = "tpe"
    population: Count = 50

    paper: ClassVar[str] = "Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019"

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            near = did_you_mean(self.sampler, SAMPLERS)
            raise ConfigError(f"no sampler {self.sampler!r} of Optuna{near}; there are {', '.join(SAMPLERS)}")
        if self.sampler in POPULATIONS and self.population < 2:
            raise ConfigError(f"{self.sampler} with population={self.population}: give 2 or more")
        if package := NEEDS.get(self.sampler):
            try:
                importlib.import_module(package)
            except ImportError:
                raise ConfigError(
                    f"sampler {self.sampler!r} needs the package {package}: pip install {package}, or take tpe"
                ) from None

    def check(self, evaluations: int, objectives: int = 1) -> None:
        if objectives > 1 and self.sampler in ONE:
            raise ConfigError(f"sampler {self.sampler!r} knows one objective, not {objectives}; take nsga2 or tpe")

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Sampling[G]:
        return Sampling(self, space, generator, start)


@dataclass(frozen=True)
class Tpe(ByOptuna):
    """A tree-structured Parzen estimator draws what the better rows have more often than the others, per position."""

    sampler: str = field(default="tpe", init=False)
    paper: ClassVar[str] = "Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011"


@dataclass(frozen=True)
class Nsga2(ByOptuna):
    """Tournaments by front and crowding, crossover and mutation, in generations of `population`: several objectives."""

    sampler: str = field(default="nsga2", init=False)
    paper: ClassVar[str] = "Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEC 2002"


class Sampling(Asking[G]):
    """A study in memory."""

    def __init__(
        self, settings: ByOptuna, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._start = settings, space, start
        self._seed = int(torch.randint(2**31 - 1, (), generator=generator))
        self._axes = _axes(space, settings.sampler in NUMBERS)
        self._asked: list[optuna.Trial] = []
        self.expect(1)

    def expect(self, objectives: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(
            sampler=_sampler(self._settings, self._seed), directions=["maximize"] * objectives
        )
        for row in self._start:
            if len(row.point) == objectives and all(map(math.isfinite, row.point)):
                params = dict(zip(self._axes, self._space.places(row.genome), strict=True))
                known = optuna.trial.create_trial(params=params, distributions=self._axes, values=list(row.point))
                self._study.add_trial(known)

    def ask(self, n: int) -> list[Proposal[G]]:
        proposals = []
        for _ in range(n):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = self._study.ask(self._axes)
            self._asked.append(trial)
            proposals.append(Proposal(self._space.at([trial.params[name] for name in self._axes])))
        return proposals

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for trial, row in zip(self._asked, rows, strict=True):
            if all(map(math.isfinite, row.point)):
                self._study.tell(trial, row.point)
            else:
                self._study.tell(trial, state=TrialState.FAIL)
        self._asked = []


def _axes(space: Space[Any], as_numbers: bool) -> dict[str, BaseDistribution]:
    """A name a position -> its choices; positions with one choice keep it."""
    levels = space.levels()
    return {
        f"{place:0{len(str(len(levels)))}}": IntDistribution(0, size - 1)
        if as_numbers
        else CategoricalDistribution(range(size))
        for place, size in enumerate(levels)
    }


def _sampler(settings: ByOptuna, seed: int) -> optuna.samplers.BaseSampler:
    more: dict[str, Any] = {"population_size": settings.population} if settings.sampler in POPULATIONS else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: optuna.samplers.BaseSampler = getattr(optuna.samplers, SAMPLERS[settings.sampler])(seed=seed, **more)
    return sampler
