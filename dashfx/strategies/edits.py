"""Edits of a search space: candidates that leave a supernet before its search begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from dashfx.ops import AggConv
from dashfx.plugins import Positive


class Edit(ABC):
    """Changes the sites in place, in the same way at every call with the same sites: a resumed search does it again."""

    @abstractmethod
    def apply(self, sites: Mapping[str, AggConv]) -> str:
        """What was done, for the user; "" where nothing was."""


@dataclass(frozen=True)
class Within(Edit):
    """Candidates leave whose span exceeds a share of their site's input along some axis; a conv's own kernel stays.

    Where all of them exceed it, the one of the smallest span stays.
    """

    share: Positive = 0.5

    def apply(self, sites: Mapping[str, AggConv]) -> str:
        gone = 0
        for site in sites.values():
            kept = self._kept(site)
            gone += len(site.candidates) - len(kept)
            if len(kept) < len(site.candidates):
                site.keep(kept)
        return f"within: {gone} candidates that span more than {self.share:g} of their input leave" if gone else ""

    def _kept(self, site: AggConv) -> list[int]:
        if site.site is None:
            return list(range(len(site.candidates)))
        size = site.site.input_size
        shares = [max(s / n for s, n in zip(c.span, size, strict=True)) for c in site.candidates]
        kept = [i for i, c in enumerate(site.candidates) if shares[i] <= self.share or c == site.original]
        return kept or [shares.index(min(shares))]


EDITS: dict[str, type[Edit]] = {"within": Within}
