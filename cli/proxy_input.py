"""Options of data, or a shape, go in; the batch that proxies measure models on comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from dashfx.config.run import RunConfig

NO_INPUT = "no input: give --data, or --input 3x32x32 for noise of that shape in its place"
USED = ("reading", "task", "normalise", "limit", "valid_fraction")  # the options of a run that say how data are read


def proxy_input(flags: Mapping[str, Any], rows: int) -> tuple[Tensor, ...]:
    """Inputs (rows, channels, *size), and their labels where the data has classes.

    Args:
        flags: a verb's parameters by name, of which `data`, `input`, `seed` and `assignments` count.

    Raises:
        DashfxError: neither data nor a shape, bad data, or an option that says nothing of data.
    """
    settings = _settings(flags)
    if settings.data is not None:
        from dashfx.run.prepare import load_run_data
        from dashfx.stages.evaluators import proxy_batch

        return proxy_batch(load_run_data(settings, settings.data), rows, settings.seed)
    if flags["input"] is None:
        raise ConfigError(NO_INPUT)
    import torch

    render.note("noise takes the place of data; that images hardly matter is a claim to test, so test it with --data")
    generator = torch.Generator().manual_seed(settings.seed)
    return (torch.randn(rows, *options.shape(flags["input"]), generator=generator),)


def _settings(flags: Mapping[str, Any]) -> RunConfig:
    for assignment in flags["assignments"] or ():
        if assignment.partition("=")[0].strip().partition(".")[0] not in USED:
            raise ConfigError(f"--set {assignment!r}: here it says how --data is read, by {', '.join(USED)}")
    return options.configuration({name: flags[name] for name in ("data", "seed", "assignments")})
