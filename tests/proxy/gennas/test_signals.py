"""Signals: their frequencies, ranges and distinct cells, one draw for a batch or one an image, the same for a seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from dashfx.proxy.gennas.signals import BANDS, GRIDS, SYNTHETIC, Grid, dot, gdot, resize, sin1d, sin2d


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def peaks(rows: Tensor) -> Tensor:
    """The strongest frequency of each row (..., n), in cycles per cell, from a finely padded spectrum."""
    spectrum = torch.fft.rfft(rows - rows.mean(-1, keepdim=True), n=4096).abs()
    return spectrum.argmax(-1) / 4096


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("grid", [*GRIDS.values(), (16,)])
def test_shape_repetition_and_draws(name: str, grid: Grid) -> None:
    if name == "sin2d" and len(grid) == 1:
        pytest.skip("a series has no second axis")
    maps = SYNTHETIC[name](3, 5, grid, seeded())
    assert maps.shape == (3, 5, *grid) and maps.dtype == torch.float32
    assert maps.abs().max() <= 1 + 1e-6
    assert torch.equal(maps, SYNTHETIC[name](3, 5, grid, seeded()))
    assert not torch.equal(maps, SYNTHETIC[name](3, 5, grid, seeded(1)))
    assert not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("band", BANDS)
def test_sin1d_stays_in_its_band(band: str) -> None:
    low, high = BANDS[band]
    found = peaks(sin1d(1, 300, (256,), seeded(), band)[0])
    assert (found >= low - 0.004).all() and (found <= high + 0.004).all()
    assert found.max() > high - 0.02 and found.max() - found.min() > (high - low) / 2


def test_sin1d_runs_along_one_axis_of_an_image() -> None:
    maps = sin1d(1, 200, (8, 8), seeded(), "high")[0]
    along_x = (maps == maps[:, :1]).flatten(1).all(1)
    along_y = (maps == maps[:, :, :1]).flatten(1).all(1)
    assert (along_x ^ along_y).all() and 50 < along_x.sum() < 150


def test_maps_of_a_draw_differ() -> None:
    maps = sin1d(1, 600, (64,), seeded(), "medium")[0]
    assert len(torch.unique(maps, dim=0)) == 600


def test_sin2d_varies_along_both_axes_and_both_ways() -> None:
    maps = sin2d(1, 400, (64, 64), seeded(), "high")[0]
    low, high = BANDS["high"]
    for rows in (maps[:, 0], maps[:, :, 0]):
        found = peaks(rows)
        assert (found >= low - 0.01).all() and (found <= high + 0.01).all()
    spectrum = torch.fft.fft2(maps).abs()[:, 1:32, 1:]  # the half plane of positive rows
    mirrored = spectrum.flatten(1).argmax(1) % 63 >= 31  # a peak at a negative frequency along x
    assert 100 < mirrored.sum() < 300


@pytest.mark.parametrize("share", [1 / 64, 0.3, 1.0])
def test_dots_fill_their_share_with_both_signs(share: float) -> None:
    maps = dot(4, 50, (8, 8), seeded(), share)
    assert (maps.abs().sum((-2, -1)) == int(share * 64)).all()
    assert set(maps.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert abs(float(maps.sum() / maps.abs().sum())) < 0.2


def test_gdot_is_a_smoothed_dot_of_largest_size_one() -> None:
    maps = gdot(2, 10, (8, 8), seeded(), 1 / 64)
    assert torch.allclose(maps.abs().flatten(2).amax(-1), torch.ones(2, 10))
    source = dot(2, 10, (8, 8), seeded(), 1 / 64)
    assert torch.equal(maps.abs().flatten(2).argmax(-1), source.abs().flatten(2).argmax(-1))
    assert torch.equal(maps.flatten(2).sum(-1).sign(), source.flatten(2).sum(-1))  # a negative dot stays negative
    one = dot(1, 1, (64,), seeded(), 1 / 64)[0, 0]
    place = int(one.abs().argmax())
    neighbour = gdot(1, 1, (64,), seeded(), 1 / 64)[0, 0].abs()[place + (1 if place < 32 else -1)]
    assert neighbour == pytest.approx(math.exp(-0.5), abs=0.05)  # one standard deviation away


@pytest.mark.parametrize("size", [(20,), (12, 20)])
def test_resize_shows_the_channels_of_the_batch(size: tuple[int, ...]) -> None:
    batch = torch.rand(3, 2, *size, generator=seeded()) * 7 - 2
    grid = GRIDS[len(size)]
    maps = resize(batch, 40, grid, seeded())
    assert maps.shape == (3, 40, *grid) and maps.min() == -1 and maps.max() == pytest.approx(1)
    assert len(torch.unique(maps.flatten(2).transpose(0, 1), dim=0)) == 2
    assert resize(torch.ones(2, 3, *size), 4, grid, seeded()).isfinite().all()
