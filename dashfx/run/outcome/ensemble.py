"""Ensemble of a run: which trained models were averaged, what the average is worth, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dashfx.cost.latency import Figures
from dashfx.deploy.export import ExportReport


@dataclass(frozen=True)
class Member:
    """A model of the average: the finalist's name, the stage that trained it, its metric on validation, its steps."""

    name: str
    stage: str
    valid: float
    steps: int


@dataclass(frozen=True)
class Ensemble:
    """The average of some trained models beside the single model that is handed back.

    Attributes:
        members: the best first.
        average: how outputs become one, see `dashfx.deploy.programs.averaged.Averaged`.
        figures: of the average; `alone` of the single model, measured in turn with it.
        steps: of all training that led to the average, the search's included; `alone_steps` to the single model.
        onnx_valid: the metric on the validation part through ONNX Runtime.
        exported: how the file was checked; None without an `out` folder.
        why: where there is no average, or no file of it, why.
    """

    members: tuple[Member, ...] = ()
    average: str = ""
    figures: Figures | None = None
    alone: Figures | None = None
    steps: int = 0
    alone_steps: int = 0
    onnx_valid: float | None = None
    exported: ExportReport | None = None
    why: str = ""

    @property
    def name(self) -> str:
        return f"ensemble of {len(self.members)}"

    def sentence(self, metric: str) -> str:
        """What the average gains over the single model, and what that costs."""
        if self.figures is None or self.alone is None:
            return f"no ensemble: {self.why}"
        pair, names = (self.figures, self.alone), "; ".join(each.name for each in self.members)
        valid, test = (tuple(f"{value:.4f}" for value in each) for each in zip(*map(_metrics, pair), strict=True))
        latency = [f"{1e3 * figures.latency.median:.3g} ms" for figures in pair if figures.latency]
        costs = {
            "latency of a row": latency if len(latency) == len(pair) else [],
            "parameters": [f"{figures.parameters:,}" for figures in pair],
            "steps of training": [f"{steps:,}" for steps in (self.steps, self.alone_steps)],
        }
        parts = [f"{metric} on validation {_against(*valid)}, on test {_against(*test)}"]
        parts += [f"{name} {_against(*values)}" for name, values in costs.items() if values]
        missing = f"; no file: {self.why}" if self.why else ""
        return f"{self.name} ({names}) against the single model: {'; '.join(parts)}{missing}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; `from_dict` reads it."""
        exported = self.exported.to_dict() if self.exported else None
        return asdict(replace(self, exported=None)) | {"exported": exported, "members": list(map(asdict, self.members))}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Ensemble:
        """What `to_dict` gave, also after JSON."""
        read = {name: Figures.from_dict(facts[name]) if facts[name] else None for name in ("figures", "alone")}
        members = tuple(Member(**each) for each in facts["members"])
        exported = ExportReport.from_dict(facts["exported"]) if facts["exported"] else None
        return cls(**{**facts, **read, "members": members, "exported": exported})


def _metrics(figures: Figures) -> tuple[float, float]:
    return figures.valid, figures.test


def _against(average: str, alone: str) -> str:
    return f"{average} against {alone}"
