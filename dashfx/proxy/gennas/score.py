"""A network and one unlabelled batch go in; how badly it regresses synthetic maps after a short training comes out.

Li et al., "Generic Neural Architecture Search via Regression" (GenNAS, NeurIPS 2021): lower is better.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.proxy.base import Proxy
from dashfx.proxy.gennas.recurrent import is_recurrent, regress_recurrent
from dashfx.proxy.gennas.regression import Head, Regressor, Stages, channels_last, regress, sgd
from dashfx.proxy.gennas.taps import tap
from dashfx.proxy.gennas.tasks import Noise, Task, load_task


class GenNAS(Proxy):
    """Regression of a proxy task's maps from the taps of a network; scores of different tasks do not compare.

    Args:
        task: "combo", "single", a `Task`, or a JSON file of one.
        iterations: steps of SGD.
        lr: their rate; momentum and weight decay are the authors'.
    """

    maximise = False

    def __init__(
        self, task: Task | str | Path = "combo", seed: int = 0, iterations: int = 100, lr: float = 0.1
    ) -> None:
        super().__init__(seed)
        if iterations < 1 or lr <= 0:
            raise ProxyError(f"{iterations} iterations at rate {lr}: give at least one, and a rate above 0")
        self.task = load_task(task)
        self.name = f"gennas-{self.task.name}"
        self.iterations = iterations
        self.lr = lr

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        module.requires_grad_(True)
        if is_recurrent(module):
            return regress_recurrent(module, inputs, self.task, self.seed, self.iterations)
        tapped = tap(module, inputs)
        points = tapped.taps.points
        targets = self.task.targets(inputs, self.seed)[-len(points) :]  # fewer taps take the last stages
        x = tapped.fit(inputs)
        stages = self._stages(targets, x)
        heads = [self._head(p.shape[1], t) if t is not None else None for p, t in zip(points, targets, strict=True)]
        model = Regressor(tapped, heads).to(x)
        x = channels_last(model, x)
        generator = torch.Generator(x.device).manual_seed(self.seed)
        return regress(
            model, lambda: noisy(x, self.task.noise, generator), x, stages, sgd(model, self.lr), self.iterations
        )

    def _stages(self, targets: list[Tensor | None], x: Tensor) -> Stages:
        weights = [stage.weight for stage in self.task.stages[-len(targets) :]]
        used = [(target.to(x), weight) for target, weight in zip(targets, weights, strict=True) if target is not None]
        if not used:
            raise ProxyError(
                f"task {self.task.name!r} asks nothing of this model, which has its last {len(targets)} of 3 stages "
                f"and {x.ndim - 2} spatial axes: give the last stage a weight and a signal other than sin2d"
            )
        return Stages([target for target, _ in used], [weight for _, weight in used])

    def _head(self, channels: int, target: Tensor) -> Head:
        torch.manual_seed(self.seed)  # each head alike, however wide the heads before it are
        return Head(channels, target.shape[1], target.ndim - 2)


def noisy(x: Tensor, noise: Noise, generator: torch.Generator) -> Tensor:
    """The input with the task's noise, drawn anew at each call."""
    if noise.kind == "none" or noise.level == 0:
        return x
    if noise.kind == "gaussian":
        return x + noise.level * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    drawn = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + noise.level * (drawn - 0.5) * 12**0.5  # a uniform of that standard deviation
