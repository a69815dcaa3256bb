"""The product of input and kernel spectra over channels, and its two gradients, in real arithmetic.

A spectrum is (freq, 2, rows), real beside imaginary parts, so that a matrix product with the kernel's real part serves
both parts of its other factor: with P = X Re(K) and Q = X Im(K), X K = (P_re - Q_im) + i (P_im + Q_re). On CPU that is
faster than a complex `bmm`. Results go to tensors that the caller hands in; `add` says whether they hold a sum already.
"""

from __future__ import annotations

import torch
from torch import Tensor


def product_over_channels(batch: int, groups: int, out_channels: int, group_in: int) -> Dense | Depthwise:
    if group_in == 1 and out_channels == groups:
        return Depthwise(batch, out_channels)
    return Dense(batch, groups, out_channels, group_in)


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
        re, im = self._kernel(k)
        self._multiply(self._images(x, self._in), re.transpose(1, 2), im.transpose(1, 2), out, -1, add)

    def grad_input(self, g: Tensor, k: Tensor, out: Tensor) -> None:
        """dY K"""
        self._multiply(self._images(g, self._out), *self._kernel(k), out, 1)

    def grad_kernel(self, g: Tensor, x: Tensor, out: Tensor) -> None:
        """conj(dY)^T X, summed over the batch"""
        g, x = self._images(g, self._out).transpose(1, 2), self._images(x, self._in)
        re = torch.bmm(g, x)
        im = torch.bmm(g[..., : self._batch], x[:, self._batch :])
        im.baddbmm_(g[..., self._batch :], x[:, : self._batch], alpha=-1)
        for target, part in zip(self._parts(out), (re, im), strict=True):
            target.copy_(part.view(target.shape))

    def _images(self, spectrum: Tensor, channels: int) -> Tensor:
        """(freq, 2, rows) -> (freq * groups, 2 * batch, channels)"""
        split = spectrum.view(len(spectrum), 2, self._groups, -1).transpose(1, 2)
        return split.reshape(-1, 2 * self._batch, channels)

    def _kernel(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, each (freq * groups, out, in)"""
        re, im = (part.reshape(-1, self._out, self._in) for part in self._parts(k))
        return re, im

    def _parts(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, each (freq, groups, rows / groups)"""
        re, im = spectrum.view(len(spectrum), 2, self._groups, -1).unbind(1)
        return re, im

    def _multiply(self, x: Tensor, re: Tensor, im: Tensor, out: Tensor, sign: int, add: bool = False) -> None:
        """out = x (re + sign * i im)"""
        target, shape = self._parts(out), (-1, self._groups, 2, self._batch * re.shape[2])
        if self._groups == 1 and not add:
            torch.bmm(x, re, out=out.view(len(x), -1, re.shape[2]))
        else:
            by_re = torch.bmm(x, re).view(shape)
            for i in range(2):
                target[i].add_(by_re[:, :, i]) if add else target[i].copy_(by_re[:, :, i])
        by_im = torch.bmm(x, im).view(shape)
        target[0].sub_(by_im[:, :, 1], alpha=sign)
        target[1].add_(by_im[:, :, 0], alpha=sign)


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

    def _parts(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, each (freq, batch or 1, channels)"""
        re, im = spectrum.view(len(spectrum), 2, -1, self._channels).unbind(1)
        return re, im


def _multiply(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> Tensor:
    return out.addcmul_(a, b) if add else torch.mul(a, b, out=out)
