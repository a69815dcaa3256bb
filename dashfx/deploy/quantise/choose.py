"""Accuracy control: the most of a model in int8 that costs no more of the metric than is allowed, and gains speed."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashfx.deploy.export import folder_beside
from dashfx.deploy.quantise.qdq import METHODS, Quantiser, batches
from dashfx.deploy.runtime import OnnxModel
from dashfx.deploy.timing import medians
from dashfx.errors import VerifyError, first_line

logger = logging.getLogger(__name__)

SLOW, SENSITIVE = "slower in int8", "sensitive"  # why a node is in float
SLOWER = 1.03  # a node goes back to float where the whole file is this many times as fast without it in int8
ROUNDS = 4
SECONDS = 2.0  # for the calls that tell which nodes those are

Times = Callable[[Sequence[Path], Sequence[Tensor], float], Sequence[float]]


@dataclass(frozen=True)
class Judge:
    """What an int8 file is worth, and how much less than the float file that may be.

    Attributes:
        metric: of a file, on the validation part.
        before: that of the float file.
        limit: the largest drop, in the metric's units.
        why: what the limit is.
        pytorch: the metric of the PyTorch model, where it is known.
    """

    metric: Callable[[Path], float]
    before: float
    maximise: bool
    limit: float
    why: str
    pytorch: float | None = None

    def drop(self, metric: float) -> float:
        """How much worse than the float file, or than PyTorch where that is better; NaN for a metric that is none."""
        known = (self.before,) if self.pytorch is None else (self.before, self.pytorch)
        return max(known) - metric if self.maximise else metric - min(known)

    def allows(self, metric: float) -> bool:
        return self.drop(metric) <= self.limit  # false for NaN


@dataclass(frozen=True)
class Int8:
    """An int8 file beside the float one, and what it costs and gains.

    Attributes:
        path: None where none is worth keeping.
        why: in that case, why.
        metric: on the validation part, through ONNX Runtime; `before` of the float file.
        pytorch: that of the PyTorch model.
        max_drop: the largest drop that was allowed, and `limit` what it is.
        speedup: seconds of a call of the float file over those of this one, on one CPU thread.
        sites: how many convs and matrix products there are.
        in_float: which of them are not in int8, each with the reason.
        calibration: how ranges were told, from how many `rows` of the training part.
        finetuned: epochs in which its weights have learned what int8 does; they are others than the float file's then.
        form: of the graph that it is made of, where that is not the float file's.
    """

    path: Path | None
    why: str = ""
    metric: float | None = None
    before: float | None = None
    max_drop: float | None = None
    limit: str = ""
    bytes: int = 0
    float_bytes: int = 0
    speedup: float | None = None
    sites: int = 0
    in_float: Mapping[str, str] = field(default_factory=dict)
    calibration: str = ""
    rows: int = 0
    finetuned: int = 0
    form: str = ""
    pytorch: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; `from_dict` reads it."""
        return asdict(self) | {"path": str(self.path) if self.path else None}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Int8:
        return cls(**{**facts, "path": Path(facts["path"]) if facts["path"] else None})

    def __str__(self) -> str:
        if self.path is None:
            return f"no int8 file: {self.why}"
        assert self.metric is not None and self.before is not None
        size = f"{self.bytes / 1e6:.3g} MB instead of {self.float_bytes / 1e6:.3g}"
        pytorch = "" if self.pytorch is None else f"PyTorch {self.pytorch:.4f}, "
        metric = f"metric on validation {self.metric:.4f} instead of {self.before:.4f} ({pytorch}allowed drop "
        tuned = f", weights fine-tuned, {self.finetuned} epochs" if self.finetuned else ""
        return (
            f"{self.path.name}: {size}, {self.speedup:.2f} times as fast on this machine, {metric}"
            f"{self.max_drop:.2g}, {self.limit}); {self.sites - len(self.in_float)} of {self.sites} nodes in int8, "
            f"{self.calibration} calibration on {self.rows} rows{tuned}{f', {self.form}' if self.form else ''}"
        )


