"""Counts of parameters and operations, of a conv and of a network, and shares of them for a search's loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dashfx.cost.base import CostModel, site_of
from dashfx.frontend.recording import forward
from dashfx.frontend.tracing import evaluation
from dashfx.ops import AggConv
from dashfx.ops.families import family_named
from dashfx.site import Site
from dashfx.space import DENSE, Candidate


def conv_parameters(site: Site, candidate: Candidate) -> int:
    """Weights and biases of the conv with this candidate, or of what its family has in the conv's place."""
    biased = site.bias and family_named(candidate.family).biased
    return conv_weights(site, candidate) + site.out_channels * int(biased)


def conv_weights(site: Site, candidate: Candidate) -> int:
    """Weights of the conv with this candidate: of each of its kernels, for the output channels that this gives."""
    if candidate.family != DENSE:
        return family_named(candidate.family).weights(site, candidate)
    taps = sum(channels * part.taps for part, channels in candidate.shares(site.out_channels, site.groups))
    return site.in_channels // site.groups * taps


def conv_macs(site: Site, candidate: Candidate) -> int:
    """Multiply-adds of the conv for one input, at the sizes that tracing saw, over all calls; pools count none."""
    positions = sum(math.prod(site.output_size(size)) for size in site.input_sizes)
    return conv_weights(site, candidate) * positions * site.calls // len(site.input_sizes)


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


@dataclass(frozen=True)
class Span(CostModel):
    """Effective size over input size, averaged over the axes: a mild pull towards small spans."""

    unit: ClassVar[str] = "share of the input's length"

    def of(self, aggconv: AggConv) -> list[float]:
        size = site_of(aggconv).input_size
        return [sum(s / n for s, n in zip(c.span, size, strict=True)) / len(size) for c in aggconv.candidates]


@dataclass(frozen=True)
class Taps(CostModel):
    """Number of taps over that of the largest candidate; of other families than dense, weights instead."""

    unit: ClassVar[str] = "share of the largest kernel's taps"

    def of(self, aggconv: AggConv) -> list[float]:
        weights = [conv_weights(aggconv.facts, candidate) for candidate in aggconv.candidates]
        return [each / max(*weights, 1) for each in weights]


def expected_cost(table: Mapping[str, Tensor], coefficients: Mapping[str, Tensor]) -> Tensor:
    """Mean over the sites of the cost expected under their mixtures; a scalar with gradient."""
    return torch.stack([(table[name] * coefficients[name]).sum() for name in table]).mean()
