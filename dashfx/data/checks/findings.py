"""Warnings about data that can be learnt from but misleads: notes on classes, targets, constants and shifted parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dashfx.data.base import Arrays, Data
from dashfx.data.normalisation import Normalisation

LOOKED_AT = 500  # rows of a part, evenly spread, for what a few rows tell as well
MAJORITY = 0.9
FAR = 10.0  # deviations of the train part
SHOWN = 8


def findings(data: Data, prints: dict[str, np.ndarray] | None) -> list[str]:
    """One line each; what asks for a look at rows that are slow to make is left out where `prints` are not known."""
    found = [*_targets(data)]
    if data.kind == "classes":
        found += _classes(data)
    if prints is not None:
        found += [*_contradictions(data, prints), *_inputs(data)]
    return found


def _name(data: Data, number: int) -> str:
    return repr(data.labels[number]) if number < len(data.labels) else str(number)


def _classes(data: Data) -> Iterator[str]:
    counts = data.train.class_counts(data.n_outputs)
    largest, share = int(counts.argmax()), float(counts.max() / max(1, counts.sum()))
    if share > MAJORITY and len(data.train) > 20:
        yield (
            f"classes: {_name(data, largest)} is {share:.0%} of train, so saying it always has accuracy {share:.2f}; "
            "judge by --task classify:f1, and try --set loss.class_weights=balanced"
        )
    rare = np.flatnonzero(counts == 1)
    if rare.size:
        names = ", ".join(_name(data, int(number)) for number in rare[:SHOWN])
        yield f"classes: {names} {'has' if rare.size == 1 else 'have'} one row in train; nothing can be learnt of one"


def _contradictions(data: Data, prints: dict[str, np.ndarray]) -> Iterator[str]:
    """Rows with the same x and another class."""
    if data.kind != "classes":
        return
    x, y = np.concatenate([*prints.values()]), np.concatenate([data.part(part).targets for part in prints])
    both = np.unique(np.stack([x, y.astype(np.uint64)], 1), axis=0)[:, 0]
    _, classes = np.unique(both, return_counts=True)
    if (torn := int((classes > 1).sum())) > 0 and len(classes) > 1:
        yield f"classes: {torn} rows of x occur with more than one class; look at how they were labelled"


def _targets(data: Data) -> Iterator[str]:
    """The range of each number to regress."""
    if data.kind != "dense":
        return
    y = np.moveaxis(np.asarray(data.train.targets, np.float64), 1, 0).reshape(data.n_outputs, -1)
    if np.isnan(y).all():
        yield "targets: all of train's are missing (NaN); there is nothing to learn"
        return
    facts, still = [], []
    units = Normalisation.fit_targets(data.train)
    for number in range(data.n_outputs):
        known = y[number][~np.isnan(y[number])]
        name = data.labels[number] if number < len(data.labels) else f"y{number}"
        if not known.size or known.min() == known.max():
            still.append(name)
        if known.size and number < SHOWN:
            mean, std = units.mean[number], float(known.std())
            facts.append(f"{name} {known.min():.4g} to {known.max():.4g} (mean {mean:.4g}, std {std:.3g})")
    more = f" and {data.n_outputs - SHOWN} more" if data.n_outputs > SHOWN else ""
    yield f"targets: in train {', '.join(facts)}{more}"
    if still:
        yield f"targets: constant in train: {', '.join(still[:SHOWN])}; nothing can be learnt of them"
    offset = np.abs(units.mean) / np.where(np.array(units.std) > 0, units.std, 1)
    if data.train.y.dtype.itemsize > 4 and (far := np.flatnonzero(offset > 1e4)).size:
        yield f"targets: {len(far)} vary little beside their mean, which float32 cannot tell; subtract it yourself"


def _inputs(data: Data) -> Iterator[str]:
    """Channels that never change, and parts that lie far from train."""
    train = _channels(data.train, data.input_shape[0])
    low, high, mean, std = train.min(1), train.max(1), train.mean(1), train.std(1)
    still = np.flatnonzero(low == high)
    if still.size and len(data.train) > 1:
        names = ", ".join(data.channels[n] if n < len(data.channels) else str(n) for n in still[:SHOWN].tolist())
        yield f"channels: constant in train: {names}; they tell nothing"
    for part in ("valid", "test"):
        values = _channels(data.part(part), data.input_shape[0])
        away = np.abs(values.mean(1) - mean) / np.where(low == high, np.inf, std)
        if (worst := int(away.argmax())) is not None and away[worst] > FAR:
            yield (
                f"{part}: channel {worst} has mean {values[worst].mean():.4g}, {away[worst]:.3g} deviations of train "
                f"from train's {mean[worst]:.4g}; look whether it is in the same unit and order of channels"
            )


def _channels(arrays: Arrays, n: int) -> np.ndarray:
    """(C, values) in float64 of some of the part's rows, as they lie in the file."""
    rows = np.unique(np.linspace(0, len(arrays) - 1, min(LOOKED_AT, len(arrays))).astype(np.int64))
    x = np.asarray(arrays.x[arrays.index[rows]], np.float64)
    return np.moveaxis(x, 1, 0).reshape(n, -1)
