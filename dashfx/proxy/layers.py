"""A copy of a module goes in; its layers as the peers of GenNAS need them come out: plain weights, outputs, a loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from dashfx.errors import ProxyError
from dashfx.space import size_text


def weighted_layers(module: nn.Module) -> list[nn.Module]:
    """Convs and linear layers, each once, in the order of registration.

    Raises:
        ProxyError: there is none.
    """
    layers: list[nn.Module] = [m for m in module.modules() if isinstance(m, _ConvNd | nn.Linear)]
    if not layers:
        raise ProxyError(f"{type(module).__name__} has no conv and no linear layer: this proxy sums over their weights")
    return layers


def with_plain_weights(module: nn.Module) -> nn.Module:
    """Weight-norm and other parametrisations of a conv's or linear layer's weight folded into it, in place.

    torch's own removal deletes `weight` from a class that every copy of the module shares, so it would break the
    original: here the layer goes back to its first class instead.
    """
    for layer in weighted_layers(module):
        if any(isinstance(hook, WeightNorm) for hook in layer._forward_pre_hooks.values()):
            remove_weight_norm(layer)
        if parametrize.is_parametrized(layer, "weight"):
            weight = nn.Parameter(layer.weight.detach().clone())  # type: ignore[operator]
            del layer._modules["parametrizations"]
            layer.__class__ = type(layer).__bases__[0]
            layer.register_parameter("weight", weight)
    return module.requires_grad_(True)


def weights(module: nn.Module) -> list[Tensor]:
    """The weights, without biases, of convs and linear layers; a shared one once."""
    found = {id(layer.weight): layer.weight for layer in weighted_layers(module)}
    return [w for w in found.values() if isinstance(w, Tensor)]


def bypass_batch_norm(module: nn.Module) -> None:
    """Every batch norm of the module hands on a copy: what follows may work in place on what came before the norm."""
    for norm in (m for m in module.modules() if isinstance(m, _BatchNorm)):
        norm.forward = torch.clone  # type: ignore[method-assign]


def outputs_of(layers: list[nn.Module], run: Callable[[], Tensor]) -> tuple[list[tuple[nn.Module, Tensor]], Tensor]:
    """Layers with their outputs during `run`, in the order of the run, and what `run` gave.

    What follows a layer works on a copy, so an activation in place does not change what is kept.
    """
    kept: list[tuple[nn.Module, Tensor]] = []

    def keep(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        kept.append((layer, output))
        return output.clone()

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(keep))
        return kept, run()


def cross_entropy(answer: Tensor, labels: Tensor | None, seed: int) -> Tensor:
    """Cross-entropy of class scores (rows, classes, *positions), with random labels where there are none.

    Raises:
        ProxyError: an answer that is no class score, or labels that do not fit it.
    """
    if answer.ndim < 2 or answer.shape[1] < 2:
        raise ProxyError(
            f"the model answers with {size_text(answer.shape)}: this proxy needs scores of at least two classes"
        )
    shape = (answer.shape[0], *answer.shape[2:])
    if labels is None:
        labels = random_labels(answer, seed)
    if (
        tuple(labels.shape) != shape
        or labels.is_floating_point()
        or not 0 <= int(labels.min()) <= int(labels.max()) < int(answer.shape[1])
    ):
        raise ProxyError(
            f"labels of shape {size_text(labels.shape)} and type {labels.dtype} for answers of "
            f"{size_text(answer.shape)}: give class numbers below {answer.shape[1]}, or the inputs alone"
        )
    return F.cross_entropy(answer, labels)


def random_labels(answer: Tensor, seed: int) -> Tensor:
    """(rows, *positions): a class drawn for each place of class scores (rows, classes, *positions)."""
    generator, shape = torch.Generator().manual_seed(seed), (answer.shape[0], *answer.shape[2:])
    return torch.randint(answer.shape[1], shape, generator=generator).to(answer.device)
