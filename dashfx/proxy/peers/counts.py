"""A module and a batch go in; how large or how costly the module is comes out; hard to beat."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import forward


class Params(Proxy):
    """Numbers in all parameters, each shared one once."""

    name = "params"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        return float(sum(p.numel() for p in module.parameters()))


class Flops(Proxy):
    """Floating-point operations of convs and matrix products for one input, a multiply-add counted as two.

    Fourier transforms, norms and activations are not counted.
    """

    name = "flops"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        module.eval()
        counter = FlopCounterMode(display=False)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", "TF32 acceleration")  # setting oneDNN's flags warns of Intel's GPUs
            # oneDNN runs a whole recurrent layer as one operation, which the counter does not know
            with torch.backends.mkldnn.flags(enabled=False), counter:
                forward(module, inputs[:1])
        return float(counter.get_total_flops())
