"""Sets that a dependency ships or that are generated: shapes, the physics of Darcy, and what planted plants."""

from pathlib import Path

import numpy as np
import pytest

from dashfx.data import load_data
from dashfx.data.darcy import cache_folder, darcy, gaussian_field, solve
from dashfx.data.planted import CODES, DILATION, KERNEL, planted


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape", "outputs"), [("digits", (1, 8, 8), 10), ("mnist5k-seq", (1, 784), 10), ("planted", (1, 96), 4)]
)
def test_named_sets(name: str, shape: tuple[int, ...], outputs: int) -> None:
    data = load_data(name)
    assert data.input_shape == shape and data.n_outputs == outputs and data.kind == "classes"
    x, _ = data.train[0]
    assert abs(float(x.mean())) < 3


def manufactured_error(n: int) -> float:
    """Largest error for u = sin(pi x) sin(pi y) under the smooth coefficient a = 1 + x."""
    line = np.linspace(0, 1, n)
    x, y = line[:, None], line[None, :]
    u = np.sin(np.pi * x) * np.sin(np.pi * y)
    # -div(a grad u) = 2 pi^2 a u - (da/dx)(du/dx)
    force = 2 * np.pi**2 * (1 + x) * u - np.pi * np.cos(np.pi * x) * np.sin(np.pi * y)
    return float(np.abs(solve(np.broadcast_to(1 + x, (n, n)), force) - u).max())


def test_solver_is_second_order_on_a_manufactured_solution() -> None:
    coarse, fine = manufactured_error(17), manufactured_error(33)
    assert fine < 1e-3
    assert coarse / fine == pytest.approx(4, rel=0.1)


def test_solver_knows_rows_from_columns() -> None:
    a = np.where(gaussian_field(np.random.default_rng(0).standard_normal((21, 21))) >= 0, 12.0, 4.0)
    force = np.random.default_rng(1).random((21, 21))
    np.testing.assert_allclose(solve(a, force).T, solve(a.T, force.T), rtol=1e-10)


def test_field_has_the_stated_variance_per_mode() -> None:
    """At 0 of a zero-Neumann field every cosine is 1, so the variance there is the sum over the modes."""
    n, rng = 16, np.random.default_rng(0)
    k2 = np.pi**2 * (np.arange(n)[:, None] ** 2 + np.arange(n) ** 2)
    weight = np.where(np.arange(n) > 0, 2, 1)  # an orthonormal cosine has the square sqrt(2) on average
    variance = 9 * weight[:, None] * weight * (k2 + 9.0) ** -2
    variance[0, 0] = 0
    centres = np.cos(np.pi * np.arange(n) / (2 * n)) ** 2  # the first grid point is half a cell inside
    expected = float((variance * centres[:, None] * centres).sum())
    corner = [gaussian_field(rng.standard_normal((n, n)))[0, 0] for _ in range(4000)]
    assert np.var(corner) == pytest.approx(expected, rel=0.1)


SMALL = {"train": 6, "valid": 2, "test": 2}


def test_darcy_arrays_and_cache() -> None:
    first = darcy(17, 4, sizes=SMALL)
    x, y = first.parts["train"]
    assert x.shape == (6, 3, 5, 5) and y.shape == (6, 1, 5, 5)
    assert set(np.unique(x[:, 0])) <= {4.0, 12.0}
    assert x[0, 1, 1, 0] == x[0, 2, 0, 1] == 0.25 and x[0, 1, 0, 1] == 0
    assert (y[:, :, 0] == 0).all() and (y[:, :, 1:-1, 1:-1] > 0).all()
    (file,) = cache_folder().iterdir()
    again = darcy(17, 4, sizes=SMALL)
    assert isinstance(again.parts["train"][0], np.memmap)
    np.testing.assert_array_equal(again.parts["train"][1], y)
    file.write_bytes(b"broken")
    np.testing.assert_array_equal(darcy(17, 4, sizes=SMALL).parts["train"][1], y)


def test_darcy_without_a_writable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert darcy(9, 2, sizes=SMALL).parts["train"][0].shape == (6, 3, 5, 5)


def matched_accuracy(dilation: int, kernel: int) -> float:
    """Share of signals whose class is named by the largest answer of the codes' first `kernel` taps at `dilation`."""
    x, y = planted().parts["train"]
    answers = []
    for code in CODES:
        taps = np.zeros((kernel - 1) * dilation + 1)
        taps[::dilation] = code[:kernel]
        answers.append([np.abs(np.correlate(row[0], taps)).max() for row in x])
    return float((np.argmax(answers, axis=0) == y).mean())


def test_planted_needs_its_kernel_and_dilation() -> None:
    assert matched_accuracy(DILATION, KERNEL) > 0.9
    assert matched_accuracy(1, KERNEL) < 0.4 and matched_accuracy(DILATION + 1, KERNEL) < 0.4
    assert matched_accuracy(DILATION, 3) < 0.5


def test_planted_is_drawn_by_its_seed() -> None:
    x, y = planted(1).parts["test"]
    np.testing.assert_array_equal(planted(1).parts["test"][0], x)
    assert not np.array_equal(planted(2).parts["test"][0], x)
    assert np.bincount(y).tolist() == [40] * 4
