"""Standard error of a metric, by the jackknife: how far it is off for want of more rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dashfx.task.base import Task, evaluate
from dashfx.task.voting import by_majority, voters

GROUPS = 20


def standard_error(
    predict: Callable[[Tensor], Tensor], loader: Iterable[tuple[Tensor, Tensor]], task: Task, groups: int = GROUPS
) -> float:
    """That of `evaluate` over what `loader` gives; 0 where there is a single row, or no number comes out.

    Rows (or records, where they vote) are dealt out to G groups. With m_g the metric without group g, the variance is
    (G - 1) / G * sum((m_g - mean)^2) (Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982).
    """
    with torch.no_grad():
        pairs: Iterable[tuple[Tensor, Tensor]] = ((predict(x), y) for x, y in loader)
        if (records := voters(loader)) is not None:
            pairs = by_majority(pairs, records)
        outputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    number = torch.arange(len(outputs)) % (groups := min(groups, len(outputs)))
    if groups < 2:
        return 0.0
    kept = ((outputs[number != group], targets[number != group]) for group in range(groups))
    values = torch.tensor([evaluate(lambda x: x, [pair], task) for pair in kept], dtype=torch.float64)
    error = ((groups - 1) * values.var(correction=0)).sqrt().item()
    return error if math.isfinite(error) else 0.0
