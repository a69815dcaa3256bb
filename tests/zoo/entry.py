"""What the zoo knows of a model before it is built: where it is from, how to build it, which inputs to offer it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 2
Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Entry:
    """One model of a package.

    Attributes:
        family: models of one family share most of their code; the smallest of each is run first.
        build: makes the model, without weights from elsewhere.
        inputs: the model -> examples to offer it, the smallest first; the first that it takes is used.
    """

    package: str
    name: str
    family: str
    build: Callable[[], nn.Module]
    inputs: Callable[[nn.Module], Iterator[Inputs]]


def noise(*shape: int) -> Tensor:
    """(batch, *shape), the same numbers at every call."""
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))


def of_shapes(*shapes: Sequence[int]) -> Callable[[nn.Module], Iterator[Inputs]]:
    """One input, of each of these shapes (without the batch) in turn."""
    return lambda model: ((noise(*shape),) for shape in shapes)


def of_inputs(make: Callable[[], Inputs]) -> Callable[[nn.Module], Iterator[Inputs]]:
    """Exactly what `make` returns."""
    return lambda model: iter([make()])


def call(maker: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[[], nn.Module]:
    """A build that calls `maker` with these arguments."""
    return partial(maker, *args, **kwargs)
