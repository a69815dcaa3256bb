"""Real samples at arbitrary integer points to their spectrum and back, in the layout that products over channels want.

Both transforms map a batch of rows (rows, *points) to the frequencies of a period `length`, as separate real and
imaginary parts, each (freq, rows): one batched matrix product per part then mixes channels. `analyse` is

    X_f = sum_p x_p exp(-2 pi i f.p / length)    over the half spectrum of the last axis

and `adjoint` its transpose as a real linear map. With `weighted`, X_f is scaled so that adjoint(X) is the inverse
transform read at the points: 1 / prod(length), times 2 for frequencies whose mirror image is not stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dashfx.ops.geometry import Points, Size

# What one number of a spectrum costs beside the multiplications, fitted as `dashfx.ops.autotune` says.
MATRIX_STORE, FFT_STORE = 40.0, 200.0

Pair = tuple[Tensor, Tensor]  # real and imaginary part, each (freq, rows)


class Transform(Protocol):
    @property
    def frequencies(self) -> int: ...

    def work(self, rows: int, points: Sequence[Points]) -> float:
        """The cost of one `analyse` or `adjoint`, in multiplications of a matrix product that take as long."""
        ...

    def analyse(self, values: Sequence[Tensor], points: Sequence[Points], weighted: bool = False) -> Pair:
        """The spectrum of the sum over k of `values[k]` (rows, *) standing at `points[k]`."""
        ...

    def adjoint(self, spectrum: Pair, points: Sequence[Points], weighted: bool = False) -> list[Tensor]:
        """For each set of points the values (rows, *) of the transposed map."""
        ...


class MatrixTransform:
    """Axis by axis as matrix products with cosines and sines.

    It needs no zero padding, any length will do, strides and dilations cost nothing as only the points given are ever
    read or written, and the layout (freq, rows) comes out of the products. `dashfx.ops.algorithms.fourier` says up to
    which lengths that beats an FFT.
    """

    def __init__(self, length: Size) -> None:
        self.length = length

    @property
    def frequencies(self) -> int:
        return _frequencies(self.length)

    def work(self, rows: int, points: Sequence[Points]) -> float:
        total = MATRIX_STORE * 2 * rows * self.frequencies
        for *outer, last in (tuple(map(len, own)) for own in points):
            done = self.length[-1] // 2 + 1
            total += 2 * done * rows * math.prod(outer) * last
            for axis in reversed(range(len(outer))):
                total += 4 * done * self.length[axis] * rows * math.prod(outer[: axis + 1])
                done *= self.length[axis]
        return total

    def analyse(self, values: Sequence[Tensor], points: Sequence[Points], weighted: bool = False) -> Pair:
        outer = [p[0] for p in points]
        if len(self.length) == 1:
            return self._real(torch.cat(list(values), -1), outer, weighted)
        pairs = []
        for value, own in zip(values, points, strict=True):
            pair = self._real(value, [own[-1]], weighted)
            for axis in range(len(self.length) - 2, 0, -1):
                pair = self._complex(pair, axis, [own[axis]], weighted)
            # the first axis is contracted for all sets of points together: sum_k A_k v_k = [A_1 A_2 ..] [v_1; v_2; ..]
            pairs.append([part.reshape(len(part), -1, len(own[0])) for part in pair])
        re, im = (torch.cat(parts, -1) if len(parts) > 1 else parts[0] for parts in zip(*pairs, strict=True))
        return self._complex((re, im), 0, outer, weighted)

    def adjoint(self, spectrum: Pair, points: Sequence[Points], weighted: bool = False) -> list[Tensor]:
        outer, shapes = [p[0] for p in points], [tuple(map(len, p)) for p in points]
        if len(self.length) == 1:
            return list(self._real_adjoint(spectrum, outer, weighted).split([s[0] for s in shapes], -1))
        rows = spectrum[0].shape[1]
        pair = self._complex_adjoint(spectrum, 0, outer, weighted)
        split = zip(*(part.split([s[0] for s in shapes], -1) for part in pair), strict=True)
        values = []
        for own, shape, (re, im) in zip(points, shapes, split, strict=True):
            pair = re, im
            for axis in range(1, len(self.length) - 1):
                pair = self._complex_adjoint(pair, axis, [own[axis]], weighted)
            values.append(self._real_adjoint(pair, [own[-1]], weighted).reshape(rows, *shape))
        return values

    def _basis(self, axis: int, points: Sequence[range], weighted: bool, like: Tensor) -> Pair:
        half = axis == len(self.length) - 1
        return _basis(self.length[axis], half, tuple(points), weighted, like.dtype, like.device)

    def _real(self, value: Tensor, points: Sequence[range], weighted: bool) -> Pair:
        """(rows, *rest, points) -> (freq, rows * rest)"""
        cos, sin = self._basis(len(self.length) - 1, points, weighted, value)
        both = torch.cat([cos, -sin]) @ value.reshape(-1, value.shape[-1]).t()
        return both[: len(cos)], both[len(cos) :]

    def _real_adjoint(self, pair: Pair, points: Sequence[range], weighted: bool) -> Tensor:
        """(freq, rest) -> (rest, points)"""
        cos, sin = self._basis(len(self.length) - 1, points, weighted, pair[0])
        re, im = (part.reshape(len(cos), -1).t() for part in pair)
        return torch.addmm(re @ cos, im, sin, alpha=-1)

    def _complex(self, pair: Pair, axis: int, points: Sequence[range], weighted: bool) -> Pair:
        """(done, rest, points) -> (done * freq, rest)"""
        cos, sin = self._basis(axis, points, weighted, pair[0])
        done = len(pair[0])
        re, im = (part.reshape(done, -1, cos.shape[1]).transpose(1, 2) for part in pair)
        cos, sin = cos.expand(done, -1, -1), sin.expand(done, -1, -1)
        out_re = torch.bmm(cos, re).baddbmm_(sin, im)
        out_im = torch.bmm(cos, im).baddbmm_(sin, re, alpha=-1)
        return out_re.flatten(0, 1), out_im.flatten(0, 1)

    def _complex_adjoint(self, pair: Pair, axis: int, points: Sequence[range], weighted: bool) -> Pair:
        """(done * freq, rest) -> (done, rest, points)"""
        cos, sin = self._basis(axis, points, weighted, pair[0])
        done = _frequencies(self.length[axis + 1 :])
        re, im = (part.reshape(done, len(cos), -1).transpose(1, 2) for part in pair)
        cos, sin = cos.expand(done, -1, -1), sin.expand(done, -1, -1)
        out_re = torch.bmm(re, cos).baddbmm_(im, sin, alpha=-1)
        out_im = torch.bmm(im, cos).baddbmm_(re, sin)
        return out_re, out_im


class FftTransform:
    """`torch.fft` on zero-filled buffers, and a transposing copy to the layout (freq, rows): for long axes."""

    def __init__(self, length: Size) -> None:
        self.length = length

    @property
    def frequencies(self) -> int:
        return _frequencies(self.length)

    def work(self, rows: int, points: Sequence[Points]) -> float:
        return FFT_STORE * 2 * rows * self.frequencies

    def analyse(self, values: Sequence[Tensor], points: Sequence[Points], weighted: bool = False) -> Pair:
        buffer = values[0].new_zeros(len(values[0]), *self.length)
        for value, own in zip(values, points, strict=True):
            buffer[(slice(None), *self._index(own, buffer))] += value
        spectrum = torch.fft.rfftn(buffer, dim=self._axes)
        if weighted:
            spectrum *= self._mirror(buffer) / math.prod(self.length)
        spectrum = spectrum.flatten(1).t()
        return spectrum.real.contiguous(), spectrum.imag.contiguous()

    def adjoint(self, spectrum: Pair, points: Sequence[Points], weighted: bool = False) -> list[Tensor]:
        half = (*self.length[:-1], self.length[-1] // 2 + 1)
        joined = torch.complex(*spectrum).t().reshape(-1, *half)
        if not weighted:
            joined = joined / self._mirror(spectrum[0])  # irfftn counts mirrored frequencies twice
        norm = "backward" if weighted else "forward"
        buffer = torch.fft.irfftn(joined, s=self.length, dim=self._axes, norm=norm)
        return [buffer[(slice(None), *self._index(own, buffer))].contiguous() for own in points]

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.length) + 1))

    def _index(self, points: Points, like: Tensor) -> tuple[slice | Tensor, ...]:
        if all(p[0] >= 0 and p[-1] < n for p, n in zip(points, self.length, strict=True)):
            return tuple(slice(p.start, p.stop, p.step) for p in points)
        return _wrapped(points, self.length, like.device)

    def _mirror(self, like: Tensor) -> Tensor:
        return _mirror(self.length[-1]).to(like)


def _frequencies(length: Size) -> int:
    """How many the half spectrum holds."""
    return math.prod(length[:-1]) * (length[-1] // 2 + 1)


@lru_cache(maxsize=1024)
def _basis(
    length: int, half: bool, points: tuple[range, ...], weighted: bool, dtype: torch.dtype, device: torch.device
) -> Pair:
    """cos and sin of 2 pi f p / length, each (freq, points)."""
    with torch.inference_mode(False), torch.no_grad():
        freq = torch.arange(length // 2 + 1 if half else length)
        at = torch.tensor([p for own in points for p in own])
        turns = (freq[:, None] * at[None, :]) % length  # whole numbers: no rounding at large f * p
        angle = turns.double() * (2 * math.pi / length)
        scale = _mirror(length) if weighted and half else torch.ones(len(freq), dtype=torch.float64)
        if weighted:
            scale = scale / length
        cos, sin = angle.cos() * scale[:, None], angle.sin() * scale[:, None]
        return cos.to(device, dtype), sin.to(device, dtype)


def _mirror(length: int) -> Tensor:
    """2 where a frequency of the half spectrum stands for its mirror image too, else 1: (length // 2 + 1,)."""
    counts = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64)
    counts[0] = 1
    if length % 2 == 0:
        counts[-1] = 1
    return counts


@lru_cache(maxsize=1024)
def _wrapped(points: Points, length: Size, device: torch.device) -> tuple[Tensor, ...]:
    """Index tensors of the points modulo the period, one per axis, that broadcast to the grid."""
    with torch.inference_mode(False):
        axes = [torch.tensor([p % n for p in own], device=device) for own, n in zip(points, length, strict=True)]
        return torch.meshgrid(*axes, indexing="ij")
