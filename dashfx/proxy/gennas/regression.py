"""A network, its input and what each stage is to draw go in; its error after a short training comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dashfx.frontend.tracing import evaluation


@dataclass(frozen=True)
class Stages:
    """What is regressed: one prediction a stage.

    Attributes:
        targets: the shape of the stage's prediction.
        weights: of each stage's mean squared error, in training and in the score.
    """

    targets: list[Tensor]
    weights: list[float]

    def loss(self, predictions: Sequence[Tensor]) -> Tensor:
        errors = [
            weight * nn.functional.mse_loss(prediction, target)
            for weight, prediction, target in zip(self.weights, predictions, self.targets, strict=True)
        ]
        return torch.stack(errors).sum()


class Head(nn.Sequential):
    """BatchNorm, then a 1x1 conv with bias: (rows, channels, *grid) -> (rows, maps, *grid)."""

    def __init__(self, channels: int, maps: int, ndim: int) -> None:
        if ndim == 1:
            super().__init__(nn.BatchNorm1d(channels), nn.Conv1d(channels, maps, 1))
        else:
            super().__init__(nn.BatchNorm2d(channels), nn.Conv2d(channels, maps, 1))


class Regressor(nn.Module):
    """A network that gives a feature a stage, and a head on each stage that has one: -> a prediction for each head."""

    def __init__(self, network: nn.Module, heads: Sequence[nn.Module | None]) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(head for head in heads if head is not None)
        self._used = [head is not None for head in heads]

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [f for f, used in zip(self.network(x), self._used, strict=True) if used]
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]


def sgd(model: nn.Module, lr: float) -> Optimizer:
    """Momentum 0.9; weight decay 4e-5 on weights of more than one dimension only, as the authors set it."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 4e-5},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, foreach=True)


def channels_last(model: nn.Module, x: Tensor) -> Tensor:
    """The images with their channels last in memory, and the model's weights likewise, where the model runs that way.

    oneDNN trains small networks faster so; a view that needs the plain layout refuses it, then both stay as they are.
    """
    # oneDNN's backward in this layout writes past its memory for convs of 4 channels (torch 2.13, ResNet18(width=4))
    odd = any(isinstance(m, nn.Conv2d) and m.out_channels % 16 for m in model.modules())
    if x.ndim != 4 or odd:
        return x
    images = x.to(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with evaluation(model):
            model(images[:2])
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return x
    return images


def regress(
    model: nn.Module, draw: Callable[[], Tensor], x: Tensor, stages: Stages, optimizer: Optimizer, iterations: int
) -> float:
    """Train on one batch for `iterations` steps; the loss in eval mode afterwards, on the input without noise.

    Args:
        draw: the input of the next step; `x` itself, or with fresh noise.
        x: the input of the final evaluation.
    """
    model.train()
    for _ in range(iterations):
        optimizer.zero_grad(set_to_none=True)
        stages.loss(model(draw())).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return float(stages.loss(model(x)))
