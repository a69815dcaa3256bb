"""The searched conv of a wide place: its own kernel as it is, and a mixture of branches of few parameters beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import SpaceError
from dashfx.ops.aggconv import AggConv
from dashfx.ops.checks import check_input
from dashfx.ops.families import misfit
from dashfx.ops.families.alone import alone
from dashfx.ops.families.beside import Beside, NoBranch
from dashfx.ops.families.layout import laid_out
from dashfx.ops.geometry import ConvSpec
from dashfx.ops.growth import check_source
from dashfx.ops.mixture import Sampled
from dashfx.space import BESIDE, Candidate


class BesideConv(AggConv):
    """y = own * x + bias + sum_i coef_i * branch_i * x, branch_i a conv in as many groups as there can be.

    A large kernel for each channel beside a small dense one is what networks of large kernels have (RepLKNet, Ding et
    al., CVPR 2022; SLaK, Liu et al., ICLR 2023). All candidates have the own kernel, which is one parameter, computed
    by one native conv; so n candidates add the parameters of n depthwise kernels, and no kernel for each pair of
    channels is mixed or transformed. Grown, the branches are zeros: the output is the original conv's for every coef,
    without a residual.

    Args:
        candidates: of the family "beside", and the original itself for no branch.

    Attributes:
        own: (out, in / groups, *original.kernel).
        weights: of each branch, (out, in / all groups, *kernel).
        spec: of the branches.

    Raises:
        SpaceError: as of `AggConv`, or a candidate of another family.
    """

    own: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int, candidates: Iterable[Candidate], **options: Any) -> None:
        super().__init__(in_channels, out_channels, candidates, **options)
        groups = self.facts.groups
        self.spec = replace(self.spec, groups=groups * Beside().times(self.facts))
        self._own_spec = ConvSpec((self.original,), (self.padding,), self.stride, groups, self.padding_mode)
        shape = out_channels, in_channels // groups, *self.original.kernel
        self.own = nn.Parameter(self.alpha.new_empty(shape).detach())
        self.reset_parameters()

    def _take(self, choices: Sequence[Candidate]) -> None:
        for choice in choices:
            reason = None if choice == self.original else misfit(self.facts, choice)
            if choice != self.original and choice.family != BESIDE:
                reason = f"only the own {self.original} and branches beside it are mixed here"
            if reason:
                raise SpaceError(f"BesideConv: {choice}: {reason}")
        self.candidates = tuple(choices)
        self.families = tuple(NoBranch() if choice == self.original else Beside() for choice in choices)
        self._layout = laid_out(self.facts, self.candidates, self.families)

    @property
    def groups(self) -> int:
        return self.facts.groups

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        if "own" in self._parameters:  # not yet while the base is built
            bound = self._bound(self.original)
            self.own.uniform_(-bound, bound, generator=generator)

    def mix(self, x: Tensor, coef: Tensor, algorithm: str | None = None) -> Tensor:
        if x.dim() == self.ndim + 1:
            return self.mix(x.unsqueeze(0), coef, algorithm).squeeze(0)
        if not len(self.weights):
            return self._of_own(x, coef.sum())
        return super().mix(x, coef, algorithm) + self._of_own(x)

    def mixture(self, x: Tensor, coef: Tensor) -> tuple[ConvSpec, list[Tensor], Tensor, Tensor | None]:
        return *self._terms(coef), None  # the bias is the own conv's

    def alone(self, x: Tensor, one: Sampled) -> Tensor:
        if x.dim() == self.ndim + 1:
            return self.alone(x.unsqueeze(0), one).squeeze(0)
        theta, i = self.theta(one.index), one.index
        if not theta:
            return self._of_own(x, one.gate)
        y, (kernel,) = self._of_own(x), theta
        spec = replace(self.spec, candidates=self.candidates[i : i + 1], paddings=self.spec.paddings[i : i + 1])
        return y + alone(x, kernel if one.gate is None else kernel * one.gate.to(kernel.dtype), spec)

    def plain_weights(self, index: int) -> list[Tensor]:
        return [self.own, *self.theta(index)]

    def norms(self) -> Tensor:
        return torch.stack([(self.own.square().sum() + kernel.square().sum()).sqrt() for kernel in self.own_kernels()])

    def nearest(self, index: int) -> Tensor:
        """What of the mixture the candidate can keep: the own kernel and that of its branch, one after the other."""
        return torch.cat([self.own.flatten(), self.restricted(index).flatten()])

    def covers(self) -> list[bool]:
        return [True] * len(self.candidates)

    @torch.no_grad()
    def grow_from(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Start from a trained conv: its kernel and bias, and branches of zeros.

        Raises:
            SpaceError: shapes that are not the original conv's.
        """
        check_source(self, weight, bias)
        self.own.copy_(weight)
        if self.bias is not None:
            self.bias.copy_(torch.zeros_like(self.bias) if bias is None else bias)
        for branch in self.weights:
            branch.zero_()
        self.fade.fill_(1)

    def _complete(self) -> bool:
        return True  # all candidates have the own kernel, so nothing is left for a residual

    def _of_own(self, x: Tensor, unused: Tensor | None = None) -> Tensor:
        """The conv as it is.

        Args:
            unused: coefficients that do not count, which get a gradient of zero.
        """
        check_input(self._where(), x, self.in_channels, self._own_spec, self.original, self.padding)
        kernel = self.own if unused is None else self.own + 0 * unused.to(self.own.dtype)
        return alone(x, kernel, self._own_spec, self.bias)
