"""Derivatives of a search's loss beyond what one backward pass gives: gradients apart, mixed products, a Hessian.

They come from `torch.autograd.grad`, which the hooks of several processes do not see: so they are averaged here, and
taken of the model without its wrapper (`alone`).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import ConfigError
from dashfx.ops import AggConv, sites_of
from dashfx.strategies.terms import Part
from dashfx.train.fit import Batch, Learner


class Derivatives(Learner):
    """What second-order updates and looks at curvature need of a search.

    Attributes:
        warm: whether architecture parameters move.
    """

    sites: dict[str, AggConv]
    alphas: list[nn.Parameter]
    weights: list[nn.Parameter]
    rest: list[nn.Parameter]
    warm: bool

    @abstractmethod
    def loss(
        self,
        batch: Batch,
        params: Mapping[str, Tensor] | None = None,
        coef: Mapping[str, Tensor] | None = None,
        part: Part = "both",
    ) -> Tensor:
        """The loss of a batch, a scalar with gradient."""

    @abstractmethod
    def coefficients(self) -> dict[str, Tensor]:
        """Fresh coefficients of every site."""

    @property
    def learning(self) -> list[nn.Parameter]:
        """All weights that learn, in a fixed order."""
        return [*self.weights, *self.rest]

    @property
    def rate(self) -> float:
        """The learning rate of the searched weights, now."""
        return float(self.optimisers["weights"].param_groups[0]["lr"])

    def gradients(self, loss: Tensor, wrt: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
        """d loss / d wrt, zeros for what does not reach it; averaged over the processes.

        Args:
            create_graph: for a further derivative; the gradients are then this process's own, since the average of what
                is made of them is the same.
        """
        if not loss.requires_grad:  # a loss that is linear has a product without a gradient
            return [torch.zeros_like(each) for each in wrt]
        found = torch.autograd.grad(loss, wrt, create_graph=create_graph, allow_unused=True)
        full = [torch.zeros_like(w) if g is None else g for w, g in zip(wrt, found, strict=True)]
        if create_graph or self.accelerator.num_processes == 1:
            return full
        averaged: list[Tensor] = self.accelerator.reduce(full, "mean")
        return averaged

    def give(self, gradients: Sequence[Tensor]) -> None:
        """These are what the architecture parameters descend on next."""
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient.detach().clone()

    def mixed_product(
        self,
        batch: Batch,
        v: Sequence[Tensor],
        wrt: Sequence[Tensor],
        coef: Mapping[str, Tensor] | None = None,
        part: Part = "weights",
    ) -> list[Tensor]:
        """d/d wrt of <dL/dw, v> for w = `learning`, exact: backward through a backward pass; inside `second_order`."""
        first = self.gradients(self.loss(batch, coef=coef, part=part), self.learning, create_graph=True)
        product = torch.stack([(own * each).sum() for own, each in zip(first, v, strict=True)]).sum()
        return self.gradients(product, wrt)

    def alpha_hessian(self, batch: Batch) -> Tensor:
        """d2L/da2 of the noise-free mixtures in eval mode, exact and symmetric: (n, n), n candidates of all sites."""
        with self.second_order(), self.evaluating():
            loss = self.loss(batch, part="alphas")
            slopes = torch.cat([each.flatten() for each in self.gradients(loss, self.alphas, create_graph=True)])
            rows = [self._row(slope, last=i + 1 == len(slopes)) for i, slope in enumerate(slopes.unbind())]
        hessian = torch.stack(rows)
        if self.accelerator.num_processes > 1:
            hessian = self.accelerator.reduce(hessian, "mean")
        return (hessian + hessian.T) / 2

    def _row(self, slope: Tensor, last: bool) -> Tensor:
        if not slope.requires_grad:
            return torch.cat([torch.zeros_like(alpha) for alpha in self.alphas])
        found = torch.autograd.grad(slope, self.alphas, retain_graph=not last, allow_unused=True)
        return torch.cat([torch.zeros_like(a) if g is None else g for a, g in zip(self.alphas, found, strict=True)])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, losses are of the model without the wrapper of several processes, for `gradients`."""
        wrapped, self.model = self.model, self.plain
        try:
            yield
        finally:
            self.model = wrapped

    @contextmanager
    def second_order(self) -> Iterator[None]:
        """Inside, as in `alone`; and every site mixes kernels first, which can be differentiated as often as wanted.

        The Fourier algorithms have a first derivative only.
        """
        own = {name: site.algorithm for name, site in self.sites.items()}
        for site in self.sites.values():
            site.algorithm = "mixed_weights"
        try:
            with self.alone():
                yield
        finally:
            for name, site in self.sites.items():
                site.algorithm = own[name]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the model is in eval mode: no noise, no dropout, batch norm by its statistics."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            if training:
                self.train_mode()

    @contextmanager
    def displaced(self, parameters: Sequence[Tensor] = (), values: Sequence[Tensor] = ()) -> Iterator[None]:
        """Inside, the parameters have these values; afterwards they, and all buffers, are as they were, bit for bit."""
        changing = [*parameters, *self.plain.buffers()]
        own = [each.detach().clone() for each in changing]
        try:
            _fill(parameters, values)
            yield
        finally:
            _fill(changing, own)

    def need_gradients(self, what: str) -> None:
        """Raise ConfigError where gradients apart cannot be had."""
        if self.accelerator.mixed_precision == "fp16":
            raise ConfigError(f"{what} takes gradients that amp fp16 does not scale; use --amp bf16 or --amp no")

    def need_second_order(self, what: str) -> None:
        """Differentiate the model twice on its example, before anything is trained.

        Raises:
            ConfigError: an operation of the model has no second derivative.
        """
        self.need_gradients(what)
        example: tuple[Any, ...] | None = getattr(self.plain, "_example", None)
        if example is None:
            return
        model = copy.deepcopy(self.plain).train()  # which no wrapper has its hooks on
        for site in sites_of(model).values():
            site.algorithm = "mixed_weights"
        learning = [p for p in model.parameters() if p.requires_grad]
        try:
            with torch.random.fork_rng(self._devices()):
                first = self.gradients(model(*example).float().square().sum(), learning, create_graph=True)
                # `backward`, and not `grad`: the latter passes over operations that refuse.
                torch.stack([each.square().sum() for each in first]).sum().backward()
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise ConfigError(
                f"{what} differentiates the model twice, and one of its operations cannot be ({said}); "
                "use search.update=first-order, or write that operation in ones that torch differentiates"
            ) from None

    def _devices(self) -> list[torch.device]:
        device = self.accelerator.device
        return [device] if device.type == "cuda" else []


@torch.no_grad()
def _fill(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for each, value in zip(tensors, values, strict=True):
        each.copy_(value)
