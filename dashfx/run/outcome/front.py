"""Front of a search: choices from the cheapest to the preferred one, with what each costs and is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashfx.genotype import Genotype
from dashfx.options.base import read, written
from dashfx.space import Candidate


@dataclass(frozen=True)
class Point:
    """A choice on the front.

    Attributes:
        cost: of the whole model, measured where the cost is; `said` in words.
        score: the sum of what the rule prefers, by which the choice was made.
        valid: the metric on the validation part with the weights that the search left, batch norm estimated anew;
            none of them was trained for this choice alone.
    """

    genotype: Genotype
    cost: float
    said: str
    score: float
    valid: float

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Point:
        choices = {name: Candidate.from_dict(choice) for name, choice in facts["genotype"].items()}
        others = {name: read(option) for name, option in facts.get("others", {}).items()}
        genotype = Genotype(choices, bits=facts.get("bits", {}), others=others)
        own = {key: value for key, value in facts.items() if key not in ("bits", "others")}
        return cls(**{**own, "genotype": genotype})

    def to_dict(self) -> dict[str, Any]:
        bits = {"bits": dict(self.genotype.bits)} if self.genotype.bits else {}
        others = {name: written(option) for name, option in self.genotype.others.items()}
        rest = {**bits, "others": others} if others else bits
        return {**vars(self), "genotype": {name: choice.to_dict() for name, choice in self.genotype.items()}, **rest}


@dataclass(frozen=True)
class Front:
    """What `result.json` holds under `front`.

    Attributes:
        cost, unit: its name, and what `Point.cost` is counted in.
        points: the cheapest first.
    """

    cost: str
    unit: str
    points: tuple[Point, ...]

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Front:
        return cls(facts["cost"], facts["unit"], tuple(map(Point.from_dict, facts["points"])))

    def to_dict(self) -> dict[str, Any]:
        return {"cost": self.cost, "unit": self.unit, "points": [each.to_dict() for each in self.points]}


@dataclass(frozen=True)
class SiteTime:
    """What a conv takes with its own kernel and with the chosen one: seconds in ONNX Runtime, and multiply-adds.

    Attributes:
        before, after: (seconds, multiply-adds) of one row, all calls together.
    """

    name: str
    before: tuple[float, float]
    after: tuple[float, float]

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> SiteTime:
        return cls(facts["name"], tuple(facts["before"]), tuple(facts["after"]))
