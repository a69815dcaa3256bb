"""A strategy that proposes what a test wants, and runs of it on the toys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.genotype import Genotype
from dashfx.run.result import Result
from dashfx.space import Candidate
from dashfx.strategies.base import Context, Strategy
from dashfx.train.progress import QUIET, Observer

K3, K5, D2, K5D2 = Candidate(3), Candidate(5), Candidate(3, 2), Candidate(5, 2)
DATA = toy_data()


@dataclass(frozen=True)
class Proposing(Strategy):
    """One choice for all sites, or one a site, for each proposal; nothing is looked at."""

    choices: tuple[Candidate | tuple[Candidate, ...], ...]

    def search(self, context: Context) -> Genotype:
        return self.proposals(context)[0]

    def proposals(self, context: Context) -> tuple[Genotype, ...]:
        return tuple(
            Genotype(dict(zip(context.sites, each if isinstance(each, tuple) else [each] * 2, strict=True)), "proposed")
            for each in self.choices
        )

    @property
    def proposed(self) -> int:
        return len(self.choices)


def options(epochs: int = 6, **finalists: Any) -> dict[str, Any]:
    retrain = {"epochs": epochs, "batch_size": 16, "weights": "fresh"}
    return {**FAST, "control": True, "retrain": retrain, "finalists": {"longer": False, **finalists}}


def run(
    *choices: Candidate | tuple[Candidate, ...],
    out: Path | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
    model: Any = ToyNet,
    data: Any = DATA,
    more: dict[str, Any] | None = None,
    **finalists: Any,
) -> Result:
    """A run of these proposals, on fresh weights with 6 epochs."""
    config = {**options(**finalists), **(more or {})}
    return dashfx.search(
        model, data, strategy=Proposing(choices), config=config, out=out, observer=observer, resume=resume
    )


def stages(result: Result) -> list[str]:
    return list(dict.fromkeys(epoch.stage for epoch in result.history))


def names(result: Result) -> Sequence[str]:
    return [each.name for each in result.finalists]


def everything() -> dict[str, Any]:
    """What one process comes to of a run with all that can be asked for."""
    wanted: dict[str, Any] = {"count": 2, "seeds": 2, "longer": True, "wider": {"width": "auto"}, "refit": True}
    result = run(K5, D2, K5D2, **wanted)
    facts = result.to_dict()
    told = ("verdict", "finalists", "race", "refit", "valid", "test", "kept")
    return {**{name: facts[name] for name in told}, "weights": sum(float(p.sum()) for p in result.model.parameters())}
