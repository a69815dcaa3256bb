"""Mixture, the base: options of a place in a network that are weighed against each other by architecture logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dashfx.ops.relaxations.base import Relaxation
from dashfx.ops.relaxations.soft_gumbel import SoftGumbel
from dashfx.space import Candidate

if TYPE_CHECKING:
    from dashfx.ops.ties import Tie


@dataclass(frozen=True)
class Sampled:
    """One option alone, instead of coefficients.

    Attributes:
        index: its position among the options.
        gate: a factor of its result, 0-dim and 1 in value, by whose gradient the logits learn; None for no gradient.
    """

    index: int
    gate: Tensor | None = None

    @classmethod
    def of(cls, coef: Tensor, index: int) -> Sampled:
        """With the gate g_i / stop(g_i) of coefficients (n_candidates,), as GDAS has it (Dong and Yang, CVPR 2019)."""
        return cls(index, coef[index] / coef[index].detach())


class Mixture(nn.Module, ABC):
    """Options, with what is learned and known of them.

    Attributes:
        candidates: the options.
        alpha: architecture logits (n_candidates,); `mask` is True where a candidate is alive.
        kept: of the candidates that it was built with, the positions of those that are left; a buffer.
        relaxation, generator: logits to coefficients; noise is drawn in training only, and only given a generator.
        tie: the mixtures that this one shares its logits with, see `dashfx.ops.ties`; None for its own alone.
        given: coefficients to use instead, or one candidate, for an engine that draws those of all sites at once.
        name: of its place, for error messages.
    """

    candidates: tuple[Candidate, ...]
    alpha: nn.Parameter
    mask: Tensor
    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.relaxation: Relaxation = SoftGumbel(tau=1.0)
        self.generator: torch.Generator | None = None
        self.tie: Tie | None = None
        self.given: Tensor | Sampled | int | None = None

    def _add_logits(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """For the candidates, which are known by now."""
        n = len(self.candidates)
        self.alpha = nn.Parameter(torch.empty(n, device=device, dtype=dtype))
        self.register_buffer("mask", torch.ones(n, dtype=torch.bool, device=device))
        self.register_buffer("kept", torch.arange(n, device=device))

    @property
    def logits(self) -> Tensor:
        """What the mixture is made from, (n_candidates,): `alpha`, or what it comes to with those of tied sites."""
        return self.alpha if self.tie is None else self.tie.logits()[id(self)]

    def coefficients(self) -> Tensor:
        """The mixture without noise, (n_candidates,)."""
        return self.relaxation(self.logits, self.mask, None)

    def drawn(self) -> Tensor | Sampled:
        """The coefficients of this call, (n_candidates,), or one candidate: those given, or the relaxation's."""
        if isinstance(self.given, int):
            return Sampled(self.given)
        if self.given is not None:
            return self.given
        coef = self.relaxation(self.logits, self.mask, self.generator if self.training else None)
        return Sampled.of(coef, int(coef.argmax())) if self.relaxation.sampled else coef

    def fix(self, index: int) -> None:
        """Only candidate `index` is left: its coefficient is exactly 1."""
        self.mask.fill_(False)
        self.mask[index] = True

    def free(self) -> None:
        """All candidates are alive again."""
        self.mask.fill_(True)

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Only these candidates stay, with what they have learned; the others are gone for good."""
        self.candidates = tuple(self.candidates[i] for i in indices)
        self.alpha = nn.Parameter(self.alpha[list(indices)])
        self.mask, self.kept = self.mask[list(indices)], self.kept[list(indices)]

    @abstractmethod
    def only(self, *indices: int) -> Mixture:
        """A copy that holds these candidates alone."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "given": None}  # drawn coefficients carry a graph and cannot be copied

    def _where(self) -> str:
        return f"Site {self.name!r}: " if self.name else ""
