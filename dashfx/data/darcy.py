"""A grid size and a seed go in; Darcy flow comes out: permeability fields, and the pressure that a solver finds.

-div(a grad u) = 1 on the unit square, u = 0 on its boundary. a is 12 where a Gaussian field g is positive and 4
elsewhere; g has covariance (-Laplace + 9)^-2 with zero Neumann boundary (Li et al., Fourier Neural Operator, 2021).
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
from scipy.fft import idctn
from scipy.sparse import diags
from scipy.sparse.linalg import splu

from dashfx.data.npz import read_npz
from dashfx.data.source import Pair, Source, from_mapping
from dashfx.errors import DataError

log = logging.getLogger(__name__)

SIZES = {"train": 240, "valid": 60, "test": 60}
SCALE = 100.0  # u is about 0.01; relative L2 does not see a factor, a fresh network does
VERSION = 1  # of the generator: part of the cache's file name


def darcy(grid: int = 85, every: int = 2, *, seed: int = 0, sizes: dict[str, int] | None = None) -> Source:
    """Solved at `grid` x `grid` points, every `every`-th kept; generated once and then read from the user's cache.

    x is (N, 3, S, S): a and the two coordinates; y is (N, 1, S, S): 100 u. The benchmark is grid 421, every 5.

    Raises:
        DataError: a grid below 5 points, or one that `every` does not divide.
    """
    if grid < 5 or every < 1 or (grid - 1) % every:
        raise DataError(f"darcy:{grid}/{every}: the grid needs at least 5 points, and {every} must divide {grid} - 1")
    sizes = SIZES if sizes is None else sizes
    counts = "-".join(str(n) for n in sizes.values())
    path = cache_folder() / f"darcy-v{VERSION}-{grid}-{every}-{counts}-seed{seed}.npz"
    arrays = _cached(path)
    if arrays is None:
        log.info("darcy: solving %d systems of %d x %d points", sum(sizes.values()), grid, grid)
        arrays = _generate(grid, every, seed, sizes)
        _store(path, arrays)
    side = (grid - 1) // every + 1
    note = f"darcy: solved at {grid}x{grid}, kept {side}x{side}, target 100 u, seed {seed}"
    return Source("darcy", from_mapping(arrays, "darcy").parts, (note,))


def gaussian_field(noise: np.ndarray, tau: float = 3.0, alpha: float = 2.0) -> np.ndarray:
    """The field that white noise (n, n) gives on as many points: cosine modes of variance (pi^2 k^2 + tau^2)^-alpha."""
    n = len(noise)
    k = np.arange(n)
    decay = tau ** (alpha - 1) * (np.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** (-alpha / 2)
    modes = n * decay * noise
    modes[0, 0] = 0.0
    field: np.ndarray = idctn(modes, norm="ortho")
    return field


def solve(a: np.ndarray, force: np.ndarray) -> np.ndarray:
    """u of -div(a grad u) = force, all on n x n points with u = 0 on the edge: five-point differences, sparse LU.

    A face has the mean of its two points' coefficients.
    """
    n = len(a)
    m = n - 2  # interior points a side
    down = ((a[1:] + a[:-1]) / 2)[:, 1:-1]  # (n - 1, m) faces between rows
    right = ((a[:, 1:] + a[:, :-1]) / 2)[1:-1]  # (m, n - 1) faces between columns
    centre = down[1:] + down[:-1] + right[:, 1:] + right[:, :-1]
    below = -down[1:-1].ravel()
    beside = -right[:, 1:].copy()
    beside[:, -1] = 0.0  # the last point of a row has no neighbour in the next row
    beside = beside.ravel()[:-1]
    matrix = diags([centre.ravel(), below, below, beside, beside], [0, m, -m, 1, -1], format="csc")
    u = np.zeros((n, n))
    # Minimum degree on A + A^T: 1.2 to 1.4 times as fast as the default ordering on this symmetric pattern.
    u[1:-1, 1:-1] = (
        splu(matrix, permc_spec="MMD_AT_PLUS_A").solve(force[1:-1, 1:-1].ravel() / (n - 1) ** 2).reshape(m, m)
    )
    return u


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dashfx"


def _generate(grid: int, every: int, seed: int, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, size in sizes.items():
        arrays[f"x_{part}"], arrays[f"y_{part}"] = _samples(size, grid, every, rng)
    return arrays


def _samples(size: int, grid: int, every: int, rng: np.random.Generator) -> Pair:
    side = (grid - 1) // every + 1
    x, y = np.empty((size, 3, side, side), np.float32), np.empty((size, 1, side, side), np.float32)
    line = np.linspace(0, 1, side, dtype=np.float32)
    x[:, 1], x[:, 2] = line[:, None], line
    for row in range(size):
        a = np.where(gaussian_field(rng.standard_normal((grid, grid))) >= 0, 12.0, 4.0)
        x[row, 0] = a[::every, ::every]
        y[row, 0] = SCALE * solve(a, np.ones_like(a))[::every, ::every]
    return x, y


def _cached(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        return read_npz(path)
    except DataError:
        log.warning("darcy: %s is damaged and is made again", path)
        return None


def _store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Written beside its place and then moved, so that a reader never sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)
    except OSError as error:
        log.warning("darcy: the cache %s cannot be written (%s); it will be made again next time", path, error)
