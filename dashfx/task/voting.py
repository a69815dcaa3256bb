"""Majority vote: one answer a record, from those for its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dashfx.data.base import Arrays

TIE = 1e-3  # the weight of the mean probability, which decides between classes of equally many votes


def voters(loader: Any) -> np.ndarray | None:
    """The record of each row that `loader` gives, in its order, where metrics are to count records."""
    rows = getattr(loader, "dataset", None)
    return rows.voters if isinstance(rows, Arrays) else None


def by_majority(pairs: Iterable[tuple[Tensor, Tensor]], records: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """One pair for all records: (R, K) logarithms of the shares of votes, and (R,) classes.

    Args:
        pairs: scores (B, K) and classes (B,) of the rows, in the order of `records`.
    """
    outputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    _, *found = np.unique(records, return_index=True, return_inverse=True)
    first, of = (torch.from_numpy(numbers).to(outputs.device) for numbers in found)
    n = outputs.shape[1]
    votes = F.one_hot(outputs.argmax(1), n).double() + TIE * outputs.double().softmax(1)
    total = torch.zeros(len(first), n, dtype=torch.float64, device=outputs.device).index_add_(0, of, votes)
    shares = total / total.sum(1, keepdim=True)
    yield shares.log().float(), targets[first]
