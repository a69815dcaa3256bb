"""Standing of a finalist: what it is, what its training took and what came of it; and of the short trainings before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dashfx.cost.latency import Figures, Latency
from dashfx.genotype import Genotype
from dashfx.options.base import read, written
from dashfx.space import Candidate
from dashfx.task.lead import Lead

SEARCHED, UNTOUCHED, RANDOM = "searched", "untouched", "random"  # origins of finalists
LONGER, WIDER = "longer", "wider"  # of the untouched model: trained longer, or with more channels
DISTILLED = "distilled"  # of the model that would be handed back: trained on the answers of several


@dataclass(frozen=True)
class Standing:
    """How a finalist did.

    Attributes:
        name: what tells it from the others; its origin, where there is one of that origin.
        origin: "searched", "untouched", "longer", "wider", "random" or "distilled"; a run that only retrains is
            named by its strategy.
        stage: the stage that trained it.
        valid: the task's metric on the validation part of the weights that stand for it; NaN where its training
            diverged.
        steps: of all its trainings; `search_steps` of the search that led to it, and of a distilled one's teachers.
        figures: also on the test part, with its size and latency; None for what was not measured there.
        kept: whether it is the model that is handed back.
        judged: what it was told from the others by: the mean metric of the last epochs, over its trainings.
        spread: the standard deviation of that over its trainings; None for a single one.
        seeds: how often it was trained, each time with another seed or on another fold.
        cost: the work of all training that led to it, over that of the untouched model's training; None without one.
        lead: how far the searched model is ahead of it on the validation part; None for searched ones.
        work: that work in multiply-adds, forward passes only; None where its training diverged.
    """

    name: str
    origin: str
    genotype: Genotype
    stage: str
    valid: float
    steps: int = 0
    search_steps: int = 0
    figures: Figures | None = None
    kept: bool = False
    judged: float = math.nan
    spread: float | None = None
    seeds: int = 1
    cost: float | None = None
    lead: Lead | None = None
    work: float | None = None

    @property
    def value(self) -> float:
        """What it was judged by; of runs that were written before that was known, its metric on validation."""
        return self.valid if math.isnan(self.judged) else self.judged

    def to_dict(self) -> dict[str, Any]:
        """An entry of `finalists` in `result.json`."""
        figures = self.figures
        others = {name: written(option) for name, option in self.genotype.others.items()}
        return {
            "name": self.name,
            "origin": self.origin,
            "stage": self.stage,
            "genotype": {name: choice.to_dict() for name, choice in self.genotype.items()},
            **({"others": others} if others else {}),
            "rule": self.genotype.rule,
            "seeds": self.seeds,
            "steps": self.steps,
            "search_steps": self.search_steps,
            "cost": None if self.cost is None else round(self.cost, 3),
            "valid": known(self.valid),
            "judged": known(self.judged),
            "spread": self.spread,
            "test": figures.test if figures else None,
            "parameters": figures.parameters if figures else None,
            "macs": figures.flops // 2 if figures else None,
            "latency": asdict(figures.latency) if figures and figures.latency else None,
            "lead": asdict(self.lead) if self.lead else None,
            "work": self.work,
            "kept": self.kept,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any], figures: Figures | None) -> Standing:
        """What `to_dict` gave.

        Args:
            figures: those of its origin, for entries of earlier versions, which have none of their own.
        """
        choices = {name: Candidate.from_dict(choice) for name, choice in facts["genotype"].items()}
        others = {name: read(option) for name, option in facts.get("others", {}).items()}
        return cls(
            facts["name"],
            facts["origin"],
            Genotype(choices, facts["rule"], others=others),
            facts["stage"],
            math.nan if facts["valid"] is None else facts["valid"],
            facts["steps"],
            facts["search_steps"],
            _figures(facts, figures),
            facts["kept"],
            math.nan if facts.get("judged") is None else facts["judged"],
            facts.get("spread"),
            facts.get("seeds", 1),
            facts.get("cost"),
            Lead(**facts["lead"]) if facts.get("lead") else None,
            facts.get("work"),
        )


def _figures(facts: Mapping[str, Any], figures: Figures | None) -> Figures | None:
    if facts["test"] is None:
        return None
    if facts.get("parameters") is None:
        return figures
    latency = Latency(**facts["latency"]) if facts.get("latency") else None
    return Figures(facts["valid"], facts["test"], facts["parameters"], 2 * facts["macs"], latency)


@dataclass(frozen=True)
class Short:
    """A training of a low rung: how long it was, how it did, and whether its model went on."""

    name: str
    stage: str
    epochs: int
    loss: float
    valid: float
    kept: bool

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Short:
        """What `to_dict` gave."""
        numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in facts.items()}
        return cls(**numbers)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `race` in `result.json`."""
        return {name: known(value) for name, value in asdict(self).items()}


def known(value: Any) -> Any:
    """As JSON has it: null for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
