"""Average of models that answer the same question; a copy of this file in a run's folder rebuilds it without dashfx."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AVERAGES = ("softmax", "sigmoid", "mean")


class Averaged(nn.Module):
    """One model whose answer is the average of its members' answers.

    Scores come out as scores, so that what takes those of one model takes these, losses and metrics alike:

    - "softmax": log of the mean of softmax(z) over axis 1; its softmax is that mean, and its exp too.
    - "sigmoid": log-odds of the mean of sigmoid(z); its sigmoid is that mean.
    - "mean": the mean of the outputs.

    Args:
        members: models whose outputs have one shape, (N, K, ...) for "softmax".

    Raises:
        ValueError: no member, or no such average.
    """

    def __init__(self, members: Iterable[nn.Module], average: str) -> None:
        super().__init__()
        self.members, self.average = nn.ModuleList(members), average
        if not len(self.members):
            raise ValueError("an average needs at least one model")
        if average not in AVERAGES:
            raise ValueError(f"no average {average!r}; there are {', '.join(AVERAGES)}")

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([member(x) for member in self.members])
        if self.average == "softmax":
            return log_mean_exp(torch.log_softmax(outputs, 2))
        if self.average == "sigmoid":  # log p - log(1 - p), and -softplus(-z) is log sigmoid(z)
            return log_mean_exp(-F.softplus(-outputs)) - log_mean_exp(-F.softplus(outputs))
        return outputs.mean(0)


def log_mean_exp(logs: Tensor) -> Tensor:
    """Over axis 0; the largest comes out first, so that nothing under- or overflows."""
    top = logs.amax(0)
    return top + (logs - top).exp().sum(0).log() - math.log(len(logs))
