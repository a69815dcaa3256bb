"""Tensors in files of `torch.save`: the plain ones that they hold; nothing else is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashfx.data.readers.border import border
from dashfx.errors import DataError

Loaded = dict[str, Any] | tuple[Any, ...]


def read_pt(path: Path) -> Loaded:
    """A dict of arrays by key, or (x, y), or pairs of such.

    Raises:
        DataError: something else, or tensors that no array can hold.
    """
    with border(path, "not a file of plain tensors", "save a dict of tensors x and y with torch.save"):
        # Only the zip format can be memory-mapped; older files are loaded whole.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(loaded, Mapping):
        return {str(key): _value(value, f"{path}: {key!s:.80}") for key, value in loaded.items()}
    if isinstance(loaded, tuple | list):
        return tuple(
            tuple(_value(value, str(path)) for value in each) if _is_pair(each) else _value(each, str(path))
            for each in loaded
        )
    raise DataError(f"{path}: it holds a {type(loaded).__name__}; save a dict of tensors with the keys x and y")


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(each, Tensor) for each in value)


def _value(value: Any, where: str) -> Any:
    """A tensor whose values all stand in the file, or a flat list: one that holds itself has no end.

    Raises:
        DataError: another thing.
    """
    if isinstance(value, Tensor):
        return _whole(value, where)
    if isinstance(value, tuple | list) and all(isinstance(each, Tensor | int | float | str | bool) for each in value):
        return [_whole(each, where) if isinstance(each, Tensor) else each for each in value]
    if isinstance(value, int | float | str | bool):
        return value
    raise DataError(f"{where} is a {type(value).__name__}; save a tensor, or a flat list of tensors, numbers or names")


def _whole(tensor: Tensor, where: str) -> Tensor:
    """The tensor, unless a stride of 0 makes more values of it than the file holds."""
    if tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested:
        held = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
        if tensor.numel() > held:
            raise DataError(f"{where} has {tensor.numel():,} values, the file holds {held:,}; save x.contiguous()")
    return tensor
