"""Batch-norm statistics: set anew from a few batches, for a mixture that differs from the one that was trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

CALIBRATION_BATCHES = 8


def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running batch-norm statistics to the averages over `batches`; weights and train flags stay."""
    norms = norms_of(model)
    if not norms:
        return
    before, training = [norm.momentum for norm in norms], model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for x in batches:
            model(x)
    model.train(training)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def norms_of(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
