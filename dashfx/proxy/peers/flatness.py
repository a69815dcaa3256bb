"""GeNAS: how flat the loss is around the weights that a network has.

Jeong et al., "GeNAS: Neural Architecture Search with Better Generalization", IJCAI 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.frontend.recording import forward
from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import cross_entropy
from dashfx.train.batchnorm import recalibrate

SIGMAS = (0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05)


class Flatness(Proxy):
    """`flatness` of the cross-entropy on the batch, around the weights that the module holds.

    The paper measures trained weights, as `supernet:metric=flatness` does. Batch norm has the batch's statistics.
    """

    name = "flatness"
    paper: ClassVar[str] = "Jeong et al., GeNAS: Neural Architecture Search with Better Generalization, IJCAI 2023"
    row: ClassVar[str] = "30"

    def __init__(self, seed: int = 0, sigmas: Sequence[float] = SIGMAS) -> None:
        super().__init__(seed)
        self.sigmas = tuple(sigmas)

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        recalibrate(module, [inputs])
        module.eval()

        def loss() -> float:
            return float(cross_entropy(forward(module, inputs), labels, self.seed))

        return flatness(loss, list(module.parameters()), self.seed, self.sigmas)


@torch.no_grad()
def flatness(
    loss: Callable[[], float], weights: Sequence[Tensor], seed: int, sigmas: Sequence[float] = SIGMAS
) -> float:
    """1 / (|l_1 / s_1| + sum_t |(l_t - l_(t-1)) / (s_t - s_(t-1))|), l_t the loss once the t-th noise is added.

    Noise adds up on the weights, each time normal with the step of s as its deviation, as in the authors' code.
    The weights come back bit for bit.

    Args:
        loss: of the weights as they are.
        sigmas: s, from small to large.

    Raises:
        ProxyError: no sigmas, or some that do not rise from above 0.
    """
    steps = [after - before for before, after in zip((0.0, *sigmas), sigmas, strict=False)]
    if not steps or min(steps) <= 0:
        raise ProxyError(f"sigmas {list(sigmas)}: give the sizes of the noise as numbers above 0 that rise")
    own, before, steep = [weight.detach().clone() for weight in weights], 0.0, 0.0
    generator = torch.Generator().manual_seed(seed)
    try:
        for step in steps:
            for weight in weights:
                noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                weight += (step * noise).to(weight)
            now = loss()
            steep, before = steep + abs(now - before) / step, now
    finally:
        for weight, kept in zip(weights, own, strict=True):
            weight.copy_(kept)
    return 1 / steep if steep else float("inf")
