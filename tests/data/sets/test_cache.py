"""The cache of generated arrays: made once, and made again where what stands there is not what is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashfx.data.sets.cache import cache_folder, cached

SHAPES = {"x": ((2, 3), "float32")}


def filled(arrays: dict[str, np.ndarray]) -> None:
    arrays["x"][:] = 7


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_was_made_is_not_made_again() -> None:
    assert (cached("it", SHAPES, filled)["x"] == 7).all()
    assert (cached("it", SHAPES, lambda _: pytest.fail("it was made before"))["x"] == 7).all()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array", None], ids=["empty", "cut", "text", "other dtype"])
def test_what_is_damaged_is_made_again(content: bytes | None) -> None:
    cached("it", SHAPES, filled)
    file = cache_folder() / "it" / "x.npy"
    if content is None:
        np.save(file, np.zeros((2, 3), np.int64))
    else:
        file.write_bytes(content)
    assert (cached("it", SHAPES, filled)["x"] == 7).all()
