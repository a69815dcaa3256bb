"""Rows of an operand: tensors (outer, inner, *points) that stand one after another as (rows, *points), read and filled.

A part may be shorter than the others on an axis; there it has zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dashfx.ops.fourier.matrices import memory
from dashfx.ops.geometry import Size

Parts = Sequence[Tensor]  # each (outer, inner, *points), of any strides


def count(parts: Parts) -> int:
    return sum(part.shape[0] * part.shape[1] for part in parts)


def chunks(parts: Parts, most: int) -> Iterator[tuple[slice, Tensor]]:
    """Pieces of the parts, of at most so many rows where one `outer` is not more, with their place among all rows."""
    start = 0
    for part in parts:
        inner = part.shape[1]
        for piece in part.split(max(1, most // max(1, inner))):
            yield slice(start, start + len(piece) * inner), piece
            start += len(piece) * inner


def block(piece: Tensor, shape: Size, storage: Tensor) -> Tensor:
    """(rows, prod(shape)), contiguous: a view where the piece is, else a copy."""
    rows = piece.shape[0] * piece.shape[1]
    if piece.is_contiguous() and piece.shape[2:] == shape:
        return piece.view(rows, -1)
    found = memory(storage, *piece.shape[:2], *shape)
    if piece.shape[2:] != shape:
        found.zero_()
    found[_corner(piece)].copy_(piece)
    return found.view(rows, -1)


def stacked(parts: Parts, shape: Size) -> Tensor:
    """All rows: (rows, *shape)"""
    if len(parts) == 1 and parts[0].shape[2:] == shape:
        return parts[0].flatten(0, 1)
    return torch.cat([block(part, shape, part.new_empty(0)) for part in parts]).unflatten(1, shape)


def fill(parts: Parts, values: Tensor) -> None:
    """The parts take their rows of `values` (rows, *shape), or what of them they have room for."""
    for place, part in chunks(parts, math.prod(values.shape)):
        own = values[place].unflatten(0, part.shape[:2])
        part.copy_(own[_corner(part)])


def turn(piece: Tensor, shape: Size, storage: Tensor) -> Tensor:
    """A piece with its points first: (*shape, rows)."""
    rows, size = piece.shape[0] * piece.shape[1], math.prod(shape)
    out = memory(storage, size, rows)
    # PyTorch copies a whole contiguous matrix block by block, anything else line by line
    out.copy_(block(piece, shape, storage[out.numel() :]).t())
    return out.view(*shape, rows)


def turn_back(turned: Tensor, piece: Tensor, storage: Tensor) -> None:
    """The piece takes the values of `turned` (*shape, rows)."""
    shape, matrix = turned.shape[:-1], turned.flatten(0, -2).t()
    if piece.is_contiguous() and piece.shape[2:] == shape:
        piece.view(matrix.shape).copy_(matrix)
        return
    back = memory(storage, *matrix.shape)
    back.copy_(matrix)
    piece.copy_(back.view(*piece.shape[:2], *shape)[_corner(piece)])


def _corner(part: Tensor) -> tuple[slice, ...]:
    return tuple(map(slice, part.shape))
