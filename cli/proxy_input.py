"""Data or a shape goes in; the batch that proxies measure models on comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashfx.cli import options, render
from dashfx.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

NO_INPUT = "no input: give --data, or --input 3x32x32 for noise of that shape in its place"


def proxy_input(data: str | None, shape: str | None, rows: int, seed: int) -> tuple[Tensor, ...]:
    """Inputs (rows, channels, *size), and their labels where the data has classes.

    Raises:
        DashfxError: neither data nor a shape, or bad data.
    """
    import torch

    if data is not None:
        from dashfx.data import load_data
        from dashfx.evaluators import proxy_batch

        return proxy_batch(load_data(data, seed=seed), rows, seed)
    if shape is None:
        raise ConfigError(NO_INPUT)
    render.note("noise takes the place of data; that images hardly matter is a claim to test, so test it with --data")
    return (torch.randn(rows, *options.shape(shape), generator=torch.Generator().manual_seed(seed)),)
