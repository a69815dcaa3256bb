"""A module and a batch go in; how large or how costly the module is comes out; hard to beat."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dashfx.frontend.tracing import evaluation
from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import forward


def parameters_of(module: nn.Module) -> int:
    """Numbers in all parameters, each shared one once."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_of(module: nn.Module, x: Tensor) -> int:
    """Floating-point operations of convs and matrix products in one forward pass, two a multiply-add.

    Fourier transforms, norms and activations are not counted. The module stays as it is.

    Raises:
        ModelError: the forward fails, or answers without a tensor.
    """
    with evaluation(module), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration")  # setting oneDNN's flags warns of Intel's GPUs
        # oneDNN runs a whole recurrent layer as one operation, which the counter does not know
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            forward(module, x)
    return int(counter.get_total_flops())


class Params(Proxy):
    """`parameters_of` the module."""

    name = "params"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        return float(parameters_of(module))


class Flops(Proxy):
    """`flops_of` the module for one input."""

    name = "flops"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        return float(flops_of(module, inputs[:1]))
