"""Unreal data: what stays of a set, what does not, and names."""

from __future__ import annotations

import numpy as np
import pytest

from dashfx.data.sets.named import NAMED
from dashfx.data.sets.unreal import KINDS, unreal
from dashfx.data.source import Source
from dashfx.errors import DataError

DRAW = np.random.default_rng(0)
X, Y = (3 + 2 * DRAW.normal(size=(60, 1, 8))).astype(np.float32), np.arange(60) % 3
SET = Source("mine", {part: (X.copy(), Y.copy()) for part in ("train", "valid", "test")})


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_shares_of_labels_stay(kind: str) -> None:
    made, again = unreal(SET, kind), unreal(SET, kind)
    for part in ("train", "valid"):
        x, y = made.parts[part]
        assert x.shape == X.shape and x.dtype == X.dtype and y.dtype == Y.dtype
        assert np.array_equal(np.bincount(y), np.bincount(Y))
        assert np.array_equal(y, Y) == (kind == "noise") and np.array_equal(x, X) == (kind == "labels")
        assert abs(x.mean() - X.mean()) < 0.3 and abs(x.std() - X.std()) < 0.3
        assert all(np.array_equal(a, b) for a, b in zip(made.parts[part], again.parts[part], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(made.parts["test"], SET.parts["test"], strict=True))
    assert made.notes[-1].startswith(f"unreal: {kind}") and made.name == f"unreal-{kind}-mine"
    if kind != "noise":
        assert not np.array_equal(made.parts["train"][1], made.parts["valid"][1])  # each part by a draw of its own


def test_it_is_named_by_kind_and_set() -> None:
    found = NAMED["unreal"]("labels/planted:3")
    real = NAMED["planted"]("3")
    assert np.array_equal(found.parts["train"][0], real.parts["train"][0])
    assert not np.array_equal(found.parts["train"][1], real.parts["train"][1])


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("lables/digits", "did you mean 'labels'"),
        ("labels", "give a kind and a set, as in unreal:labels/digits"),
        ("labels/none", "there are .*digits"),
        ("labels/unreal:labels/digits", "give a kind and a set"),
    ],
)
def test_what_cannot_be_is_one_line(parameter: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        NAMED["unreal"](parameter)
    with pytest.raises(DataError, match="these are whole numbers"):
        unreal(Source("mine", {"train": (np.zeros((4, 2), np.int64), np.zeros(4))}), "noise")