def quantise(
    path: Path,
    out: Path,
    rows: Tensor,
    held: Tensor,
    judge: Judge,
    times: Times | None = None,
    others: Mapping[str, Path] | None = None,
) -> Int8:
    """Write `path` as int8 to `out`, with as few nodes in float as the judge and the clock ask for.

    1. Ranges are told from `rows` in each of three ways; the one whose answers on `held` are nearest counts.
    2. A node goes back to float where the file is faster so, see `SLOWER`. Of `path` and `others` the one whose int8
       file is the fastest then is what `out` is made of.
    3. While the metric falls by more than is allowed, nodes go back to float, those first that alone change the answers
       on `held` most: the fewest for which it holds, found by halving.
    4. `out` is written where that leaves a node in int8, and the file is smaller or faster; else it is removed.

    Args:
        rows, held: inputs of the training part, as the model takes them; the second are not among the first.
        times: of files, as `medians`.
        others: files with the answers of `path` in other forms, since what makes a float file fast need not make its
            int8 file fast; by what is said where one is the better one.
    """
    with folder_beside(out) as folder:
        try:
            forms = forms_of({"": path, **(others or {})}, folder, rows, held, judge, times or medians)
            found = first_kept(forms, out)
        except VerifyError:
            raise
        except Exception as error:  # ONNX Runtime's tools raise many classes
            logger.debug("quantise", exc_info=True)
            found = Int8(
                None, f"ONNX Runtime cannot quantise {path.name} ({type(error).__name__}: {first_line(error)})"
            )
    if found.path is None:
        out.unlink(missing_ok=True)
    return found


def first_kept(forms: Sequence[tuple[str, Search]], out: Path) -> Int8:
    """Of the first form that leaves an int8 file; else why the first one leaves none."""
    tried = []
    for name, search in forms:
        found = replace(search.result(out), form=name)
        if found.path is not None:
            return found
        tried.append(found)
    return tried[0]


def forms_of(
    paths: Mapping[str, Path], folder: Path, rows: Tensor, held: Tensor, judge: Judge, times: Times
) -> list[tuple[str, Search]]:
    """The forms that can be quantised, that of the fastest int8 file first; of equals the earlier one.

    Files are taken with as much in int8 as is faster, whatever that does to the metric. A form without any such node
    comes last. An error of ONNX Runtime's tools leaves a form out; where none is left, the first one's is raised.
    """
    searches: dict[str, Search] = {}
    drafts: dict[str, Path] = {}
    failure: Exception | None = None
    for number, (name, path) in enumerate(paths.items()):
        (folder / str(number)).mkdir()
        try:
            search = Search(path, folder / str(number), rows, held, judge, times, next(iter(paths.values())))
            draft = search.quickest() if len(paths) > 1 else None
        except VerifyError:
            raise
        except Exception as error:
            logger.info("quantise: %s: %s", path.name, first_line(error))
            failure = failure or error
            continue
        searches[name] = search
        drafts |= {name: draft} if draft else {}
    if failure and not searches:
        raise failure
    timed = times(list(drafts.values()), next(iter(searches.values())).row, SECONDS) if len(drafts) > 1 else [0.0] * 2
    seconds = dict(zip(drafts, timed, strict=False))
    return sorted(searches.items(), key=lambda form: seconds.get(form[0], math.inf))


