"""The product of input and kernel spectra over channels, and its two gradients, in real arithmetic.

A spectrum is a pair (real, imaginary), each (freq, rows). Complex `bmm` copies slice by slice on CPU, so a complex
product is four real ones, accumulated in place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dashfx.ops.transform import Pair


def product_over_channels(batch: int, groups: int, out_channels: int, group_in: int) -> Dense | Depthwise:
    if group_in == 1 and out_channels == groups:
        return Depthwise(batch, out_channels)
    return Dense(batch, groups, out_channels, group_in)


class Dense:
    """Per frequency and group a matrix product: rows of x are (group, batch, channel), of k (group, out, in)."""

    def __init__(self, batch: int, groups: int, out_channels: int, group_in: int) -> None:
        self.kernel_shape = (out_channels, group_in)
        self._groups = groups
        self._x = (-1, batch, group_in)
        self._y = (-1, batch, out_channels // groups)
        self._k = (-1, out_channels // groups, group_in)

    def rows(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) -> (rows, *size); a view where there is one group."""
        return x.unflatten(1, (self._groups, -1)).transpose(0, 1).flatten(0, 2)

    def batch(self, rows: Tensor) -> Tensor:
        """(rows, *size) -> (batch, channels, *size)"""
        return rows.unflatten(0, (self._groups, self._x[1], -1)).transpose(0, 1).flatten(1, 2)

    def output(self, x: Pair, k: Pair) -> Pair:
        """X conj(K)^T"""
        (xr, xi), (kr, ki) = _views(x, self._x), _views(k, self._k)
        kr, ki = kr.transpose(1, 2), ki.transpose(1, 2)
        re = torch.bmm(xr, kr).baddbmm_(xi, ki)
        im = torch.bmm(xi, kr).baddbmm_(xr, ki, alpha=-1)
        return re.view(len(x[0]), -1), im.view(len(x[0]), -1)

    def grad_input(self, g: Pair, k: Pair) -> Pair:
        """dY K"""
        (gr, gi), (kr, ki) = _views(g, self._y), _views(k, self._k)
        re = torch.bmm(gr, kr).baddbmm_(gi, ki, alpha=-1)
        im = torch.bmm(gi, kr).baddbmm_(gr, ki)
        return re.view(len(g[0]), -1), im.view(len(g[0]), -1)

    def grad_kernel(self, g: Pair, x: Pair) -> Pair:
        """conj(dY)^T X, summed over the batch"""
        (gr, gi), (xr, xi) = _views(g, self._y), _views(x, self._x)
        gr, gi = gr.transpose(1, 2), gi.transpose(1, 2)
        re = torch.bmm(gr, xr).baddbmm_(gi, xi)
        im = torch.bmm(gr, xi).baddbmm_(gi, xr, alpha=-1)
        return re.view(len(g[0]), -1), im.view(len(g[0]), -1)


class Depthwise:
    """Per frequency an elementwise product: rows of x are (batch, channel), of k (channel)."""

    def __init__(self, batch: int, channels: int) -> None:
        self.kernel_shape = (channels, 1)
        self._x = (-1, batch, channels)
        self._k = (-1, 1, channels)

    def rows(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1)

    def batch(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, self._x[1:])

    def output(self, x: Pair, k: Pair) -> Pair:
        (xr, xi), (kr, ki) = _views(x, self._x), _views(k, self._k)
        re = (xr * kr).addcmul_(xi, ki)
        im = (xi * kr).addcmul_(xr, ki, value=-1)
        return re.flatten(1), im.flatten(1)

    def grad_input(self, g: Pair, k: Pair) -> Pair:
        (gr, gi), (kr, ki) = _views(g, self._x), _views(k, self._k)
        re = (gr * kr).addcmul_(gi, ki, value=-1)
        im = (gi * kr).addcmul_(gr, ki)
        return re.flatten(1), im.flatten(1)

    def grad_kernel(self, g: Pair, x: Pair) -> Pair:
        (gr, gi), (xr, xi) = _views(g, self._x), _views(x, self._x)
        return (gr * xr).addcmul_(gi, xi).sum(1), (gr * xi).addcmul_(gi, xr, value=-1).sum(1)


def _views(pair: Pair, shape: tuple[int, ...]) -> Pair:
    return pair[0].reshape(shape), pair[1].reshape(shape)
