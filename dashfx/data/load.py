"""Loading of data: a spec goes in; checked, laid out, split and normalised `Data` comes out, with its notes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from dashfx.data.augment import load_augment
from dashfx.data.base import Arrays, Data
from dashfx.data.channels import channels_by_name, with_channels
from dashfx.data.checks.arrays import check_source
from dashfx.data.checks.findings import findings
from dashfx.data.checks.leaks import fingerprints, leaks
from dashfx.data.layout import channels_first, describe, laid_out, scale_of
from dashfx.data.normalisation import Normalisation
from dashfx.data.parts import PARTS
from dashfx.data.raw import form_of
from dashfx.data.read import Spec, read
from dashfx.data.readers.fitting import as_rows
from dashfx.data.readers.rows import Rows, Values
from dashfx.data.reading import USUAL, Reading
from dashfx.data.source import EXPECTED, Source
from dashfx.data.splits.split import complete, limited
from dashfx.data.targets import Targets, read_targets, renumbered
from dashfx.errors import DataError
from dashfx.space import size_text

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
    parts: Literal["drawn", "whole"] = "drawn",
    labels: Sequence[str] = (),
    channels: Sequence[str] = (),
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
        reading: how records, sounds, images and columns become rows.
        augment: presets or `file.py:function` for the batches that training sees.
        parts: "whole" leaves the rows where the source has them, to measure a model on: nothing is drawn, test-only
            data are read, and `Data.given` says which parts there are.
        labels: the classes of a trained model, to which those of the data are matched by name; the data may lack some.
        channels: those of a trained model, which are picked by name where the data name theirs.

    Raises:
        DataError: whatever is wrong with the data, in one line.
    """
    source = read(spec, reading)
    if isinstance(source, Data):
        return with_channels(renumbered(_finished(source, reading, augment), labels), channels)
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit}: keep at least one row of each part")
    _check_train(source, parts)
    source, reading = as_rows(laid_out(source, reading), reading)
    check_source(source)
    _check_reading(source, reading)
    like = source.parts[source.lead][0]
    xs = {part: channels_first(x, like, reading.layout) for part, (x, _) in source.parts.items()}
    source, xs = channels_by_name(source, xs, channels)
    targets, given = _parts(source, xs, kind, reading, tuple(labels))
    prints = _prints(given)
    all_parts, notes = _whole(given) if parts == "whole" else _drawn(given, targets, seed, valid_fraction, prints)
    if limit is not None:
        all_parts = {part: limited(arrays, limit, seed) for part, arrays in all_parts.items()}
        notes.append(f"limit: at most {limit} rows of each part")
    notes = [*source.notes, describe(like, reading.layout), targets.note, *notes]
    normalisation = _normalisation(all_parts["train"], normalise)
    data = _assembled(source, targets, all_parts, normalisation, reading)
    data = replace(data, raw=form_of(source, like, xs[source.lead], reading, normalisation))
    if source.labels and data.kind != "classes":  # whose numbers were matched where y was read
        data = renumbered(data, labels)
    data = replace(augmented(data, augment), given=tuple(given))
    notes += _found(data, prints) if parts != "whole" else []
    for note in notes:
        log.info("data %s: %s", data.name, note)
    return replace(data, notes=tuple(notes))


def _check_train(source: Source, parts: str) -> None:
    if parts != "whole" and "train" not in source.parts:
        there = ", ".join(source.parts)
        raise DataError(f"{source.name}: no arrays to train on; it has {there} alone, expected {EXPECTED}")


def _drawn(
    given: dict[str, Arrays], targets: Targets, seed: int, valid_fraction: float, prints: Prints | None
) -> tuple[dict[str, Arrays], list[str]]:
    """All three parts, those that there are not carved out of train."""
    of_train = prints[id(given["train"].x)] if prints else None
    fraction, labels = valid_fraction, targets.labels
    return complete(given, targets.kind, seed=seed, valid_fraction=fraction, labels=labels, prints=of_train)


def _assembled(
    source: Source, targets: Targets, parts: dict[str, Arrays], normalisation: Normalisation, reading: Reading
) -> Data:
    train, valid, test = (parts[part].normalised(normalisation) for part in PARTS)
    shape = tuple(train.x.shape[1:])
    return Data(
        name=source.name,
        train=train,
        valid=valid,
        test=test,
        input_shape=shape,
        kind=targets.kind,
        n_outputs=targets.n_outputs,
        labels=targets.labels,
        normalisation=normalisation,
        reading=reading if reading.vote else replace(reading, groups=None),  # which tell of these files alone
        channels=source.channels if len(source.channels) == shape[0] else (),
    )