class Search:
    """Drafts of int8 files of one float file, and what they are worth.

    Attributes:
        judge: of drafts.
        sites: the nodes that may be in int8.
        row: what a call is timed with.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        rows: Tensor,
        held: Tensor,
        judge: Judge,
        times: Times,
        beside: Path | None = None,
    ) -> None:
        """
        Args:
            beside: the float file that size and speed are compared with, where it is another one.
        """
        self._path, self._folder, self.judge, self._times = beside or path, folder, judge, times
        self._quantiser = Quantiser(path, folder, rows)
        self._held, self._expected = held, OnnxModel(path).rows(held)
        self.sites = self._quantiser.sites
        self.row = (_least(held, path),)
        self._method, self._slow = "", list[str]()

    def result(self, out: Path) -> Int8:
        if not self.sites:
            return Int8(None, "the model has no conv or linear layer with constant weights")
        self.quickest()
        in_float = dict.fromkeys(self._slow, SLOW)
        sensitive, metric = self.sensitive([site for site in self.sites if site not in in_float])
        in_float |= dict.fromkeys(sensitive, SENSITIVE)
        judge, limit = self.judge, f"allowed {self.judge.limit:.2g}, {self.judge.why}"
        if len(in_float) == len(self.sites):
            if metric is None:
                return Int8(None, "every node is slower in int8 on this machine")
            drop = judge.drop(metric)
            return Int8(None, f"with one node in int8 the metric on validation falls by {drop:.2g} ({limit})")
        assert metric is not None
        return self.kept(out, in_float, metric)

    def kept(self, out: Path, in_float: Mapping[str, str], metric: float, gains: bool = True) -> Int8:
        """The draft with these nodes in float, written to `out`.

        Args:
            in_float: node -> why.
            metric: of that draft.
            gains: only where it is smaller or faster.
        """
        draft = self.without(in_float)
        old, new = self._times([self._path, draft], self.row, SECONDS / 2)
        sizes = draft.stat().st_size, self._path.stat().st_size
        if gains and sizes[0] >= sizes[1] and new >= old:
            return Int8(None, f"it is no smaller ({sizes[0]:,} bytes instead of {sizes[1]:,}) and no faster")
        os.replace(draft, out)
        kept = {site: in_float[site] for site in self.sites if site in in_float}
        told = (self._method, len(self._quantiser.rows))
        judge = self.judge
        found = Int8(
            out, "", metric, judge.before, judge.limit, judge.why, *sizes, old / new, len(self.sites), kept, *told
        )
        return replace(found, pytorch=judge.pytorch)

    def timed(self, paths: Sequence[Path]) -> Sequence[float]:
        """Seconds of a call of each file, in turn."""
        return self._times(paths, self.row, SECONDS)

    def quickest(self) -> Path | None:
        """The draft with as much in int8 as is faster, found once; None where that is nothing."""
        if self.sites and not self._method:
            self.calibrate()
            self._slow = self._slower()
        return self.without(self._slow) if len(self._slow) < len(self.sites) else None

    def calibrate(self) -> None:
        """Choose how ranges are told, once."""
        self._method = self._method or self._calibration()

    def _calibration(self) -> str:
        """The way to tell ranges whose answers are nearest; one that fails, as on a dead channel, does not count."""
        errors = {}
        for method in METHODS:
            try:
                errors[method] = self.error(self._quantiser.write(self._folder / f"{method}.onnx", self.sites, method))
            except VerifyError:
                raise
            except Exception as error:
                logger.info("quantise: %s calibration fails: %s", method, first_line(error))
                failure = error
        if not errors:
            raise failure
        return min(errors, key=lambda method: errors[method])

    def _slower(self) -> list[str]:
        """Nodes without which in int8 the file is faster; asked again, since a node between two of float may be one."""
        slower: list[str] = []
        for _ in range(ROUNDS):
            more = self._slower_still(slower)
            if not more:
                break
            slower += more
        return slower

    def _slower_still(self, in_float: Sequence[str]) -> list[str]:
        """Of the nodes in int8 those that cost time, each by itself, where the file is faster without all of them."""
        left = [site for site in self.sites if site not in in_float]
        if len(left) < 2:
            return []
        now = self.without(in_float)
        each = [self.without([*in_float, site]) for site in left]
        first, *seconds = self._times([now, *each], self.row, SECONDS)
        slower = [site for site, spent in zip(left, seconds, strict=True) if first >= SLOWER * spent]
        if len(slower) in (0, len(left)):
            return slower
        before, after = self._times([now, self.without([*in_float, *slower])], self.row, SECONDS / 2)
        return slower if after < before else []

    def sensitive(self, sites: list[str]) -> tuple[list[str], float | None]:
        """The fewest of `sites`, most sensitive first, that have to be in float, and the metric then.

        All of them where even one in int8 is too much; the metric is that of the one.
        """
        if not sites:
            return [], None
        others = [site for site in self.sites if site not in sites]
        metric = self.judge.metric(self.without(others))
        if self.judge.allows(metric):
            return [], metric
        order = sorted(sites, key=self.alone, reverse=True)
        metrics: dict[int, float] = {}

        def holds(count: int) -> bool:
            metrics[count] = self.judge.metric(self.without([*others, *order[:count]]))
            return self.judge.allows(metrics[count])

        low, high = 0, len(order) - 1  # at `low` it does not hold
        if high == 0 or not holds(high):
            return order, metrics.get(high, metric)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return order[:high], metrics[high]

    def alone(self, site: str) -> float:
        """How far the answers move with this node alone in int8."""
        return self.error(self._quantiser.write(self._folder / "alone.onnx", (site,), self._method))

    def without(self, in_float: Sequence[str] | Mapping[str, str]) -> Path:
        """The file with these nodes in float, written once."""
        marks = "".join("f" if site in in_float else "i" for site in self.sites)
        path = self._folder / f"{len(marks)}-{int(marks.replace('f', '0').replace('i', '1'), 2):x}.onnx"
        if not path.exists():
            self._quantiser.write(path, [site for site in self.sites if site not in in_float], self._method)
        return path

    def error(self, path: Path) -> float:
        """Of the answers on the held rows: root mean square of the difference over that of the float file's answers."""
        off = (OnnxModel(path).rows(self._held) - self._expected).double().square().mean().sqrt()
        error = (off / self._expected.double().square().mean().sqrt().clamp(min=1e-12)).item()
        return math.inf if math.isnan(error) else error


def _least(rows: Tensor, path: Path) -> Tensor:
    """The rows that a call is timed with: one, or as many as the file takes."""
    model = OnnxModel(path)
    batch = next(iter(batches(rows, model)))
    return batch[:1] if 0 in model.dynamic_axes[model.inputs[0]] else batch


def split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Three of four rows, and the others; a single row is both."""
    held = torch.arange(len(rows)) % 4 == 3
    return (rows[~held], rows[held]) if held.any() else (rows, rows)
