"""Optimisers of architecture parameters, by torch: SGD and Adam."""

from __future__ import annotations

import torch
from torch import nn

from dashfx.config.search import SearchConfig
from dashfx.plugins import Share


def sgd(alphas: list[nn.Parameter], config: SearchConfig, *, momentum: Share = 0.9) -> torch.optim.Optimizer:
    """With Nesterov momentum, and the decay of the weights."""
    return torch.optim.SGD(
        alphas, config.alpha_lr, momentum=momentum, nesterov=momentum > 0, weight_decay=config.weight_decay
    )


def adam(alphas: list[nn.Parameter], config: SearchConfig, *, beta1: Share = 0.9) -> torch.optim.Optimizer:
    """Without decay."""
    return torch.optim.Adam(alphas, config.alpha_lr, betas=(beta1, 0.999))
