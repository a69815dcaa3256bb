"""Net2Deeper: a conv that passes its input on, with the norm and activation that fit, comes behind another one.

Chen, Goodfellow and Shlens, "Net2Net", ICLR 2016, section 2.3; where no ReLU follows, an activation with a slope that
starts at 1 (Wei, Wang, Rui and Chen, "Network Morphism", ICML 2016, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.convs import PLAIN
from dashfx.frontend.tracing import Program, evaluation, fine_graph, random_state_kept
from dashfx.passes.base import Edit
from dashfx.passes.morphisms.base import Morphism, put

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
IDEMPOTENT = {"relu", "relu_", "relu6", "ReLU", "ReLU6"}  # f(relu(x)) = f(x)


@dataclass(frozen=True)
class Deepen(Morphism):
    """Put activation, conv and norm behind the conv `at`, or behind the norm that follows it.

    1. The new conv has `kernel` taps an axis, as many channels and groups, and is the identity: a Dirac kernel.
    2. A batch norm stands behind it where one stands behind `at`. It has the mean and variance of its inputs on the
       example as statistics, and the same as bias and scale, so that in eval mode it is the identity too.
    3. In front of it stands a ReLU where one follows `at`, since relu(relu(x)) = relu(x); elsewhere a PReLU of slope
       1, which is the identity and learns.
    4. The place becomes an nn.Sequential: what was at `conv` has its keys at `conv.0` from then on, and the new conv is
       `conv.2`.

    Refused: an even kernel, and a conv whose output the graph does not show.
    """

    kernel: int = 3
    paper: ClassVar[str] = "Chen et al., Net2Net, ICLR 2016; Wei et al., Network Morphism, ICML 2016"
    row: ClassVar[str] = "52"

    def rewrite(self, program: Program) -> list[Edit]:
        conv = self.conv(program)
        if self.kernel % 2 == 0 or self.kernel < 1:
            raise self.fail(f"{self.at!r}: a kernel of {self.kernel} has no centre; give an odd one")
        graph_module = fine_graph(program.model, program.example)
        calls = [n for n in graph_module.graph.nodes if n.op == "call_module" and n.target == self.at]
        if not calls:
            raise self.fail(f"{self.at!r}: the graph does not show what follows it")
        name, norm = self.at, _common(program, calls)
        if isinstance(norm, _BatchNorm):
            calls = [user for call in calls for user in call.users]
            name = str(calls[0].target)
        old, kinds = program.model.get_submodule(name), {_kind(program, call) for call in calls}
        place: dict[str, Any] = {"device": conv.weight.device, "dtype": conv.weight.dtype}
        relu = nn.ReLU() if kinds and kinds <= IDEMPOTENT else nn.PReLU(init=1.0, **place)
        seen = _statistics(program, nn.Sequential(old, relu), old) if isinstance(norm, _BatchNorm) else None
        put(program, name, nn.Sequential(old, relu, *self._new(conv, seen)))
        return [Edit(self.at, f"a conv of {self.kernel} taps that passes its input on stands behind {name!r}")]

    def _new(self, conv: _ConvNd, seen: tuple[Tensor, Tensor] | None) -> list[nn.Module]:
        """The conv, and the norm for what was seen in its place."""
        ndim, channels = len(conv.kernel_size), conv.out_channels
        place: dict[str, Any] = {"device": conv.weight.device, "dtype": conv.weight.dtype}
        make: Callable[..., _ConvNd] = PLAIN[ndim - 1]
        with random_state_kept(conv):
            shape = (channels, channels, self.kernel)
            new = make(*shape, padding=self.kernel // 2, groups=conv.groups, bias=seen is None, **place)
        nn.init.dirac_(new.weight, conv.groups)
        if new.bias is not None:
            nn.init.zeros_(new.bias)
        return [new] if seen is None else [new, _identity_norm(NORMS[ndim - 1](channels, **place), *seen)]


@torch.no_grad()
def _identity_norm(norm: _BatchNorm, mean: Tensor, var: Tensor) -> _BatchNorm:
    """weight (x - mean) / sqrt(var + eps) + bias = x."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_((var + norm.eps).sqrt())
    norm.bias.copy_(mean)
    return norm


def _statistics(program: Program, after: nn.Module, module: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of what `after` makes of the input of `module` on the example."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    try:
        with evaluation(program.model):
            program.model(*program.example)
    finally:
        hook.remove()
    with evaluation(after):
        x = torch.cat([after(each).transpose(0, 1).flatten(1) for each in seen], 1)
    return x.mean(1), x.var(1, unbiased=False)


def _common(program: Program, calls: list[fx.Node]) -> nn.Module | None:
    """The module that alone takes the results of all calls."""
    users = [user for call in calls for user in call.users]
    targets = {user.target if user.op == "call_module" else user for user in users}
    if len(users) != len(calls) or len(targets) != 1 or users[0].op != "call_module":
        return None
    return program.model.get_submodule(str(users[0].target))


def _kind(program: Program, call: fx.Node) -> str:
    """What is done with a call's result, where it is one thing."""
    users = list(call.users)
    if len(users) != 1:
        return ""
    if users[0].op == "call_module":
        return type(program.model.get_submodule(str(users[0].target))).__name__
    return getattr(users[0].target, "__name__", str(users[0].target))
