"""Raw rows: the form that a source has them in, and parts that give them so instead of as a model takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from dashfx.data.base import Arrays, Batch, Data
from dashfx.data.form import RawForm
from dashfx.data.layout import is_channels_last, is_grey
from dashfx.data.normalisation import Normalisation
from dashfx.data.parts import PARTS
from dashfx.data.readers.rows import Rows, Values, exact
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError

FAR = 16.0  # deviations from zero beyond which float32 loses a channel's values to more than rounding


def form_of(source: Source, like: Values, x: Values, reading: Reading, normalisation: Normalisation) -> RawForm:
    """The form of a source's rows.

    Args:
        like: the lead part's x before its channels were moved to the front; `x` is it afterwards.
    """
    spectra = source.spectra.get(source.lead)
    rows = x if spectra is None else spectra.waves
    form = RawForm((), "uint8" if rows.dtype == np.uint8 else "float32", outside=_outside(source, reading))
    if spectra is not None:
        return replace(form, shape=tuple(rows.shape[1:]), bands=spectra.bands, rate=spectra.rate)
    far = (np.abs(normalisation.mean) > FAR * np.asarray(normalisation.std)).any()
    if exact(rows.dtype) == np.float64 and far:
        form = replace(form, dtype="float64")
    form = replace(form, layout=_layout(source, like, reading), scale=1 / 255 if rows.dtype == np.uint8 else 1.0)
    channels, *size = rows.shape[1:]
    shape = {"last": (*size, channels), "none": tuple(size), "first": (channels, *size)}[form.layout]
    return replace(form, shape=tuple(map(int, shape)))


def _layout(source: Source, like: Values, reading: Reading) -> Literal["first", "last", "none"]:
    if source.images:
        return "none" if like.shape[1] == 1 else "last"
    if reading.layout is not None:
        return reading.layout
    if isinstance(like, Rows):
        return "first"
    if is_channels_last(like):
        return "last"
    return "none" if like.ndim == 2 or is_grey(like) else "first"


def _outside(source: Source, reading: Reading) -> tuple[str, ...]:
    """What no graph does: it begins with a row of numbers of one shape."""
    found = list(source.outside)
    if reading.window:
        found.append(f"records are cut into windows of {reading.window} samples")
    elif source.records and reading.fit:
        how = {"crop": "cropped to the middle", "pad": "padded with zeros behind", "mask": "padded with zeros behind"}
        more = " and get a channel more, 1 where there is data" if reading.fit == "mask" else ""
        found.append(f"records are {how[reading.fit]} to {reading.length} samples{more}")
    if reading.vote:
        found.append("the rows of a record vote")
    return tuple(found)


def form_of_finished(data: Data) -> RawForm:
    """That of a user's own data, which say no more than the arrays that they hold."""
    arrays = data.train
    return RawForm(data.input_shape, "uint8" if arrays.x.dtype == np.uint8 else "float32", "first", arrays.scale)


class RawArrays(Arrays):
    """A part whose batches hold raw rows instead of what a model takes."""

    def __init__(self, arrays: Arrays, form: RawForm) -> None:
        self.__dict__.update(arrays.__dict__)
        self.form = form

    def batch(self, indices: np.ndarray, generator: torch.Generator | None = None) -> Batch:
        rows = self.index[indices]
        x = self.waves if self.form.bands else self.x
        assert x is not None  # raw_data has looked
        taken = np.asarray(x.take(rows) if isinstance(x, Rows) else x[rows])
        if self.form.dtype != "uint8" and self.scale != 1.0:
            taken = taken * self.scale
        return torch.from_numpy(self.form.as_users(taken)), torch.from_numpy(self._y(rows))


def raw_data(data: Data, form: RawForm) -> Data:
    """The same data with rows in that form, such as an ONNX file takes that prepares them itself.

    Raises:
        DataError: they are not to be had so.
    """
    arrays = data.train
    own = data.raw or form_of_finished(data)
    fits = (own.bands, own.rate) == (form.bands, form.rate)
    fits = fits and (form.dtype != "uint8" or (arrays.x.dtype == np.uint8 and form.scale == arrays.scale))
    if own.noise or not fits or (form.bands and arrays.waves is None):
        there = "noise in place of rows" if own.noise else f"{own}{_spectra(own)}"
        raise DataError(
            f"{data.name} has {there}, and {form}{_spectra(form)} are wanted; give data of the kind that the model was "
            "trained on, or take the file that leaves normalisation to its caller"
        )
    train, valid, test = (RawArrays(data.part(part), form) for part in PARTS)
    return replace(data, train=train, valid=valid, test=test)


def _spectra(form: RawForm) -> str:
    return f" at {form.rate} samples a second" if form.bands else ""
