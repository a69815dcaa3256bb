"""Augmentation of training batches, by the names of presets or by the user's function, drawn by a seed.

It is called with a normalised batch as `Arrays` gives it, and a generator: (x, y, generator) -> (x, y). Draws depend on
the epoch's seed and on the batch's rows alone, so a run that is continued sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from dashfx.data.base import Augment, Batch, Kind
from dashfx.errors import DataError, did_you_mean
from dashfx.usercode import is_code, load_object


def flip(x: Tensor, y: Tensor, generator: Generator) -> Batch:
    """Every second row mirrored along its last axis, with its y where that has x's positions."""
    chosen = torch.rand(len(x), generator=generator) < 0.5
    return _mirrored(x, chosen), _mirrored(y, chosen) if _has_positions(y, x) else y


def crop(x: Tensor, y: Tensor, generator: Generator) -> Batch:
    """Every row shifted by up to an eighth of each axis, with zeros (the mean) moving in; y moves along where it can.

    Raises:
        DataError: y has x's positions, for which there would be nothing to move in.
    """
    if _has_positions(y, x):
        raise DataError("augment: crop would leave positions without an answer in y; use flip, jitter or scale")
    size, room = x.shape[2:], [max(1, n // 8) for n in x.shape[2:]]
    padded = F.pad(x, [side for r in reversed(room) for side in (r, r)])
    starts = torch.stack([torch.randint(2 * r + 1, (len(x),), generator=generator) for r in room], 1).tolist()
    rows = [
        padded[row][(slice(None), *(slice(s, s + n) for s, n in zip(start, size, strict=True)))]
        for row, start in enumerate(starts)
    ]
    return torch.stack(rows), y


def jitter(x: Tensor, y: Tensor, generator: Generator) -> Batch:
    """White noise of a twentieth of the standard deviation."""
    return x + 0.05 * torch.randn(x.shape, generator=generator), y


def scale(x: Tensor, y: Tensor, generator: Generator) -> Batch:
    """Every row's channels multiplied by a number of mean 1 and deviation 0.1 each."""
    factors = 1 + 0.1 * torch.randn(x.shape[:2], generator=generator)
    return x * factors.view(*x.shape[:2], *[1] * (x.ndim - 2)), y


def mixup(x: Tensor, y: Tensor, generator: Generator, *, classes: int = 0) -> Batch:
    """The batch mixed with itself in another order (Zhang et al., ICLR 2018), the share drawn from Beta(0.2, 0.2).

    Class numbers, of which there are `classes`, become their shares (B, K).
    """
    share = float(np.random.default_rng(generator.initial_seed()).beta(0.2, 0.2))
    other = torch.randperm(len(x), generator=generator)
    targets = F.one_hot(y, classes).float() if classes else y
    return share * x + (1 - share) * x[other], share * targets + (1 - share) * targets[other]


PRESETS: dict[str, tuple[Callable[..., Batch], ...]] = {
    "flip": (flip,),
    "crop": (crop,),
    "mixup": (mixup,),
    "jitter": (jitter,),
    "scale": (scale,),
    "image": (flip, crop),
    "signal": (jitter, scale, crop),
}


def load_augment(spec: str, kind: Kind, n_outputs: int) -> Augment:
    """`image`, `flip,jitter` or any other names of `PRESETS`, or the user's `file.py:function`.

    Raises:
        DataError: no such preset or function, or mixup of a class for each position.
    """
    if is_code(spec):
        return _checked(_function(spec), spec)
    steps: list[Augment] = []
    for name in _presets(spec):
        if name == "mixup" and kind == "dense-classes":
            raise DataError("augment: mixup mixes rows, and here y is a class for each position; use flip or jitter")
        steps += [
            partial(mixup, classes=n_outputs if kind == "classes" else 0) if step is mixup else step
            for step in PRESETS[name]
        ]
    return partial(_one_after_the_other, tuple(steps))


def check_augment(spec: str) -> None:
    """Whether each name is a preset, or the user's function is there, which imports its file; no data are needed.

    Raises:
        DataError: it is not.
    """
    (_function if is_code(spec) else _presets)(spec)


def _function(spec: str) -> Augment:
    found = load_object(spec, DataError)
    if not callable(found):
        raise DataError(f"{spec} is not a function; give one (x, y, generator) -> (x, y)")
    return found


def _presets(spec: str) -> list[str]:
    names = [piece.strip() for piece in spec.split(",")]
    for name in names:
        if name not in PRESETS:
            raise DataError(
                f"no augmentation {name!r}{did_you_mean(name, PRESETS)}; there are {', '.join(PRESETS)}, or give "
                "file.py:function"
            )
    return names


def _one_after_the_other(steps: tuple[Augment, ...], x: Tensor, y: Tensor, generator: Generator) -> Batch:
    for step in steps:
        x, y = step(x, y, generator)
    return x, y


def _checked(augment: Augment, spec: str) -> Augment:
    def run(x: Tensor, y: Tensor, generator: Generator) -> Batch:
        made = augment(x, y, generator)
        fits = isinstance(made, tuple) and len(made) == 2 and all(isinstance(each, Tensor) for each in made)
        if not fits or made[0].shape != x.shape or len(made[1]) != len(y):
            found = f"shapes {tuple(made[0].shape)} and {tuple(made[1].shape)}" if fits else type(made).__name__
            raise DataError(
                f"{spec} gave {found}; it must return (x, y) with x of shape {tuple(x.shape)}, as it got it"
            )
        return made

    return run


def _has_positions(y: Tensor, x: Tensor) -> bool:
    return y.ndim >= x.ndim - 1 and y.shape[-len(x.shape[2:]) :] == x.shape[2:]


def _mirrored(x: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
