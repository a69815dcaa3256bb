"""The paper's own techniques as algorithms, for the benchmarks only, as the paper and its authors' code have them.

Mixing kernels takes each one to the largest span, by zero padding in between and around (`padding`) or by a Kronecker
product with a dilation pattern (`kronecker`); autograd then keeps every padded kernel. The authors' transform has the
period n + 2 p for padding p, at both sides of PyTorch's own FFT. Its complex product over channels is theirs, too.
Stride 1 and symmetric zero padding only, which is what the figures need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dashfx.ops.algorithms import ALGORITHMS, Algorithm
from dashfx.ops.algorithms.base import CONVS
from dashfx.ops.geometry import ConvSpec, Size

Dilate = Callable[[Tensor, Size], Tensor]
Convolve = Callable[[Tensor, Tensor, ConvSpec], Tensor]


def by_padding(weight: Tensor, dilation: Size) -> Tensor:
    """(out, in, *kernel) -> (out, in, *span): zeros are laid between the taps."""
    spread = weight.new_zeros(*weight.shape[:2], *_span(weight, dilation))
    spread[(..., *(slice(None, None, d) for d in dilation))] = weight
    return spread


def by_kronecker(weight: Tensor, dilation: Size) -> Tensor:
    """The same as the Kronecker product with a pattern that is 1 at its first place, less the zeros behind."""
    pattern = weight.new_zeros(1, 1, *dilation)
    pattern[(0,) * pattern.dim()] = 1
    spread = torch.kron(weight, pattern)
    return spread[(..., *map(slice, _span(weight, dilation)))]


def natively(x: Tensor, kernel: Tensor, spec: ConvSpec) -> Tensor:
    return CONVS[spec.ndim](x, kernel, None, 1, [n // 2 for n in kernel.shape[2:]], 1, spec.groups)


def by_authors_fft(x: Tensor, kernel: Tensor, spec: ConvSpec) -> Tensor:
    """Input and kernel padded to n + 2 p, with PyTorch's own backward pass of the FFT."""
    axes, sides = tuple(range(2, 2 + spec.ndim)), [n // 2 for n in kernel.shape[2:]]
    size = [n + 2 * p for n, p in zip(x.shape[2:], sides, strict=True)]
    padded = F.pad(x, [side for p in reversed(sides) for side in (p, p)])
    spectrum = torch.fft.rfftn(padded, s=size, dim=axes).flatten(2).unflatten(1, (spec.groups, -1))
    taps = torch.fft.rfftn(kernel, s=size, dim=axes).flatten(2).unflatten(0, (spec.groups, -1)).conj()
    joined = torch.einsum("bgif,goif->bgof", spectrum, taps).flatten(1, 2)
    y = torch.fft.irfftn(joined.unflatten(2, (*size[:-1], size[-1] // 2 + 1)), s=size, dim=axes)
    return y[(..., *(slice(n) for n in x.shape[2:]))]


class Reference:
    """Mixes kernels by one technique and convolves by another."""

    def __init__(self, dilate: Dilate, convolve: Convolve) -> None:
        self.dilate, self.convolve = dilate, convolve

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        spans = [candidate.span for candidate in spec.candidates]
        if any(s != 1 for s in spec.stride) or any(n % 2 == 0 for span in spans for n in span):
            raise ValueError(f"stride {spec.stride}, spans {spans}: the references know stride 1 and odd spans only")
        widest = tuple(map(max, zip(*spans, strict=True)))
        mixed = x.new_zeros(())
        for i, (candidate, weight) in enumerate(zip(spec.candidates, weights, strict=True)):
            around = [(w - n) // 2 for w, n in zip(widest, candidate.span, strict=True)]
            sides = [side for p in reversed(around) for side in (p, p)]
            mixed = mixed + coef[i] * F.pad(self.dilate(weight, candidate.dilation), sides)
        y = self.convolve(x, mixed, spec)
        return y if bias is None else y + bias.view(-1, *[1] * spec.ndim)


REFERENCES: dict[str, Algorithm] = {
    "padded kernels": Reference(by_padding, natively),
    "Kronecker": Reference(by_kronecker, natively),
    "padded, authors' FFT": Reference(by_padding, by_authors_fft),
    "DASH as published": Reference(by_kronecker, by_authors_fft),
}


def select_references() -> None:
    """From now on `AggConv.algorithm` can name them, in this process."""
    ALGORITHMS.update(REFERENCES)


def _span(weight: Tensor, dilation: Size) -> list[int]:
    return [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
