"""Stand-in data: noise in place of a run's, by the shape in its `data.json`, to trace, lower and export a model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dashfx.data import Data, Normalisation
from dashfx.data.base import Arrays
from dashfx.data.form import RawForm
from dashfx.run.folder import RunFolder, read_facts, reading

LARGEST = 2**28  # numbers of one row, beyond which no shape is believed
REMEDY = "give --data, or continue that run with --resume, which writes it anew"


def stand_in(folder: RunFolder) -> Data:
    """Rows of noise as the model saw the data, normalised already, with an answer of every class.

    Raises:
        RunFolderError: a damaged file.
    """
    facts = read_facts(folder.data, REMEDY)
    with reading(folder.data, REMEDY):
        shape, answer = (_shape(facts[name]) for name in ("input_shape", "output_shape"))
        kind, outputs = facts["kind"], answer[0]
        normalisation = Normalisation.from_dict(facts["normalisation"])
        labels, channels = (tuple(map(str, facts.get(name, ()))) for name in ("labels", "channels"))
        form = RawForm.from_dict(facts["raw"]) if facts.get("raw") else RawForm(())  # an earlier version's says nothing
        if kind not in ("classes", "multilabel", "dense", "dense-classes"):
            raise ValueError(f"kind {kind!r}")
    part = _part(shape, answer, kind, normalisation)
    data = Data(str(facts["name"]), part, part, part, shape, kind, outputs, labels, normalisation, channels=channels)
    return replace(data, raw=replace(form, noise=True))


def _shape(sizes: list[int]) -> tuple[int, ...]:
    shape = tuple(sizes)
    if not shape or not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) > LARGEST:
        raise ValueError(f"shape {shape}")
    return shape


def _part(shape: tuple[int, ...], answer: tuple[int, ...], kind: str, normalisation: Normalisation) -> Arrays:
    rng = np.random.default_rng(0)
    rows = max(4, answer[0]) if kind == "classes" else 4
    x = rng.normal(size=(rows, *shape)).astype(np.float32)
    if kind == "classes":
        y = np.arange(rows) % answer[0]
    elif kind == "dense-classes":
        y = rng.integers(0, answer[0], size=(rows, *answer[1:]))
    else:
        y = rng.random(size=(rows, *answer)).round().astype(np.float32)
    return Arrays(x, y, classes=kind in ("classes", "dense-classes"))
