"""Methods that are no choice among several: an option turns each on, or it is always at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from dashfx.ops.families.typed import mismatch
from dashfx.plugins import published
from dashfx.site import Site
from dashfx.space import Candidate
from dashfx.strategies.start.transfer import transfer
from dashfx.train.paths import DropPaths, residual_paths


@published(DropPaths.paper, DropPaths.row)
def drop_path(model: nn.Module, most: float, example: Any) -> DropPaths:
    """`retrain.drop_path`: residual branches are left out of random rows, with a probability that grows over training.

    Args:
        most: the probability at the end.
        example: the model's positional arguments.
    """
    return DropPaths(model, most, residual_paths(model, example)[0])


@published("Wu, Saxena and Jain, NeuralArTS: Structuring Neural Architecture Search with Type Theory, 2021", "103")
def shape_type(site: Site, candidate: Candidate) -> str | None:
    """Always at work: an operation of another shape type than the conv is refused before training, with the reason."""
    return mismatch(site, candidate)


OTHERS: dict[str, Callable[..., Any]] = {
    "drop-path": drop_path,
    "transfer": published(DropPaths.paper, DropPaths.row)(transfer),
    "shape-type": shape_type,
}
