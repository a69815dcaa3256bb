"""Black-box optimisers: `ask` gives genomes, `tell` takes what they are worth; every row is kept."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic

import torch

from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.objectives import Objective
from dashfx.errors import DashfxError, RunFolderError
from dashfx.train.progress import end_last_line, read_log

FIRST = "valid"  # the first objective's name: what the evaluator says
Value = float | Sequence[float]  # what a genome is worth: one number, or one for each of several objectives
Evaluate = Callable[..., Sequence[Value]]  # of genomes, and of a fidelity where it is not 1


@dataclass(frozen=True)
class Proposal(Generic[G]):
    """A genome to evaluate, and the number of the row that it was made from; None where it was drawn.

    Attributes:
        fidelity: the share of a whole evaluation that is wanted, above 0 and at most 1.
    """

    genome: G
    parent: int | None = None
    fidelity: float = 1.0


@dataclass(frozen=True)
class Row(Generic[G]):
    """An evaluated genome.

    Attributes:
        number: how many came before it; the smaller, the older.
        value: in the evaluator's own unit; None where it is not a finite number, as after a diverged run.
        fitness: the value as optimisers see it, where larger is better; minus infinity for None.
        seconds: what the evaluation took; 0 where the value was known.
        others: the values of further objectives, by their names.
        fitnesses: of all objectives, where there are several: the first one's and those of `others`.
        fidelity: the share of a whole evaluation that the values come from.
    """

    number: int
    genome: G
    value: float | None
    fitness: float
    parent: int | None
    seconds: float
    others: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    fitnesses: tuple[float, ...] = ()
    fidelity: float = 1.0

    @property
    def point(self) -> tuple[float, ...]:
        """The fitness of each objective, whether there is one or several."""
        return self.fitnesses or (self.fitness,)


@dataclass(frozen=True)
class Told(Generic[G]):
    """What a history says of an evaluation."""

    genome: G
    value: float | None
    others: Mapping[str, float | None] = field(default_factory=dict)
    fidelity: float = 1.0


class Asking(ABC, Generic[G]):
    """A search under way: proposes genomes, and hears what they are worth, in the order of the proposals.

    What one `ask` gave is told before the next. It draws from its own generator only, so that the same values lead to
    the same proposals: a killed search is continued by replaying it.
    """

    def expect(self, objectives: int) -> None:
        """Hear, before the first proposal, how many objectives rows will have."""

    def priced(self, costs: Callable[[G], Sequence[float]]) -> None:
        """Hear, before the first proposal, what genomes have in the objectives beside the first, less being better.

        Only where that is known without an evaluation.
        """

    def remark(self) -> str:
        """What there is to say of the search when it is done; "" for nothing."""
        return ""

    @abstractmethod
    def ask(self, n: int) -> list[Proposal[G]]:
        """`n` genomes to evaluate."""

    def tell(self, rows: Sequence[Row[G]]) -> None:
        """What the genomes were worth; larger fitness is better."""


class Optimiser(ABC):
    """The settings of a search that sees nothing but values, as a frozen dataclass.

    One that knows of a single objective goes by the first, whatever else is evaluated.

    Attributes:
        uses_fidelity: it asks for evaluations that are less than whole, which not every evaluator gives.
    """

    uses_fidelity: ClassVar[bool] = False

    @abstractmethod
    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Asking[G]:
        """A new search.

        Args:
            start: rows of an earlier search to go on from, oldest first; their fitness is of the same kind.
        """

    def check(self, evaluations: int, objectives: int = 1) -> None:
        """Whether it can work with so many evaluations and objectives, before anything is read.

        Raises:
            ConfigError: it cannot.
        """


class History(Generic[G]):
    """The rows of a search in a JSONL file, flushed one by one, so that a killed search loses none that was finished.

    Args:
        path: None keeps nothing on disk.
        writes: whether this process, of several with the same search, is the one that writes.

    Attributes:
        before: what the file held already, in order; half a line at the end is dropped.

    Raises:
        RunFolderError: lines that are no rows of this space.
    """

    def __init__(self, path: Path | None, space: Space[G], writes: bool = True) -> None:
        self._path, self._space, self._writes = path, space, writes
        self.before = self._read()
        self._appended = False

    def _read(self) -> list[Told[G]]:
        try:
            return [
                Told(self._space.decode(row["genome"]), row["value"], row.get("others", {}), row.get("fidelity", 1.0))
                for row in (read_log(self._path) if self._path else [])
            ]
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
        if row.others:
            numbers = [each if math.isfinite(each) else None for each in row.fitnesses]
            facts |= {"others": dict(row.others), "fitnesses": numbers}
        facts |= {"fidelity": row.fidelity} if row.fidelity != 1 else {}
        if not self._appended:  # only an earlier process can have left half a line
            end_last_line(self._path)
            self._appended = True
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def optimise(
    asking: Asking[G],
    evaluate: Evaluate,
    evaluations: int,
    *,
    maximise: bool,
    others: Sequence[Objective] = (),
    history: History[G] | None = None,
    together: int = 1,
    on_row: Callable[[Row[G]], None] = lambda row: None,
) -> list[Row[G]]:
    """Every row of a search. Genomes met before are not evaluated again, those that `history` holds included.

    A search is continued by replaying it: the optimiser asks what it asked before and is told what the history has, so
    that it stands where it stood, its generator included.

    Args:
        asking: a new search, as `Optimiser.begin` gives it.
        evaluate: of genomes, what each is worth; called with a fidelity too where it is not 1.
        evaluations: the number of rows, repeats included.
        maximise: whether larger values are better; optimisers always see larger fitness as better.
        others: further objectives; `evaluate` then gives a number for each of them behind the first.
        together: how many genomes are asked for and evaluated at once.

    Raises:
        RunFolderError: a history that another search has written.
    """
    before = history.before if history else []
    aims = (Objective(FIRST, maximise), *others)
    known = {(told.genome, told.fidelity): _as_kept(told, others) for told in before}
    asking.expect(len(aims))
    rows: list[Row[G]] = []
    while len(rows) < evaluations:
        asked = asking.ask(min(together, evaluations - len(rows)))
        _check_replay(asked, before[len(rows) :])
        spent = _evaluated(asked, known, evaluate)
        told = []
        for number, each in enumerate(asked, len(rows)):
            key = each.genome, each.fidelity
            told.append(_row(number, each, known[key], aims, spent.pop(key, 0.0)))  # of equals, the first paid
        asking.tell(told)
        for row in told:
            if history:
                history.append(row)
            on_row(row)
        rows += told
    return rows


Known = dict[tuple[G, float], tuple[float | None, ...]]  # genome and fidelity -> the value of each objective


def _evaluated(asked: Sequence[Proposal[G]], known: Known[G], evaluate: Evaluate) -> dict[tuple[G, float], float]:
    """What new genomes took, in seconds; their values join `known`."""
    spent: dict[tuple[G, float], float] = {}
    for fidelity in dict.fromkeys(each.fidelity for each in asked):
        wanted = [(each.genome, fidelity) for each in asked if each.fidelity == fidelity]
        new = list(dict.fromkeys(key for key in wanted if key not in known))
        if not new:
            continue
        started = time.perf_counter()
        found = evaluate([genome for genome, _ in new], *([fidelity] if fidelity != 1 else []))
        known.update(zip(new, map(_values, found), strict=True))
        spent |= dict.fromkeys(new, (time.perf_counter() - started) / len(new))
    return spent


def _row(
    number: int, asked: Proposal[G], values: tuple[float | None, ...], aims: Sequence[Objective], seconds: float
) -> Row[G]:
    seen = tuple(fitness(value, aim.maximise) for value, aim in zip(values, aims, strict=True))
    others = {aim.name: value for aim, value in zip(aims[1:], values[1:], strict=True)}
    several = seen if others else ()
    return Row(number, asked.genome, values[0], seen[0], asked.parent, seconds, others, several, asked.fidelity)


def row_of(facts: Mapping[str, Any], genome: G) -> Row[G]:
    """The row of a line that `History` wrote, its genome decoded.

    Raises:
        KeyError, TypeError: the line is something else.
    """
    seen = tuple(-math.inf if each is None else float(each) for each in facts.get("fitnesses", ()))
    first = -math.inf if facts["fitness"] is None else facts["fitness"]
    more = facts.get("others", {}), seen, facts.get("fidelity", 1.0)
    return Row(facts["number"], genome, facts["value"], first, facts["parent"], facts["seconds"], *more)


def best_of(rows: Sequence[Row[G]]) -> Row[G]:
    """The fittest row among those of the highest fidelity that have a value, the oldest of equals."""
    return max(rows, key=lambda row: (row.value is not None, row.fidelity, row.fitness, -row.number))


def fitness(value: float | None, maximise: bool) -> float:
    """A value as optimisers see it: larger is better, and what is not a number comes last."""
    if value is None:
        return -math.inf
    return value if maximise else -value


def _check_replay(asked: Sequence[Proposal[G]], before: Sequence[Told[G]]) -> None:
    same = zip(asked, before, strict=False)
    if any((now.genome, now.fidelity) != (then.genome, then.fidelity) for now, then in same):
        raise RunFolderError("the history is of a search with other settings; use the same ones, or another --out")


def _as_kept(told: Told[G], others: Sequence[Objective]) -> tuple[float | None, ...]:
    if told.others.keys() != {each.name for each in others}:
        raise RunFolderError("the history is of a search with other objectives; use the same ones, or another --out")
    return (told.value, *(told.others[each.name] for each in others))


def _values(value: Value) -> tuple[float | None, ...]:
    numbers = (value,) if isinstance(value, int | float) else tuple(value)
    return tuple(float(each) if math.isfinite(each) else None for each in numbers)
