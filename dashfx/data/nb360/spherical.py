"""CIFAR-100 goes in; its images come out on randomly turned spheres, sampled on a grid of latitudes and longitudes.

A grid point is p = (sin t cos f, sin t sin f, cos t), with t = pi (j + 1/2) / S for row j and f = 2 pi k / S for
column k. The sphere is turned by a rotation R drawn uniformly for each image, and q = R p is seen from the south pole
in the stereographic plane at u = (q_x, q_y) / (1 + q_z), where the northern hemisphere is the unit disc. The image
lies on the square |u_x|, |u_y| <= 1: its value there is interpolated bilinearly, and outside it is 0.

The benchmark's own file is a pickle, so it is not read; its rotations were other draws of the same kind.
"""

from __future__ import annotations

import logging

import numpy as np

from dashfx.data.nb360.cifar import read
from dashfx.data.nb360.files import Files
from dashfx.data.sets.cache import cached
from dashfx.data.source import Source, from_mapping

log = logging.getLogger(__name__)

SIDE = 60
VERSION, SEED = 1, 0
CHUNK = 1000  # images at a time


def spherical(files: Files) -> Source:
    """uint8 (N, 3, 60, 60) and 100 classes, generated once and then read from the user's cache."""
    parts = read(files)
    shapes = {f"x_{part}": ((len(x), 3, SIDE, SIDE), "u1") for part, (x, _) in parts.items()}
    counts = "-".join(str(len(x)) for x, _ in parts.values())

    def fill(arrays: dict[str, np.ndarray]) -> None:
        rng = np.random.default_rng(SEED)
        for part, (x, _) in parts.items():
            for start in range(0, len(x), CHUNK):
                images = np.asarray(x[start : start + CHUNK])
                arrays[f"x_{part}"][start : start + CHUNK] = on_spheres(images, rotations(len(images), rng))
                log.info("spherical: %s, %d of %d images", part, start + len(images), len(x))

    arrays = cached(f"spherical-v{VERSION}-{counts}", shapes, fill)
    labelled = arrays | {f"y_{part}": y for part, (_, y) in parts.items()}
    return Source("spherical", from_mapping(labelled, "spherical").parts, (f"spherical: rotations of seed {SEED}",))


def rotations(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3): uniform on SO(3), from uniform unit quaternions."""
    w, x, y, z = np.moveaxis((q := rng.standard_normal((n, 4))) / np.linalg.norm(q, axis=1, keepdims=True), 1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def on_spheres(images: np.ndarray, turned: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(n, C, side, side) uint8 from square images (n, C, H, H) and rotations (n, 3, 3)."""
    theta = np.pi * (np.arange(side) + 0.5) / side
    phi = 2 * np.pi * np.arange(side) / side
    across = np.sin(theta)[:, None] * np.array([np.cos(phi), np.sin(phi)])[:, None]  # (2, side, side)
    p = np.concatenate([across, np.broadcast_to(np.cos(theta)[None, :, None], (1, side, side))]).reshape(3, -1)
    q = turned @ p  # (n, 3, points)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = q[:, :2] / (1 + q[:, 2:])
    inside = (np.abs(u) <= 1).all(1)  # NaN, at the south pole itself, is outside
    u = np.where(inside[:, None], u, 0.0)
    size = images.shape[-1]
    values = _bilinear(images, (1 - u[:, 1]) / 2 * (size - 1), (1 + u[:, 0]) / 2 * (size - 1))
    return np.where(inside[:, None], values + 0.5, 0.0).astype(np.uint8).reshape(*images.shape[:2], side, side)


def _bilinear(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, C, points): images at fractional rows and columns, each (n, points)."""
    last = images.shape[-1] - 2
    top, left = (np.clip(np.floor(at).astype(int), 0, last) for at in (rows, columns))
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    each = np.arange(len(images))[:, None]

    def at(i: int, j: int) -> np.ndarray:
        return np.moveaxis(images[each, :, top + i, left + j], -1, 1).astype(np.float32)

    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    values: np.ndarray = upper * (1 - down) + lower * down
    return values
