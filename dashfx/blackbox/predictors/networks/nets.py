"""Small networks of two hidden layers, several side by side as one batch of matrices, trained on all rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]  # (count, n, outputs) and (n, outputs) -> scalar


class Nets(nn.Module):
    """`count` networks inputs -> hidden -> hidden -> outputs with SiLU, in float64; their weights by the generator.

    Args:
        dropout: share of hidden units that are left out at a time, in training mode.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        generator: torch.Generator,
        count: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = (inputs, hidden, hidden, outputs)
        self.generator, self.dropout = generator, dropout
        self.weights = nn.ParameterList(
            torch.randn(count, a, b, generator=generator, dtype=torch.float64) * max(1, a) ** -0.5
            for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(count, 1, b, dtype=torch.float64) for b in sizes[1:])

    def encode(self, x: Tensor) -> Tensor:
        """(n, inputs) or (count, n, inputs) -> (count, n, hidden)."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self._dropped(nn.functional.silu(x @ weight + bias))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) or (count, n, inputs) -> (count, n, outputs)."""
        found: Tensor = self.encode(x) @ self.weights[-1] + self.biases[-1]
        return found

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return x
        stays = torch.rand(x.shape, generator=self.generator, dtype=x.dtype) >= self.dropout
        return x * stays / (1 - self.dropout)


def squared(found: Tensor, y: Tensor) -> Tensor:
    """The mean square error of each network, summed over them, so that they learn apart."""
    return (found - y).square().mean((1, 2)).sum()


def trained(
    nets: Nets,
    x: Tensor,
    y: Tensor,
    steps: int,
    rate: float = 0.01,
    decay: float = 1e-3,
    loss: Loss = squared,
    parameters: Sequence[nn.Parameter] | None = None,
) -> Nets:
    """The networks after AdamW steps on all rows, its rate falling along a cosine.

    Args:
        x: (n, inputs).
        y: (n, outputs).
        parameters: those that learn; all by default.
    """
    optimiser = torch.optim.AdamW(parameters or list(nets.parameters()), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    nets.train()
    with torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad()
            loss(nets(x), y).backward()
            optimiser.step()
            schedule.step()
    return nets.eval()
