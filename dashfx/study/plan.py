"""Plan of a study: which methods are searched with, how often, and the options that all of them share."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dashfx.config.files import read_yaml
from dashfx.config.methods import find_method, over
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, RunFolderError
from dashfx.study.statistics import LEAST_RANDOM

UNTOUCHED, RANDOM = "untouched", "random"
CONTROLS = (UNTOUCHED, RANDOM)
FILE = "study.yaml"
# Each model of a study has one training by one recipe, and what is beside it in a run of its own is left out.
ALONE: dict[str, Any] = {"control": False, "random_control": False, "finalists": {"longer": False}}


@dataclass(frozen=True)
class Trial:
    """One search with its training.

    Attributes:
        seed: of the whole run: the split of train and validation, weights, order and noise; a random choice too.
    """

    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.method}-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        methods: by name, without the controls, which are always there.
        seeds: searches of each method, and trainings of the untouched model.
        random: how many random choices are trained.
        options: of every run, as a configuration has them, before a method's own.

    Raises:
        ConfigError: a method that is not known or stands there twice, no seed, or too few random choices.
    """

    methods: tuple[str, ...]
    seeds: int = 3
    random: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(each for each in self.methods if each not in CONTROLS))
        for name in self.methods:
            find_method(name)
        if twice := [name for name in self.methods if self.methods.count(name) > 1]:
            raise ConfigError(f"--methods names {twice[0]!r} twice; name each method once")
        if not self.methods:
            raise ConfigError("--methods names nothing to compare with random choices: give one or more, as dash,darts")
        if self.seeds < 1:
            raise ConfigError(f"--seeds {self.seeds}: give 1 or more; below 2 there is no spread")
        if self.random < LEAST_RANDOM:
            raise ConfigError(f"--random {self.random}: fewer than {LEAST_RANDOM} random choices tell nothing; take 8")

    @property
    def rows(self) -> tuple[str, ...]:
        """The methods with the controls, in the order of the table."""
        return (*self.methods, RANDOM, UNTOUCHED)

    def trials(self) -> Iterator[Trial]:
        """Every run, the controls of a seed first, so that what is there can be compared at any time."""
        first = int(self.options.get("seed") or 0)
        for number in range(max(self.seeds, self.random)):
            for method in (UNTOUCHED, RANDOM, *self.methods):
                if number < (self.random if method == RANDOM else self.seeds):
                    yield Trial(method, first + number)

    def of(self, method: str) -> list[Trial]:
        return [trial for trial in self.trials() if trial.method == method]

    def config(self, trial: Trial) -> RunConfig:
        """The options of one run: what the method sets is not to be changed, so that it is what it is called.

        Raises:
            ConfigError: options that do not go together, or by which trainings would differ.
        """
        found = RunConfig.parse(alone({**over(self.options, trial.method), "seed": trial.seed}))
        check_equal(found)
        return found

    def to_yaml(self) -> str:
        facts = {
            "methods": list(self.methods),
            "seeds": self.seeds,
            "random": self.random,
            "options": dict(self.options),
        }
        return str(yaml.safe_dump(facts, sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """What `study.yaml` of a folder says.

        Raises:
            RunFolderError: there is none, or it is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            raise RunFolderError(f"{folder} is no study's folder: it has no {FILE}; give what an earlier --out named")
        try:
            facts = read_yaml(path)
            return cls(tuple(facts["methods"]), facts["seeds"], facts["random"], facts["options"])
        except (ConfigError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} is damaged ({error}); restore it from a copy, or start another study"
            ) from None


def alone(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run that trains nothing but what its search chose, from weights that no search has trained."""
    found = copy.deepcopy(dict(options))
    weights = "pretrained" if found.get("checkpoint") else "fresh"
    for name, value in ALONE.items():
        found[name] = {**_block(found, name), **value} if isinstance(value, Mapping) else value
    found["retrain"] = {"weights": weights, **_block(found, "retrain")}
    return found


def _block(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block of options, empty where there is none.

    Raises:
        ConfigError: it is something else.
    """
    found = options.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"option {name!r} must be a block of options, got {found!r}")
    return found


def check_equal(config: RunConfig) -> None:
    """Whether every model gets the same training.

    Raises:
        ConfigError: an option by which some are trained otherwise or more, or by which several are averaged.
    """
    more = {
        "budget": config.budget is not None,
        "effort": config.effort != "default",
        "tune": config.tune.wanted,
        "finalists.refit": config.finalists.refit,
        "finalists.wider": bool(config.finalists.wider),
        "ensemble": bool(config.ensemble.wanted),
        "finalists.count": config.finalists.count > 1,
    }
    if unequal := [name for name, is_set in more.items() if is_set]:
        raise ConfigError(
            f"{unequal[0]} has some models trained more or otherwise than others, and a study compares methods after "
            "equal training: leave it out"
        )


def names_in(text: str) -> tuple[str, ...]:
    """Names apart by commas.

    >>> names_in("dash, darts-pt,random")
    ('dash', 'darts-pt', 'random')
    """
    return tuple(each.strip() for each in text.split(",") if each.strip())


def same_options(before: Plan, options: Mapping[str, Any], folder: Path) -> None:
    """Whether a study that is carried on has the options that it began with.

    Raises:
        RunFolderError: it has not.
    """
    names = sorted({*before.options, *options})
    other: Sequence[str] = [name for name in names if before.options.get(name) != options.get(name)]
    if other:
        raise RunFolderError(
            f"--resume {folder}: that study has other options ({', '.join(other)}); use the same, or another --out"
        )
