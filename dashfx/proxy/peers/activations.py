"""A module and a batch go in; how differently the module treats the inputs of the batch comes out.

jacob_cov and NASWOT: Mellor et al., "Neural Architecture Search without Training" (2020; ICML 2021). Both in train
mode, as its authors' code runs them, so batch norm works with the batch's own statistics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dashfx.errors import ProxyError
from dashfx.frontend.recording import forward
from dashfx.proxy.base import Proxy

aten = torch.ops.aten
# Activations whose sign of input says which side is used; at the level of operations, so modules, functions and
# in-place forms are one.
ACTIVATIONS = {
    op
    for packet in (aten.relu, aten.gelu, aten.silu, aten.leaky_relu, aten.elu, aten.hardtanh, aten.hardswish, aten.mish)
    for op in (packet.default, getattr(aten, f"{packet.__name__}_").default)
}


class JacobCov(Proxy):
    """-sum(log(v + k) + 1 / (v + k)), v the eigenvalues of the correlation of the inputs' Jacobians, k = 1e-5."""

    name = "jacob_cov"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        if not inputs.is_floating_point():
            raise ProxyError(f"jacob_cov differentiates by the input, and {inputs.dtype} has no gradient")
        x = inputs.detach().clone().requires_grad_(True)
        (jacobian,) = torch.autograd.grad(forward(module.train(), x).sum(), x)
        correlation = torch.corrcoef(jacobian.flatten(1).double())
        if not correlation.isfinite().all():  # an input without influence
            return self.worst
        values = torch.linalg.eigvalsh(correlation) + 1e-5
        return -float((values.log() + 1 / values).sum())


class Naswot(Proxy):
    """log |det K|, K = sum over activations of c c^T + (1 - c)(1 - c)^T, with c = [input > 0] a row for each image."""

    name = "naswot"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        watch = _Codes(len(inputs))
        with torch.no_grad(), watch:
            forward(module.train(), inputs)
        if not watch.seen:
            raise ProxyError(
                f"{type(module).__name__} runs no activation that has a sign, such as ReLU or GELU: NASWOT has no codes"
            )
        return float(torch.linalg.slogdet(watch.kernel).logabsdet)


class _Codes(TorchDispatchMode):
    """Adds up K while a forward runs."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.kernel = torch.zeros(rows, rows, dtype=torch.float64)
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ACTIVATIONS and len(args[0]) == len(self.kernel):
            code = (args[0].flatten(1) > 0).float()
            self.kernel += (code @ code.T + (1 - code) @ (1 - code).T).cpu()
            self.seen = True
        return func(*args, **(kwargs or {}))
