"""Int8 files at chosen convs: their names go in; files with exactly these in int8, and their worth, come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dashfx.deploy.quantise.choose import Int8, Judge, Search, Times
from dashfx.deploy.timing import medians

UNCHOSEN = "not chosen"


@dataclass(frozen=True)
class Draft:
    """A file with chosen convs in int8.

    Attributes:
        metric: on the validation part; `allowed` whether it is near enough to the float file's.
    """

    path: Path
    names: tuple[str, ...]
    metric: float
    allowed: bool


class Drafts:
    """Int8 files of one float file, each written once.

    Args:
        rows, held: as of `quantise`.
        beside: the float file that they are compared with, where it is another form of `path`.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        rows: Tensor,
        held: Tensor,
        judge: Judge,
        times: Times | None = None,
        beside: Path | None = None,
    ) -> None:
        self._float = beside or path
        self._search, self.judge = Search(path, folder, rows, held, judge, times or medians, beside), judge
        self._made: dict[frozenset[str], Draft] = {}
        self._alone: dict[str, float] = {}

    def known(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of some convs that the file has nodes of."""
        return tuple(name for name in names if self._nodes([name]))

    def draft(self, names: Iterable[str]) -> Draft:
        """The file with exactly these convs in int8, the float file where there are none.

        Names that it does not have are left out.
        """
        chosen = self.known(names)
        if not chosen:
            return Draft(self._float, (), self.judge.before, True)
        key = frozenset(chosen)
        if key not in self._made:
            self._search.calibrate()
            path = self._search.without(self._others(self._nodes(chosen)))
            metric = self.judge.metric(path)
            self._made[key] = Draft(path, chosen, metric, self.judge.allows(metric))
        return self._made[key]

    def drop(self, name: str) -> float:
        """How much worse the metric is with this conv alone in int8."""
        return self.judge.drop(self.draft([name]).metric)

    def error(self, name: str) -> float:
        """How far the answers move with this conv alone in int8: root mean squares of the change and of them."""
        if name not in self._alone:
            self._alone[name] = self._search.error(self.draft([name]).path)
        return self._alone[name]

    def reverted(self, names: Sequence[str]) -> Draft | None:
        """The most of these convs that may be in int8, the most sensitive ones left out; None where none may."""
        self._search.calibrate()
        order = sorted(self.known(names), key=self.error)
        low, high = 0, len(order)  # so many may, and so many at most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.draft(order[:middle]).allowed else (low, middle - 1)
        return self.draft(order[:low]) if low else None

    def kept(self, draft: Draft, out: Path) -> Int8:
        """That draft as `out`; what it has to gain was asked of it by budgets."""
        in_float = dict.fromkeys(self._others(self._nodes(draft.names)), UNCHOSEN)
        return self._search.kept(out, in_float, draft.metric, gains=False)

    def seconds(self, paths: Sequence[Path]) -> Sequence[float]:
        """Of a call of each file, in turn."""
        return self._search.timed(paths)

    def _nodes(self, names: Collection[str]) -> list[str]:
        """A conv's node bears its name; those of several kernels that share its place have names below it."""
        return [node for node in self._search.sites if any(node == n or node.startswith(f"{n}.") for n in names)]

    def _others(self, nodes: Collection[str]) -> list[str]:
        return [node for node in self._search.sites if node not in nodes]
