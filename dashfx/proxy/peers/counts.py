"""Counts as proxies: how large or how costly a module is; hard to beat."""

from __future__ import annotations

from torch import Tensor, nn

from dashfx.cost.counts import flops_of, parameters_of
from dashfx.proxy.base import Proxy


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
