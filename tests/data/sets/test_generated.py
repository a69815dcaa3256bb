"""Sets that a dependency ships or that are generated: shapes, the physics of Darcy, and what planted plants."""

from pathlib import Path

import numpy as np
import pytest

from dashfx.data import load_data
from dashfx.data.sets.cache import cache_folder
from dashfx.data.sets.darcy import darcy, gaussian_field
from dashfx.data.sets.darcy_solver import pressure, solve
from dashfx.data.sets.planted import CODES, DILATION, KERNEL, planted
from dashfx.errors import DataError


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
    x, y = map(np.array, first.parts["train"])  # copies: the file is broken below
    assert x.shape == (6, 3, 5, 5) and y.shape == (6, 1, 5, 5)
    assert set(np.unique(x[:, 0])) <= {4.0, 12.0}
    assert x[0, 1, 1, 0] == x[0, 2, 0, 1] == 0.25 and x[0, 1, 0, 1] == 0
    assert (y[:, :, 0] == 0).all() and (y[:, :, 1:-1, 1:-1] > 0).all()
    (entry,) = cache_folder().iterdir()
    again = darcy(17, 4, sizes=SMALL)
    assert isinstance(again.parts["train"][0], np.memmap)
    np.testing.assert_array_equal(again.parts["train"][1], y)
    (entry / "y_train.npy").write_bytes(b"broken")
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


def test_processes_solve_what_one_process_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = darcy(17, 4, sizes=SMALL).parts
    monkeypatch.setattr("dashfx.data.sets.darcy.WORTH_PROCESSES", 0)
    monkeypatch.setattr("dashfx.data.sets.darcy.VERSION", "other")
    for part, (x, y) in darcy(17, 4, sizes=SMALL).parts.items():
        np.testing.assert_array_equal(x, alone[part][0])
        np.testing.assert_array_equal(y, alone[part][1])


def test_a_solver_that_fails_is_heard_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr("dashfx.data.sets.darcy.WORTH_PROCESSES", 0)
    monkeypatch.setattr("dashfx.data.sets.darcy_solver.__file__", str(tmp_path / "broken.py"))
    with pytest.raises(RuntimeError, match="a process that solves has failed"):
        darcy(17, 4, sizes=SMALL)
    assert [path for path in cache_folder().iterdir() if not path.name.startswith(".")] == []


def test_rows_of_each_part_can_be_asked_for() -> None:
    data = load_data("darcy:17/4/5-3-2", normalise="positions")
    assert [len(data.part(part)) for part in ("train", "valid", "test")] == [5, 3, 2]
    assert data.normalisation.size == (5, 5)
    x, _ = data.train.__getitems__(list(range(5)))
    assert float(x[:, 1].std()) > 0.5  # coordinates are the same in every row, and are still there
    with pytest.raises(DataError, match="rows of train, valid and test"):
        load_data("darcy:17/4/5-3")


@pytest.mark.slow
def test_coarse_grids_come_close_to_the_benchmarks_on_shared_coefficients() -> None:
    """At 421 points and at every fifth of them: the pressures differ by some tenths of a per cent."""
    high = gaussian_field(np.random.default_rng(0).standard_normal((421, 421))) >= 0
    errors = []
    for every in (5, 2):
        fine, coarse = pressure(high, every), pressure(high[::every, ::every], 1)
        errors.append(float(np.linalg.norm(coarse - fine) / np.linalg.norm(fine)))
    assert errors[1] < errors[0] < 0.01