def _check_reading(source: Source, reading: Reading) -> None:
    """Whether what was said of images and their files came to anything: arrays are taken as they are.

    Raises:
        DataError: it did not.
    """
    size = tuple(source.parts[source.lead][0].shape[-2:])
    if reading.sides is not None and size != reading.sides:
        raise DataError(
            f"{source.name}: reading.size={reading.size} resizes the images of folders and shards, the rows here are "
            f"arrays of {size_text(size)}; resize them yourself, or leave it out"
        )
    if reading.groups is not None and not source.groups:
        raise DataError(
            f"{source.name}: reading.groups is for folders of files; arrays bring their groups along under the key "
            "groups, a name or number for each row"
        )
    if reading.ignore is not None and source.kind != "dense-classes":
        raise DataError(f"{source.name}: reading.ignore is for folders of masks; give arrays -1 where nothing counts")


Prints = dict[int, np.ndarray]  # of the rows of an x, by its id: parts that were carved out of one share it


def _prints(parts: dict[str, Arrays]) -> Prints | None:
    """None where rows are slow to make: a look at each is then left to `dashfx check`."""
    if any(isinstance(arrays.x, Rows) and arrays.x.slow for arrays in parts.values()):
        return None
    return {id(arrays.x): fingerprints(arrays) for arrays in parts.values()}


def _found(data: Data, prints: Prints | None) -> list[str]:
    """Notes on what misleads, leaks first."""
    parts = {part: data.part(part) for part in PARTS}
    if prints is None:
        return findings(data, None)
    of = {part: prints[id(arrays.x)][arrays.index] for part, arrays in parts.items()}
    return [*map(str, leaks(parts, of)), *findings(data, of)]


def _whole(given: dict[str, Arrays]) -> tuple[dict[str, Arrays], list[str]]:
    """The parts that there are, and in place of each other the first of test, valid and train."""
    first = next(given[part] for part in reversed(PARTS) if part in given)
    notes = [f"whole: {', '.join(f'{part} {len(arrays)}' for part, arrays in given.items())} rows, none drawn"]
    return {part: given.get(part, first) for part in PARTS}, notes


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


def _parts(
    source: Source, xs: dict[str, Values], kind: str | None, reading: Reading, labels: tuple[str, ...]
) -> tuple[Targets, dict[str, Arrays]]:
    """What y means, and the parts that the source has; `xs` are (N, C, *size).

    Raises:
        DataError: targets that do not fit, or a vote without records or classes.
    """
    like = source.parts[source.lead][0]
    targets = read_targets(source, kind, tuple(xs[source.lead].shape[2:]), labels)
    records, groups = _numbered(source.records), _numbered(source.groups)
    classes = targets.kind in ("classes", "dense-classes")
    parts = {
        part: Arrays(
            x,
            targets.y[part],
            scale=scale_of(like),
            classes=classes,
            records=records.get(part),
            groups=groups.get(part),
            vote=reading.vote,
            waves=source.spectra[part].waves if part in source.spectra else None,
        )
        for part, x in xs.items()
    }
    if reading.vote:
        _check_votes(parts, targets, source.name)
    return targets, parts


def _check_votes(parts: dict[str, Arrays], targets: Targets, name: str) -> None:
    """What votes has one class, or there would be no answer that its vote could be right by.

    Raises:
        DataError: rows without records or groups, or of one with several classes.
    """
    for part, arrays in parts.items():
        voters = arrays.voters
        if voters is None or targets.kind != "classes":
            raise DataError(f"{name}: reading.vote needs records (or groups) and a class for each row; leave it out")
        pairs = np.unique(np.stack([voters, arrays.targets], 1), axis=0)
        torn = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
        if torn.size:
            first, second = (targets.labels[pairs[torn[0] + i, 1]] for i in (0, 1))
            raise DataError(
                f"{name}: reading.vote: one group of {part} has rows of classes {first} and {second}, so it has no one "
                "answer; give records (a list of series, or lengths), or leave the vote out"
            )


def _numbered(names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names as numbers, the same in all parts."""
    if len({each.dtype.kind for each in names.values()}) > 1:
        names = {part: each.astype(str) for part, each in names.items()}
    known = np.unique(np.concatenate([*names.values()])) if names else np.empty(0)
    return {part: np.searchsorted(known, each) for part, each in names.items()}


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
