"""Epsinas: how differently a network answers with one constant for all of its weights, and with another.

After Gracheva, "Neural Architecture Search: Two Constant Shared Weights Initialisations", 2023.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.frontend.recording import forward
from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import weighted_layers, with_plain_weights


class Epsinas(Proxy):
    """mean |p1 - p2| / mean(p1, p2): p1 and p2 are the outputs with all weights `first` and `second`, scaled to [0, 1].

    Norms have that weight too; all biases are 0. In train mode, as the author's code runs it: without the statistics of
    the batch a network of ReLUs would answer alike for every constant. What has the scaled value 0 counts nowhere. In
    float64, so that deep networks neither vanish nor overflow.
    """

    name = "epsinas"
    paper: ClassVar[str] = "Gracheva, Neural Architecture Search: Two Constant Shared Weights Initialisations, 2023"
    row: ClassVar[str] = "56"

    def __init__(self, seed: int = 0, first: float = 1e-7, second: float = 1.0) -> None:
        super().__init__(seed)
        self.first, self.second = first, second

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        weighted_layers(module)  # which refuses a module without any
        module = with_plain_weights(module).double().train()
        inputs = inputs.double() if inputs.is_floating_point() else inputs
        p, q = (self._answer(module, inputs, constant) for constant in (self.first, self.second))
        both = (p > 0) & (q > 0)
        mean = torch.cat([p[p > 0], q[q > 0]]).mean()
        return float((p - q)[both].abs().mean() / mean)

    @torch.no_grad()
    def _answer(self, module: nn.Module, inputs: Tensor, constant: float) -> Tensor:
        """The outputs, scaled to [0, 1]; not a number where all are equal."""
        torch.manual_seed(self.seed)  # dropout is the same with either constant
        for name, parameter in module.named_parameters():
            parameter.fill_(0.0 if name.rpartition(".")[2] == "bias" else constant)
        output = forward(module, inputs).flatten()
        return (output - output.min()) / (output.max() - output.min())
