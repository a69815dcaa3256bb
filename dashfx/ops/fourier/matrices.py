"""Sizes of batched matrix products, and memory for them: enough for all threads, buffers used again."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def for_threads(count: int) -> int:
    """The next number of matrices that all threads share evenly, where it is at most twice as many."""
    evenly = count + -count % torch.get_num_threads()
    return evenly if evenly <= 2 * count else count


def memory(storage: Tensor, *shape: int) -> Tensor:
    """Of this shape, where `storage` (1-D) begins if that is large enough, else new; values are arbitrary."""
    count = math.prod(shape)
    return storage[:count].view(shape) if len(storage) >= count else storage.new_empty(shape)
