"""Clock of a run under a budget of wall time: what was decided for its stages, and what late ones do with what is left.

Decisions stand in `budget.json`, so that a resumed run keeps to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from dashfx.config.files import seconds_of
from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO
from dashfx.run.folder import RunFolder, read_facts, reading, write_text
from dashfx.run.run import Run
from dashfx.train.processes import first_does

RESERVE = 0.1  # of the budget: for the export, and for epochs that turn out slower than those measured
CLOSING = 10.0  # seconds, the least that is kept back: comparing, export and report of a small net on a slow core


@dataclass(frozen=True)
class Decision:
    """What `budget.json` holds.

    Attributes:
        budget, spent: seconds in all, and before the decision.
        measured: stage -> seconds of one of its epochs, all models that it trains together.
        epochs: stage -> how many it has.
        late: what was decided by the clock on the way, see `dashfx.stages.costs.clock`.
    """

    budget: float
    spent: float
    measured: Mapping[str, float]
    epochs: Mapping[str, int]
    late: Mapping[str, int] = field(default_factory=dict)

    def said(self, config: RunConfig) -> str:
        """What was decided, in a line."""
        ended = {"retrain"} if config.retrain.epochs == AUTO else set()
        parts = (
            f"{name} {'at most ' if name in ended else ''}{n} epochs of {self.measured[name]:.3g} s"
            for name, n in self.epochs.items()
        )
        return f"budget of {self.budget:.0f} s, {self.spent:.0f} s of it spent: {', '.join(parts)}"

    def applied(self, config: RunConfig) -> RunConfig:
        """The options with the epochs that were decided: of a retraining that validation ends, the most."""
        sizes = {name: {"epochs": n} for name, n in self.epochs.items()}
        if config.retrain.epochs == AUTO and "retrain" in sizes:
            most = self.epochs["retrain"]
            sizes["retrain"] = {"max_epochs": min(most, config.retrain.max_epochs or most)}
        blocks = {name: getattr(config, name).model_copy(update=size) for name, size in sizes.items()}
        return config.model_copy(update=blocks)


def decided(folder: RunFolder | None) -> Decision | None:
    """What stands in a run's folder; None where nothing was decided."""
    if folder is None or not folder.budget.is_file():
        return None
    remedy = "remove it, and epochs are decided anew"
    facts = read_facts(folder.budget, remedy)
    with reading(folder.budget, remedy):
        found = Decision(**facts)
        if not found.epochs or not all(type(n) is int and n > 0 for n in found.epochs.values()):
            raise ValueError(f"epochs {found.epochs}")
        measured = {n: float(found.measured[n]) for n in found.epochs}
        late = {str(what): int(value) for what, value in found.late.items()}
        return Decision(float(found.budget), float(found.spent), measured, found.epochs, late)


def kept_back(budget: float, files: int = 1) -> float:
    """The seconds of a budget that no epoch gets: so many files are exported and checked."""
    return max(RESERVE * budget, files * CLOSING)


def files_of(config: RunConfig) -> int:
    """How many ONNX files a run writes: the model's, and those beside it."""
    options = config.export
    return 1 + bool(config.ensemble.wanted) + options.int8 + (options.preprocess or options.postprocess)


def by_clock(run: Run, what: str, decide: Callable[[float], int]) -> int:
    """What `decide` makes of the seconds that are left; what was decided before a run was interrupted stays.

    The epochs of all stages are planned before the search. A machine that others load since then is slower, and what
    only adds to a result can still be less.

    Args:
        what: the stage, under whose name the decision stands in `budget.json`.
    """
    folder, budget = run.session.folder, seconds_of(run.config.budget or "")
    before = decided(folder)
    if before is not None and what in before.late:
        return before.late[what]
    value = first_does(run.session.accelerator, lambda: decide(budget - run.session.elapsed))
    if before is not None and run.session.writes:
        known = replace(before, late={**before.late, what: value})
        write_text(run.session.writes.budget, json.dumps(asdict(known), indent=2) + "\n")
    run.session.wait()
    return value
