"""A module and a batch go in; sums over the weights of convs and linear layers, from gradients of one step, come out.

SynFlow: Tanaka et al. (NeurIPS 2020). SNIP: Lee et al. (ICLR 2019). GraSP: Wang et al. (ICLR 2020). Fisher: Turner et
al. (ICLR 2020). As scores of whole networks: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS" (ICLR 2021).
All but SynFlow take the cross-entropy in train mode; where the batch has no labels, random ones from the seed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dashfx.frontend.recording import forward
from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import (
    bypass_batch_norm,
    cross_entropy,
    outputs_of,
    weighted_layers,
    weights,
    with_plain_weights,
)


class ByLayer(Proxy):
    """A sum over layers, each of which can be asked for by itself."""

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        return float(sum(self.by_layer(module, inputs, labels).values()))

    @abstractmethod
    def by_layer(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Name of a conv or linear layer -> its part of the score; what the output does not depend on is left out.

        The module may be changed at will, under this proxy's seed.
        """


class SynFlow(ByLayer):
    """sum |theta dR/dtheta|, R the sum of the outputs on ones, with absolute weights and without batch norm."""

    name = "synflow"

    def by_layer(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> dict[str, float]:
        module = with_plain_weights(module).double().eval()
        bypass_batch_norm(module)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.abs_()
        ones = torch.ones_like(inputs[:1], dtype=torch.float64 if inputs.is_floating_point() else inputs.dtype)
        total = forward(module, ones).sum()
        return _of_layers(module, [(w, (w * g).abs()) for w, g in _with_gradients(total, weights(module))])


class _OfTheLoss(Proxy):
    """A function of the weights and of the loss on the batch."""

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        module = with_plain_weights(module).train()
        loss = cross_entropy(forward(module, inputs), labels, self.seed)
        return self.of(loss, weights(module))

    @abstractmethod
    def of(self, loss: Tensor, weights: Sequence[Tensor]) -> float:
        """The score."""


class _OfTheLossByLayer(ByLayer):
    """A number a layer, of its weight and of the loss's gradient there."""

    def by_layer(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> dict[str, float]:
        module = with_plain_weights(module).train()
        loss = cross_entropy(forward(module, inputs), labels, self.seed)
        return _of_layers(module, [(w, self.of(w, g)) for w, g in _with_gradients(loss, weights(module))])

    @abstractmethod
    def of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """The numbers that a layer's part is the sum of."""


class Snip(_OfTheLossByLayer):
    """sum |theta dL/dtheta|: what cutting each weight would change."""

    name = "snip"

    def of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return (weight * gradient).abs()


class GradNorm(_OfTheLossByLayer):
    """The sum over layers of the norm of the weight's gradient."""

    name = "grad_norm"

    def of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return gradient.norm()


class Grasp(_OfTheLoss):
    """sum of -theta (H g): what cutting each weight would do to the norm of the gradient."""

    name = "grasp"

    def of(self, loss: Tensor, weights: Sequence[Tensor]) -> float:
        used = _with_gradients(loss, weights, create_graph=True)
        product = torch.stack([(g * g.detach()).sum() for _, g in used]).sum()  # its gradient is H g
        return _total([-w * hg for w, hg in _with_gradients(product, [w for w, _ in used])])


class Fisher(Proxy):
    """Over the channels of every output a: half the mean over images of (sum over positions of a dL/da) squared."""

    name = "fisher"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        module = with_plain_weights(module).train()
        kept, answer = outputs_of(weighted_layers(module), lambda: forward(module, inputs))
        loss = cross_entropy(answer, labels, self.seed)
        channels_last = {id(output) for layer, output in kept if isinstance(layer, nn.Linear)}
        effects = [(a, a * g) for a, g in _with_gradients(loss, [output for _, output in kept])]
        return _total([_saliency(e.movedim(-1, 1) if id(a) in channels_last else e) for a, e in effects])


def _saliency(effect: Tensor) -> Tensor:
    """(rows, channels, *positions) -> (channels,)."""
    return effect.flatten(2).sum(-1).square().mean(0) / 2 if effect.ndim > 2 else effect.square().mean(0) / 2


def _with_gradients(
    value: Tensor, tensors: Sequence[Tensor], create_graph: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """The tensors that `value` depends on, each with its gradient."""
    gradients = torch.autograd.grad(value, list(tensors), create_graph=create_graph, allow_unused=True)
    return [(t, g) for t, g in zip(tensors, cast(Sequence[Tensor | None], gradients), strict=True) if g is not None]


def _of_layers(module: nn.Module, parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Name of the first layer that has a weight -> the sum of the weight's part in float64, in the order of parts."""
    names = {id(layer.weight): name for name, layer in reversed([*module.named_modules()]) if hasattr(layer, "weight")}
    return {names[id(weight)]: float(part.detach().double().sum()) for weight, part in parts}


def _total(parts: Sequence[Tensor]) -> float:
    """The sum in float64, so that large layers do not swallow small ones."""
    return float(sum(part.detach().double().sum() for part in parts))
