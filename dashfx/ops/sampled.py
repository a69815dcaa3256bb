"""Sampled mode of a searched conv: one candidate alone instead of a mixture, a dense one by the cheapest algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.families.lone import lone
from dashfx.ops.mixture import Sampled

if TYPE_CHECKING:
    from dashfx.ops.aggconv import AggConv


def sampled(site: AggConv, x: Tensor, one: Sampled) -> Tensor:
    """x (batch, in, *size) -> (batch, out, *output_size): candidate `one.index` times its gate, and the bias.

    What a grown site has left of its original kernel is a term of its own: there the candidate shares a conv with it
    where the two have the same dilation.
    """
    if site.residual is not None:
        return _grown(site, x, one)
    family, i, theta = site.families[one.index], one.index, site.theta(one.index)
    bias: Tensor | None = site.bias if family.biased else None
    if one.gate is not None and theta:  # a conv is linear in its kernel: the gate is cheaper there than at the result
        theta = [theta[0] * one.gate.to(theta[0].dtype), *theta[1:]]
        if bias is not None and not all(each.biased for each in site.families):
            bias = bias * one.gate.to(bias.dtype)  # of which only this candidate's coefficient counts
    spec = replace(site.spec, candidates=site.candidates[i : i + 1], paddings=site.spec.paddings[i : i + 1])
    if family.exact:  # any kernel: the way of computing it is free
        kernel = family.kernel(theta, site.facts, site.candidates[i], x)
        return lone(x, kernel, spec, bias, site.algorithm)
    y = family.run(x, theta, site.facts, spec, bias)
    return y * one.gate.to(y.dtype) if one.gate is not None and not theta else y


def _grown(site: AggConv, x: Tensor, one: Sampled) -> Tensor:
    """Two terms: the candidate, and the residual at the taps that it does not have."""
    coef = torch.nn.functional.one_hot(torch.tensor(one.index), len(site.candidates)).to(site.alpha.detach())
    spec, kernels, coefs, bias = site.mixture(x, coef if one.gate is None else coef * one.gate.to(coef.dtype))
    at = [one.index, len(kernels) - 1]
    paddings = tuple(spec.paddings[i] for i in at)
    pair = replace(spec, candidates=tuple(spec.candidates[i] for i in at), paddings=paddings)
    return ALGORITHMS["grouped_dilation"](x, [kernels[i] for i in at], coefs[at], pair, bias)
