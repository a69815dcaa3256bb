"""Account of a run's wall time: where it went, stage by stage, and how much of it was training.

Training is forward, backward and optimiser; all else is not, waiting for data, validation and measuring included. Of a
GPU it is the host's time: what the device does counts where the host waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dashfx.train.progress import Epoch

IMPORT, LOAD, ELSE = "import", "load", "else"
TRAINING, DATA, VALIDATION, CALIBRATION, MEASURING, SAVING, OTHER = (
    "training",
    "data",
    "validation",
    "calibration",
    "measuring",
    "saving",
    "other",
)
KINDS = (TRAINING, DATA, VALIDATION, CALIBRATION, MEASURING, SAVING, OTHER)
SHOWN = 0.05  # seconds, from which on a table has them
REWRITING = "rewrite"
PASSES = ("trace", "canonicalise", "substitute", "prune", "annotate", "probe", "discretise", "lower")
# Stages that have others of the same kind beside them: proposals, seeds and folds.
SEVERAL = ("search", "one-by-one", "race", "retrain", "control-longer", "control-wider", "control", "random", "tune")


@dataclass(frozen=True)
class Account:
    """Seconds by row and kind.

    Attributes:
        rows: stage, or what several of them are called -> kind -> seconds; stages that took nothing are left out.
        untouched: seconds of one training of the untouched network, with all that its stage took; None without one.
    """

    rows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    untouched: float | None = None

    @property
    def total(self) -> float:
        return sum(self.of(row) for row in self.rows)

    @property
    def share(self) -> float:
        """Of training in all."""
        return self.kind(TRAINING) / self.total if self.total else 0.0

    @property
    def trainings(self) -> float | None:
        """The whole run in trainings of the untouched network."""
        return self.total / self.untouched if self.untouched else None

    def of(self, row: str) -> float:
        """Seconds of a row."""
        return sum(self.rows[row].values())

    def kind(self, kind: str) -> float:
        """Seconds of a kind in all rows."""
        return sum(row.get(kind, 0.0) for row in self.rows.values())

    @property
    def kinds(self) -> list[str]:
        """Those that took as much as a table shows, in their order."""
        return [kind for kind in KINDS if self.kind(kind) >= SHOWN]

    @property
    def sentence(self) -> str:
        """How much of the time was training, and what the run cost in trainings of the untouched network."""
        told = f"{100 * self.share:.0f} % of {self.total:.1f} s was training"
        if self.trainings is None:
            return told
        return f"{told}; all of it is {self.trainings:.1f} trainings of the untouched network"

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds under `account`."""
        rows = {row: {kind: round(s, 3) for kind, s in kinds.items()} for row, kinds in self.rows.items()}
        return {
            "seconds": round(self.total, 2),
            "training": round(self.share, 4),
            "trainings": None if self.trainings is None else round(self.trainings, 3),
            "untouched": None if self.untouched is None else round(self.untouched, 3),
            "rows": rows,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Account:
        rows = {str(row): {str(k): float(s) for k, s in kinds.items()} for row, kinds in facts["rows"].items()}
        return cls(rows, None if facts["untouched"] is None else float(facts["untouched"]))


def row_of(stage: str) -> str:
    """The row that a stage is counted in.

    >>> row_of("race-1-k7 d1"), row_of("retrain-seed-2"), row_of("control-longer"), row_of("lower"), row_of("export")
    ('race', 'retrain', 'control-longer', 'rewrite', 'export')
    """
    if stage in PASSES:
        return REWRITING
    return next((name for name in SEVERAL if stage == name or stage.startswith(f"{name}-")), stage)


def account(
    seconds: Mapping[str, float],
    parts: Mapping[str, Mapping[str, float]],
    history: Iterable[Epoch],
    elapsed: float,
    untouched: str | None = None,
) -> Account:
    """The account of what a run's ledger holds.

    Epochs of an earlier process or of workers are in the history, not on this process's clock: they count in full.

    Args:
        seconds: stage -> wall time in this process; `parts` what of it went into a kind.
        elapsed: wall time of this process since the run began, imports not included.
        untouched: the stage that trains the untouched network, and what stages its further trainings begin with.
    """
    epochs: dict[str, list[Epoch]] = {}
    for epoch in history:
        epochs.setdefault(epoch.stage, []).append(epoch)
    rows: dict[str, dict[str, float]] = {}
    for stage in {**seconds, **epochs}:
        row = rows.setdefault(row_of(stage), {})
        for kind, amount in _kinds(seconds.get(stage, 0.0), parts.get(stage, {}), epochs.get(stage, [])).items():
            row[kind] = row.get(kind, 0.0) + amount
    inside = sum(amount for stage, amount in seconds.items() if stage != IMPORT)
    rows[ELSE] = {OTHER: max(0.0, elapsed - inside)}
    kept = {name: {k: s for k, s in row.items() if s > 0} for name, row in rows.items()}
    trained = [stage for stage in epochs if untouched and row_of(stage) == untouched]
    each = sum(kept[untouched].values()) / len(trained) if untouched and trained else None
    return Account({name: row for name, row in kept.items() if row}, each)


def _kinds(seconds: float, parts: Mapping[str, float], epochs: list[Epoch]) -> dict[str, float]:
    """Of one stage."""
    found = {TRAINING: sum(epoch.training for epoch in epochs), **parts}
    for epoch in epochs:
        for kind, amount in epoch.spent.items():
            found[kind] = found.get(kind, 0.0) + amount
    return {**found, OTHER: max(0.0, seconds - sum(found.values()))}
