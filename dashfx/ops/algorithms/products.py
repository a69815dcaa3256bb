"""The product of input and kernel spectra over channels, and its two gradients, in real arithmetic.

A spectrum is (2, freq, rows), real before imaginary parts, so that each part of a product is two batched matrix
products, the second added in place: on CPU that is faster than a complex `bmm`. Results go to tensors that the caller
hands in; `add` says whether they hold a sum already.
"""

from __future__ import annotations

import torch
from torch import Tensor

# PyTorch leaves matrix products of fewer multiplications to loops of its own, which are several times slower.
TINY = 400


def product_over_channels(batch: int, groups: int, out_channels: int, group_in: int) -> Dense | Depthwise:
    if group_in == 1 and out_channels == groups:
        return Depthwise(batch, out_channels)
    kind = Packed if batch * (out_channels // groups) * group_in < TINY else Dense
    return kind(batch, groups, out_channels, group_in)


class Dense:
    """Per frequency and group a matrix product: rows of x are (group, batch, channel), of k (group, out, in)."""

    def __init__(self, batch: int, groups: int, out_channels: int, group_in: int) -> None:
        self._batch, self._groups, self._out, self._in = batch, groups, out_channels // groups, group_in

    def rows(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) -> (rows, *size); a view where there is one group."""
        return x.unflatten(1, (self._groups, -1)).transpose(0, 1).flatten(0, 2)

    def batch(self, rows: Tensor) -> Tensor:
        """(rows, *size) -> (batch, channels, *size)"""
        return rows.unflatten(0, (self._groups, self._batch, -1)).transpose(0, 1).flatten(1, 2)

    def output(self, x: Tensor, k: Tensor, out: Tensor, add: bool = False) -> None:
        """X conj(K)^T"""
        (xr, xi), (re, im) = self._matrices(x, self._in), self._matrices(out, self._out)
        kr, ki = self._matrices(k, self._in).transpose(2, 3)
        re.baddbmm_(xr, kr, beta=int(add)).baddbmm_(xi, ki)
        im.baddbmm_(xi, kr, beta=int(add)).baddbmm_(xr, ki, alpha=-1)

    def grad_input(self, g: Tensor, k: Tensor, out: Tensor) -> None:
        """dY K"""
        (gr, gi), (re, im) = self._matrices(g, self._out), self._matrices(out, self._in)
        kr, ki = self._matrices(k, self._in)
        torch.bmm(gr, kr, out=re).baddbmm_(gi, ki, alpha=-1)
        torch.bmm(gi, kr, out=im).baddbmm_(gr, ki)

    def grad_kernel(self, g: Tensor, x: Tensor, out: Tensor) -> None:
        """conj(dY)^T X, summed over the batch"""
        (xr, xi), (re, im) = self._matrices(x, self._in), self._matrices(out, self._in)
        gr, gi = self._matrices(g, self._out).transpose(2, 3)
        torch.bmm(gr, xr, out=re).baddbmm_(gi, xi)
        torch.bmm(gr, xi, out=im).baddbmm_(gi, xr, alpha=-1)

    def _matrices(self, spectrum: Tensor, columns: int) -> Tensor:
        """(2, freq, rows) -> (2, freq * groups, rows / groups / columns, columns)"""
        return spectrum.view(2, spectrum.shape[1] * self._groups, -1, columns)


class Packed(Dense):
    """As `Dense`, with one product of four times the size: [Xr Xi] and [[Kr, Ki], [-Ki, Kr]]."""

    def output(self, x: Tensor, k: Tensor, out: Tensor, add: bool = False) -> None:
        target = self._matrices(out, self._out)
        y = torch.bmm(self._packed(x, self._in), self._block(k).transpose(1, 2))
        for part, own in zip(target, y.chunk(2, 2), strict=True):
            part.add_(own) if add else part.copy_(own)

    def grad_input(self, g: Tensor, k: Tensor, out: Tensor) -> None:
        x = torch.bmm(self._packed(g, self._out), self._block(k))
        for part, own in zip(self._matrices(out, self._in), x.chunk(2, 2), strict=True):
            part.copy_(own)

    def grad_kernel(self, g: Tensor, x: Tensor, out: Tensor) -> None:
        re, im = self._matrices(out, self._in)
        upper, lower = torch.bmm(self._packed(g, self._out).transpose(1, 2), self._packed(x, self._in)).chunk(2, 1)
        torch.add(upper[..., : self._in], lower[..., self._in :], out=re)
        torch.sub(upper[..., self._in :], lower[..., : self._in], out=im)

    def _packed(self, spectrum: Tensor, columns: int) -> Tensor:
        """(freq * groups, batch, 2 * columns)"""
        return torch.cat(self._matrices(spectrum, columns).unbind(), 2)

    def _block(self, k: Tensor) -> Tensor:
        """(freq * groups, 2 * out, 2 * in)"""
        re, im = self._matrices(k, self._in)
        block = re.new_empty(len(re), 2, self._out, 2, self._in)
        block[:, 0, :, 0], block[:, 0, :, 1] = re, im
        block[:, 1, :, 0], block[:, 1, :, 1] = -im, re
        return block.flatten(3, 4).flatten(1, 2)


class Depthwise:
    """Per frequency an elementwise product: rows of x are (batch, channel), of k (channel)."""

    def __init__(self, batch: int, channels: int) -> None:
        self._batch, self._channels = batch, channels

    def rows(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1)

    def batch(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self._batch, self._channels))

    def output(self, x: Tensor, k: Tensor, out: Tensor, add: bool = False) -> None:
        (xr, xi), (kr, ki), (re, im) = self._parts(x), self._parts(k), self._parts(out)
        _multiply(xr, kr, re, add).addcmul_(xi, ki)
        _multiply(xi, kr, im, add).addcmul_(xr, ki, value=-1)

    def grad_input(self, g: Tensor, k: Tensor, out: Tensor) -> None:
        (gr, gi), (kr, ki), (re, im) = self._parts(g), self._parts(k), self._parts(out)
        _multiply(gr, kr, re).addcmul_(gi, ki, value=-1)
        _multiply(gi, kr, im).addcmul_(gr, ki)

    def grad_kernel(self, g: Tensor, x: Tensor, out: Tensor) -> None:
        (gr, gi), (xr, xi), (re, im) = self._parts(g), self._parts(x), self._parts(out)
        torch.sum((gr * xr).addcmul_(gi, xi), 1, keepdim=True, out=re)
        torch.sum((gr * xi).addcmul_(gi, xr, value=-1), 1, keepdim=True, out=im)

    def _parts(self, spectrum: Tensor) -> Tensor:
        """(2, freq, batch or 1, channels)"""
        return spectrum.view(2, spectrum.shape[1], -1, self._channels)


def _multiply(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> Tensor:
    return out.addcmul_(a, b) if add else torch.mul(a, b, out=out)
