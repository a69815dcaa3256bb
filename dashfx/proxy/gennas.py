"""A network and one unlabelled batch go in; how badly it regresses synthetic maps after a short training comes out.

Li et al., "Generic Neural Architecture Search via Regression" (GenNAS, NeurIPS 2021): lower is better.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.proxy.base import Proxy
from dashfx.proxy.recurrent import is_recurrent, regress_recurrent
from dashfx.proxy.regression import Head, Regressor, Stages, regress, sgd
from dashfx.proxy.taps import Taps, tap
from dashfx.proxy.tasks import Noise, Task, load_task


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
        targets = self.task.targets(inputs, self.seed)[-len(tapped.taps.points) :]
        weights = [stage.weight for stage in self.task.stages][-len(targets) :]
        used = [i for i, target in enumerate(targets) if target is not None]
        if not used:
            raise ProxyError(
                f"{type(module).__name__} has {len(targets)} of 3 stages, and task {self.task.name!r} asks nothing of "
                "them: give a task with signals on the last stage"
            )
        x = tapped.fit(inputs)
        chosen = [t.to(x) for i in used if (t := targets[i]) is not None]
        stages = Stages(chosen, [weights[i] for i in used])
        model = Regressor(_Only(tapped, used), self._heads(tapped.taps, used, stages.targets)).to(x)
        generator = torch.Generator(x.device).manual_seed(self.seed)
        return regress(
            model, lambda: noisy(x, self.task.noise, generator), x, stages, sgd(model, self.lr), self.iterations
        )

    def _heads(self, taps: Taps, used: list[int], targets: list[Tensor]) -> list[nn.Module]:
        heads: list[nn.Module] = []
        for i, target in zip(used, targets, strict=True):
            torch.manual_seed(self.seed)  # each head alike, however wide the heads before it are
            heads.append(Head(taps.points[i].shape[1], target.shape[1], target.ndim - 2))
        return heads


class _Only(nn.Module):
    """The features of the stages that the task uses."""

    def __init__(self, tapped: nn.Module, used: list[int]) -> None:
        super().__init__()
        self.tapped = tapped
        self._used = used

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.tapped(x)
        return [maps[i] for i in self._used]


def noisy(x: Tensor, noise: Noise, generator: torch.Generator) -> Tensor:
    """The input with the task's noise, drawn anew at each call."""
    if noise.kind == "none" or noise.level == 0:
        return x
    if noise.kind == "gaussian":
        return x + noise.level * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    drawn = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + noise.level * (drawn - 0.5) * 12**0.5  # a uniform of that standard deviation
