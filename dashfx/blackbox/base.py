"""Black-box optimisers: `ask` gives genomes, `tell` takes what they are worth; every row is kept."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch

from dashfx.blackbox.genomes import G, Space
from dashfx.errors import DashfxError, RunFolderError
from dashfx.train.progress import end_last_line, read_log

Evaluate = Callable[[Sequence[G]], Sequence[float]]


@dataclass(frozen=True)
class Proposal(Generic[G]):
    """A genome to evaluate, and the number of the row that it was made from; None where it was drawn."""

    genome: G
    parent: int | None = None


@dataclass(frozen=True)
class Row(Generic[G]):
    """An evaluated genome.

    Attributes:
        number: how many came before it; the smaller, the older.
        value: in the evaluator's own unit; None where it is not a finite number, as after a diverged run.
        fitness: the value as optimisers see it, where larger is better; minus infinity for None.
        seconds: what the evaluation took; 0 where the value was known.
    """

    number: int
    genome: G
    value: float | None
    fitness: float
    parent: int | None
    seconds: float


class Asking(ABC, Generic[G]):
    """A search under way: proposes genomes, and hears what they are worth, in the order of the proposals.

    What one `ask` gave is told before the next. It draws from its own generator only, so that the same values lead to
    the same proposals: a killed search is continued by replaying it.
    """

    @abstractmethod
    def ask(self, n: int) -> list[Proposal[G]]:
        """`n` genomes to evaluate."""

    def tell(self, rows: Sequence[Row[G]]) -> None:
        """What the genomes were worth; larger fitness is better."""


class Optimiser(ABC):
    """The settings of a search that sees nothing but values, as a frozen dataclass."""

    @abstractmethod
    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Asking[G]:
        """A new search.

        Args:
            start: rows of an earlier search to go on from, oldest first; their fitness is of the same kind.
        """


class History(Generic[G]):
    """The rows of a search in a JSONL file, flushed one by one, so that a killed search loses none that was finished.

    Args:
        path: None keeps nothing on disk.
        writes: whether this process, of several with the same search, is the one that writes.

    Attributes:
        before: genomes and values that the file held already, in order; half a line at the end is dropped.

    Raises:
        RunFolderError: lines that are no rows of this space.
    """

    def __init__(self, path: Path | None, space: Space[G], writes: bool = True) -> None:
        self._path, self._space, self._writes = path, space, writes
        self.before = self._read()
        self._appended = False

    def _read(self) -> list[tuple[G, float | None]]:
        try:
            rows = read_log(self._path) if self._path else []
            return [(self._space.decode(row["genome"]), row["value"]) for row in rows]
        except (KeyError, TypeError, AttributeError, OSError, DashfxError) as error:
            raise RunFolderError(f"{self._path}: not the rows of this search ({error!r}); use another --out") from None

    def append(self, row: Row[G]) -> None:
        """Write a row that is new."""
        if self._path is None or not self._writes or row.number < len(self.before):
            return
        facts: dict[str, Any] = {
            "number": row.number,
            "genome": self._space.encode(row.genome),
            "value": row.value,
            "fitness": None if row.value is None else row.fitness,
            "parent": row.parent,
            "seconds": round(row.seconds, 3),
        }
        if not self._appended:  # only an earlier process can have left half a line
            end_last_line(self._path)
            self._appended = True
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def optimise(
    asking: Asking[G],
    evaluate: Evaluate[G],
    evaluations: int,
    *,
    maximise: bool,
    history: History[G] | None = None,
    together: int = 1,
    on_row: Callable[[Row[G]], None] = lambda row: None,
) -> list[Row[G]]:
    """Every row of a search. Genomes met before are not evaluated again, those that `history` holds included.

    A search is continued by replaying it: the optimiser asks what it asked before and is told what the history has, so
    that it stands where it stood, its generator included.

    Args:
        asking: a new search, as `Optimiser.begin` gives it.
        evaluations: the number of rows, repeats included.
        maximise: whether larger values are better; optimisers always see larger fitness as better.
        together: how many genomes are asked for and evaluated at once.

    Raises:
        RunFolderError: a history that another search has written.
    """
    before = history.before if history else []
    values: dict[G, float | None] = dict(before)
    rows: list[Row[G]] = []
    while len(rows) < evaluations:
        asked = asking.ask(min(together, evaluations - len(rows)))
        _check_replay([each.genome for each in asked], [genome for genome, _ in before[len(rows) :]])
        new = list(dict.fromkeys(each.genome for each in asked if each.genome not in values))
        started = time.perf_counter()
        values.update(zip(new, map(_finite, evaluate(new) if new else ()), strict=True))
        spent = dict.fromkeys(new, (time.perf_counter() - started) / max(1, len(new)))
        told = []
        for number, each in enumerate(asked, len(rows)):
            value, seconds = values[each.genome], spent.pop(each.genome, 0.0)  # of equals in one go, the first paid
            told.append(Row(number, each.genome, value, fitness(value, maximise), each.parent, seconds))
        asking.tell(told)
        for row in told:
            if history:
                history.append(row)
            on_row(row)
        rows += told
    return rows


def best_of(rows: Sequence[Row[G]]) -> Row[G]:
    """The fittest row, the oldest of equals."""
    return max(rows, key=lambda row: (row.fitness, -row.number))


def fitness(value: float | None, maximise: bool) -> float:
    """A value as optimisers see it: larger is better, and what is not a number comes last."""
    if value is None:
        return -math.inf
    return value if maximise else -value


def _check_replay(asked: Sequence[G], before: Sequence[G]) -> None:
    if any(now != then for now, then in zip(asked, before, strict=False)):
        raise RunFolderError("the history is of a search with other settings; use the same ones, or another --out")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
