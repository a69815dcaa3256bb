"""Survey of loaded data, from a look at every row: sizes, ranges, classes, missing values, leaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dashfx.data.base import Arrays, Data, uncounted
from dashfx.data.checks.leaks import Leak, leaks
from dashfx.data.normalisation import Normalisation, moments
from dashfx.data.parts import PARTS


@dataclass(frozen=True)
class PartFacts:
    """One part.

    Attributes:
        low, high, mean, std: of x before it is normalised, over all channels.
        records, groups: how many its rows are of; None where there are none.
        missing: the share of y that is not known: NaN, or a class that is ignored.
        counts: how often each class occurs, or each label is 1; empty for numbers to regress.
    """

    part: str
    rows: int
    low: float
    high: float
    mean: float
    std: float
    records: int | None
    groups: int | None
    missing: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Survey:
    """All parts, and what stands in two of them."""

    parts: tuple[PartFacts, ...]
    leaks: tuple[Leak, ...]


def survey(data: Data) -> Survey:
    """Reads every row, those that are decoded on the way too, in pieces that fit in memory."""
    parts = {part: data.part(part) for part in PARTS}
    facts = tuple(_facts(part, arrays, data) for part, arrays in parts.items())
    return Survey(facts, tuple(leaks(parts)))


def _facts(part: str, arrays: Arrays, data: Data) -> PartFacts:
    raw = arrays.normalised(Normalisation.none(data.input_shape[0]))
    ends = [(float(x.min()), float(x.max())) for x in raw.chunks()]
    mean, std = moments(x.reshape(1, -1) for x in raw.chunks())
    y = arrays.targets
    unknown = np.isnan(y) if y.dtype.kind == "f" else uncounted(y) & (data.kind == "dense-classes")
    return PartFacts(
        part,
        len(arrays),
        min(low for low, _ in ends),
        max(high for _, high in ends),
        float(mean[0]),
        float(std[0]),
        _number(arrays.records),
        _number(arrays.groups),
        float(unknown.mean()),
        _counts(arrays, data),
    )


def _number(units: np.ndarray | None) -> int | None:
    return None if units is None else len(np.unique(units))


def _counts(arrays: Arrays, data: Data) -> tuple[int, ...]:
    if data.kind == "dense":
        return ()
    counts = arrays.label_counts()[0] if data.kind == "multilabel" else arrays.class_counts(data.n_outputs)
    return tuple(int(count) for count in counts)
