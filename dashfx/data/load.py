"""A spec goes in; checked, laid out, split and normalised `Data` comes out, with a note for every decision."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import numpy as np

from dashfx.data.augment import load_augment
from dashfx.data.base import Arrays, Data
from dashfx.data.checks import check_source
from dashfx.data.labels import Targets, read_targets
from dashfx.data.layout import channels_first, describe, scale_of
from dashfx.data.leaks import leaks
from dashfx.data.normalisation import Normalisation
from dashfx.data.read import Spec, read
from dashfx.data.readers.fitting import as_rows
from dashfx.data.readers.rows import Rows
from dashfx.data.reading import USUAL, Reading
from dashfx.data.source import Source
from dashfx.data.split import complete, limited
from dashfx.errors import DataError

Wanted = bool | Literal["positions"] | Normalisation

log = logging.getLogger(__name__)


def load_data(
    spec: Spec,
    *,
    seed: int = 0,
    valid_fraction: float = 0.2,
    kind: str | None = None,
    normalise: Wanted = True,
    limit: int | None = None,
    reading: Reading = USUAL,
    augment: str | None = None,
) -> Data:
    """The data that `spec` names; a `Data` (also one from a user's factory) is handed back as it is.

    Args:
        spec: an `.npz` or `.pt` file with x and y or x_train, y_train, x_valid, ...; two or three such files joined
            by '+' (train+test, train+valid+test); a folder of images or sounds by class; `hf:FOLDER`, `wds:SHARDS`;
            `.ts` and `.tsv`; `digits`, `mnist5k`, `mnist5k-seq`, `darcy`, `planted`; `file.py:factory`, which runs the
            user's code; a mapping or a tuple of arrays.
        seed: draws the validation part where none is given (the test part is always drawn with seed 0).
        kind: `classes`, `multilabel`, `dense` or `dense-classes`; guessed from y where it is not given.
        normalise: per channel, fitted on train; "positions" for each position by itself; or a `Normalisation` kept from
            an earlier run; or not at all.
        limit: the most rows of each part, for a quick try.
        reading: how records, sounds and columns become rows.
        augment: presets or `file.py:function` for the batches that training sees.

    Raises:
        DataError: whatever is wrong with the data, in one line.
    """
    source = read(spec, reading)
    if isinstance(source, Data):
        return _finished(source, reading, augment)
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit}: keep at least one row of each part")
    source, reading = as_rows(source, reading)
    check_source(source)
    targets, parts = _parts(source, kind, reading)
    labels = source.labels or targets.labels
    parts, notes = complete(parts, targets.kind, seed=seed, valid_fraction=valid_fraction, labels=labels)
    if limit is not None:
        parts = {part: limited(arrays, limit, seed) for part, arrays in parts.items()}
        notes.append(f"limit: at most {limit} rows of each part")
    normalisation = _normalisation(parts["train"], normalise)
    if not any(isinstance(arrays.x, Rows) and arrays.x.slow for arrays in parts.values()):
        notes += map(str, leaks(parts))  # else a look at every row is left to `dashfx check`
    data = Data(
        name=source.name,
        **{part: arrays.normalised(normalisation) for part, arrays in parts.items()},
        input_shape=tuple(parts["train"].x.shape[1:]),
        kind=targets.kind,
        n_outputs=targets.n_outputs,
        labels=source.labels if targets.kind == "classes" and source.labels else targets.labels,
        normalisation=normalisation,
        notes=(*source.notes, describe(source.parts["train"][0]), targets.note, *notes),
        augment=load_augment(augment, targets.kind, targets.n_outputs) if augment else None,
        reading=reading,
    )
    for note in data.notes:
        log.info("data %s: %s", data.name, note)
    return data


def _finished(data: Data, reading: Reading, augment: str | None) -> Data:
    """A user's own data, as it is but for the augmentation.

    Raises:
        DataError: options of reading, which come too late.
    """
    if reading != USUAL:
        raise DataError(f"{data.name} is finished data, which reading.* cannot change; read it so in your own code")
    return augmented(data, augment) if augment else data


def augmented(data: Data, augment: str | None) -> Data:
    """The same data, with this augmentation of training batches in place of its own, or with none.

    Raises:
        DataError: no such augmentation, or one that does not fit.
    """
    return replace(data, augment=load_augment(augment, data.kind, data.n_outputs) if augment else None)


def _parts(source: Source, kind: str | None, reading: Reading) -> tuple[Targets, dict[str, Arrays]]:
    """What y means, and the parts that the source has.

    Raises:
        DataError: targets that do not fit, or a vote without records or classes.
    """
    like = source.parts["train"][0]
    xs = {part: channels_first(x, like) for part, (x, _) in source.parts.items()}
    targets = read_targets(source, kind, xs["train"].shape[2:])
    records = _numbered(source)
    if reading.vote and (set(records) != set(xs) or targets.kind != "classes"):
        raise DataError(f"{source.name}: reading.vote needs records (or groups) and a class for each row; leave it out")
    classes = targets.kind in ("classes", "dense-classes")
    return targets, {
        part: Arrays(
            x,
            targets.y[part],
            scale=scale_of(like),
            classes=classes,
            records=records.get(part),
            vote=reading.vote,
        )
        for part, x in xs.items()
    }


def _numbered(source: Source) -> dict[str, np.ndarray]:
    """The records' names as numbers, the same in all parts."""
    known = np.unique(np.concatenate([*source.records.values()])) if source.records else np.empty(0)
    return {part: np.searchsorted(known, names) for part, names in source.records.items()}


def _normalisation(train: Arrays, normalise: Wanted) -> Normalisation:
    channels, size = train.x.shape[1], tuple(train.x.shape[2:])
    if isinstance(normalise, Normalisation):
        if normalise.channels != channels:
            raise DataError(f"the normalisation is for {normalise.channels} channels, the data has {channels}")
        if normalise.size not in ((), size):
            raise DataError(f"the normalisation is for positions {normalise.size}, the data has {size}")
        return normalise
    if normalise == "positions":
        return Normalisation.fit_positions(train)
    return Normalisation.fit(train) if normalise else Normalisation.none(channels)
