"""Models and one batch go in; a table of their scores beside parameters and FLOPs comes out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dashfx.errors import ProxyError, did_you_mean
from dashfx.proxy.correlation import LEAST, Correlation, correlate
from dashfx.proxy.gennas.vote import vote

ALWAYS = ("params", "flops")
VOTE = "vote"


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        scores: by proxy, `params` and `flops` first; the worst value where a run diverged or was refused.
        seconds: for all its scores.
        note: why a score is missing; empty where nothing went wrong.
    """

    name: str
    scores: Mapping[str, float]
    seconds: float
    note: str = ""

    @property
    def params(self) -> float:
        return self.scores["params"]

    @property
    def flops(self) -> float:
        return self.scores["flops"]


@dataclass(frozen=True)
class Ranking:
    """A row a model, in the order of the list.

    Attributes:
        maximise: by proxy, whether a larger score is better.
    """

    rows: tuple[Row, ...]
    maximise: Mapping[str, bool]

    @property
    def proxies(self) -> list[str]:
        """The columns, `params` and `flops` first."""
        return list(self.maximise)

    def better(self, proxy: str) -> dict[str, float]:
        """Model -> score, turned so that larger is better.

        Raises:
            ProxyError: no such column.
        """
        if proxy not in self.maximise:
            raise ProxyError(f"no column {proxy!r}{did_you_mean(proxy, self.maximise)}; there are {self.proxies}")
        sign = 1 if self.maximise[proxy] else -1
        return {row.name: sign * row.scores[proxy] for row in self.rows}

    def order(self, proxy: str) -> list[str]:
        """Names from best to worst; equal scores by name."""
        scores = self.better(proxy)
        return sorted(scores, key=lambda name: (-scores[name], name))

    def failed(self, proxy: str) -> int:
        """How many models diverged under this proxy or were refused by it."""
        return sum(not math.isfinite(score) for score in self.better(proxy).values())

    def voted(self, proxies: Sequence[str] | None = None) -> Ranking:
        """With a further column `vote`, the mean rank under `proxies`: all but parameters and FLOPs where not given."""
        columns = [list(self.better(p).values()) for p in proxies or [p for p in self.proxies if p not in ALWAYS]]
        if not columns:
            raise ProxyError("nobody to vote: rank with one proxy or more")
        rows = [replace(r, scores={**r.scores, VOTE: v}) for r, v in zip(self.rows, vote(columns), strict=True)]
        return Ranking(tuple(rows), {**self.maximise, VOTE: False})

    def correlation(
        self, truth: Mapping[str, float], maximise: bool = True, resamples: int = 1000, seed: int = 0
    ) -> dict[str, Correlation]:
        """Each column's agreement with known results of some or all of the models; positive is agreement.

        Args:
            truth: model -> result; names that were not ranked are left out.
            maximise: whether a larger result is better.

        Raises:
            ProxyError: fewer than three known results, or results that are all the same or not finite.
        """
        known = [row.name for row in self.rows if row.name in truth]
        if len(known) < LEAST:
            raise ProxyError(
                f"{len(known)} of {len(self.rows)} ranked models have a known result: give {LEAST} or more, by the "
                f"names {', '.join(row.name for row in self.rows[:3])}, ..."
            )
        results = [truth[name] if maximise else -truth[name] for name in known]
        columns = {proxy: self.better(proxy) for proxy in self.proxies}
        return {
            proxy: correlate([scores[name] for name in known], results, resamples, seed)
            for proxy, scores in columns.items()
        }

    def to_csv(self) -> str:
        """A header, then a line a model: name, every column, seconds, note."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *self.proxies, "seconds", "note"])
        for row in self.rows:
            writer.writerow([row.name, *(row.scores[p] for p in self.proxies), f"{row.seconds:.3f}", row.note])
        return text.getvalue()
