"""Darcy flow by grid size and seed: permeability fields, and the pressure that a solver finds.

-div(a grad u) = 1 on the unit square, u = 0 on its boundary. a is 12 where a Gaussian field g is positive and 4
elsewhere; g has covariance (-Laplace + 9)^-2 with zero Neumann boundary (Li et al., Fourier Neural Operator, 2021).
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.fft import idctn

from dashfx.data.sets import darcy_solver
from dashfx.data.sets.cache import cached
from dashfx.data.sets.darcy_solver import HIGH, LOW, pressure
from dashfx.data.source import Source, from_mapping
from dashfx.errors import DataError

log = logging.getLogger(__name__)

SIZES = {"train": 240, "valid": 60, "test": 60}
SCALE = 100.0  # u is about 0.01; relative L2 does not see a factor, a fresh network does
VERSION = 2  # of the cache's layout: part of the entry's name
WORTH_PROCESSES = 5e5  # points in all; below, under 10 s of solving, starting processes does not pay
SECONDS_BETWEEN_NOTES = 15.0


def darcy(grid: int = 85, every: int = 2, *, seed: int = 0, sizes: dict[str, int] | None = None) -> Source:
    """Solved at `grid` x `grid` points, every `every`-th kept; generated once and then read from the user's cache.

    x is (N, 3, S, S): a and the two coordinates; y is (N, 1, S, S): 100 u. The benchmark is grid 421, every 5, and 900,
    100 and 100 rows.

    Raises:
        DataError: a grid below 5 points, or one that `every` does not divide.
    """
    if grid < 5 or every < 1 or (grid - 1) % every:
        raise DataError(f"darcy:{grid}/{every}: the grid needs at least 5 points, and {every} must divide {grid} - 1")
    sizes = SIZES if sizes is None else sizes
    side, counts = (grid - 1) // every + 1, "-".join(map(str, sizes.values()))
    shapes = {f"x_{part}": ((n, 3, side, side), "f4") for part, n in sizes.items()}
    shapes |= {f"y_{part}": ((n, 1, side, side), "f4") for part, n in sizes.items()}
    name = f"darcy-v{VERSION}-{grid}-{every}-{counts}-seed{seed}"
    arrays = cached(name, shapes, lambda arrays: _generate(arrays, grid, every, seed, sizes))
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


def with_coordinates(a: np.ndarray) -> np.ndarray:
    """(N, 3, S, S) from (N, S, S): the field, the row's and the column's coordinate from 0 to 1."""
    x = np.empty((len(a), 3, *a.shape[1:]), np.float32)
    line = np.linspace(0, 1, a.shape[-1], dtype=np.float32)
    x[:, 0], x[:, 1], x[:, 2] = a, line[:, None], line
    return x


def _generate(arrays: dict[str, np.ndarray], grid: int, every: int, seed: int, sizes: dict[str, int]) -> None:
    rng, total = np.random.default_rng(seed), sum(sizes.values())
    with tempfile.TemporaryDirectory() as scratch:
        # Fields are drawn in one order, whatever the number of processes that solve.
        path = Path(scratch) / "fields.npy"
        fields = np.lib.format.open_memmap(path, "w+", "bool", (total, grid, grid))
        for row in range(total):
            fields[row] = gaussian_field(rng.standard_normal((grid, grid))) >= 0
        fields.flush()
        pressures = _solved(fields, every, Path(scratch))
        start = 0
        for part, size in sizes.items():
            rows = slice(start, start + size)
            arrays[f"x_{part}"][:] = with_coordinates(np.where(fields[rows, ::every, ::every], HIGH, LOW))
            arrays[f"y_{part}"][:, 0] = SCALE * pressures[rows]
            start += size


def _solved(fields: np.ndarray, every: int, scratch: Path) -> np.ndarray:
    """(N, S, S) pressures, by as many processes as there are cores where there is enough to do."""
    total, side = len(fields), (fields.shape[1] - 1) // every + 1
    processes = min(os.cpu_count() or 1, total) if fields.size > WORTH_PROCESSES else 1
    if processes == 1:
        return np.stack([pressure(field, every) for field in fields])
    pressures = np.lib.format.open_memmap(scratch / "pressures.npy", "w+", "f8", (total, side, side))
    began = said = time.monotonic()
    for done, _ in enumerate(_rows_from(processes, scratch, every), start=1):
        now = time.monotonic()
        if done == total or now - said > SECONDS_BETWEEN_NOTES:
            said, left = now, (now - began) / done * (total - done)
            log.info("darcy: %d of %d systems solved by %d processes, %.0f s left", done, total, processes, left)
    return pressures


def _rows_from(processes: int, scratch: Path, every: int) -> Iterator[int]:
    """The rows as worker processes finish them; the workers end with this generator, whatever ends it."""
    # A program of its own: multiprocessing would run the user's unguarded script again, or fork PyTorch's threads.
    solver = [sys.executable, "-P", darcy_solver.__file__, str(scratch)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [*solver, str(i), str(processes), str(every)], stdout=subprocess.PIPE, env=one_thread, text=True
        )
        for i in range(processes)
    ]
    finished: queue.Queue[int | None] = queue.Queue()
    for worker in workers:
        threading.Thread(target=_listen, args=(worker, finished), daemon=True).start()
    try:
        working = processes
        while working:
            row = finished.get()
            if row is None:
                working -= 1
            else:
                yield row
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()
    if any(worker.returncode > 0 for worker in workers):
        raise RuntimeError("darcy: a process that solves has failed; its error stands above")


def _listen(worker: subprocess.Popen[str], finished: queue.Queue[int | None]) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        finished.put(int(line))
    worker.wait()
    finished.put(None)
