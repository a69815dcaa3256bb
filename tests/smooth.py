"""Engines of nets without a kink, in float64, so that derivatives can be compared to many digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from toys import CLASSES

import dashfx
from dashfx import SearchSpace
from dashfx.config.search import SearchConfig
from dashfx.strategies.engine import Engine
from dashfx.strategies.updates import OneLevel, Update
from dashfx.task import load_task
from dashfx.train.fit import Batch
from dashfx.train.processes import make_accelerator


class SmoothNet(nn.Module):
    """Two convs, batch norm and GELU."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[ndim - 1]
        self.conv1, self.norm, self.conv2 = conv(2, 3, 3, padding=1), norm(3), conv(3, 2, 3, padding=1)
        self.fc = nn.Linear(2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.gelu(self.norm(self.conv1(x)))
        return self.fc(nn.functional.gelu(self.conv2(x)).flatten(2).mean(-1))


def batch(ndim: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 2, *[6] * ndim, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (5,), generator=generator)


def smooth(ndim: int = 1, update: Update | None = None, net: nn.Module | None = None, **options: Any) -> Engine:
    """Warm, in training mode, with logits that are not equal."""
    torch.manual_seed(0)
    space = SearchSpace.product([3], [1, 2])
    model = dashfx.rewrite(net or SmoothNet(ndim), torch.zeros(2, 2, *[6] * ndim), space, "fresh").double()
    config = SearchConfig.parse({"epochs": 10, "batch_size": 5, "warmup": 0, "clip": 0, **options})
    task = load_task("classify", dashfx.load_data(rows(ndim)))
    task = replace(task, loss=nn.functional.cross_entropy)  # dashfx's own is in float32
    made = Engine(model, task, config, make_accelerator("cpu"), update or OneLevel())
    for alpha in made.alphas:
        alpha.data.normal_()
    made.begin_epoch(0, 1)
    made.train_mode()
    return made


def rows(ndim: int) -> Any:
    x = torch.randn(30, 2, *[6] * ndim, generator=torch.Generator().manual_seed(0))
    return x.numpy(), (torch.arange(30) % CLASSES).numpy()
