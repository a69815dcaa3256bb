"""The product of input and kernel spectra over channels, and its two gradients, in real arithmetic.

A spectrum is (2, freq, rows), real before imaginary parts, so that each part of a product is two batched matrix
products, the second added in place: on CPU that is faster than a complex `bmm`. Rows of x and y are (group, batch,
channel), of k (group, out, in). A product is bound to the memory of its spectra once and reads and fills it thereafter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dashfx.ops.fourier.matrices import TINY

SMALL = 2 * TINY  # multiplications, below which products are done two at once


@dataclass(frozen=True)
class Channels:
    """How many rows belong together."""

    batch: int
    groups: int
    group_out: int
    group_in: int

    @property
    def depthwise(self) -> bool:
        return self.group_in == self.group_out == 1

    @property
    def x_rows(self) -> int:
        return self.batch * self.groups * self.group_in

    @property
    def y_rows(self) -> int:
        return self.batch * self.groups * self.group_out

    @property
    def k_rows(self) -> int:
        return self.groups * self.group_out * self.group_in

    def rows(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) -> (rows, *size); a view where there is one group, or a channel each."""
        if self.depthwise:
            return x.flatten(0, 1)
        return x.unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 2)

    def unrows(self, rows: Tensor) -> Tensor:
        """(rows, *size) -> (batch, channels, *size)"""
        if self.depthwise:
            return rows.unflatten(0, (self.batch, self.groups))
        return rows.unflatten(0, (self.groups, self.batch, -1)).transpose(0, 1).flatten(1, 2)

    def outputs(self, row: Tensor) -> Tensor:
        """(rows of y) -> (groups, batch, channels of a group), or (1, batch, channels)"""
        return row.view(1 if self.depthwise else self.groups, self.batch, -1)

    def product(self, x: Tensor, k: Tensor, y: Tensor, grad_k: Tensor) -> Dense | Depthwise:
        """Between these spectra: of inputs, kernels and outputs, and room for the gradient of the kernels."""
        if self.depthwise:
            return Depthwise(self, x, k, y, grad_k)
        small = self.batch * self.group_out * self.group_in < SMALL
        return (Stacked if small else Dense)(self, x, k, y, grad_k)


class Dense:
    """Per frequency and group a matrix product."""

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, grad_k: Tensor) -> None:
        def matrices(spectrum: Tensor, *shape: int) -> tuple[Tensor, ...]:
            return spectrum.view(2, spectrum.shape[1] * channels.groups, *shape).unbind()

        self._x = self._xr, self._xi = matrices(x, channels.batch, channels.group_in)
        self._y = self._yr, self._yi = matrices(y, channels.batch, channels.group_out)
        self._kr, self._ki = matrices(k, channels.group_out, channels.group_in)
        self._grad_k = matrices(grad_k, channels.group_out, channels.group_in)
        self._krt, self._kit, self._yrt, self._yit = self._kr.mT, self._ki.mT, self._yr.mT, self._yi.mT

    def output(self, add: bool = False) -> None:
        """Y = X conj(K)^T, or more of a sum."""
        self._yr.baddbmm_(self._xr, self._krt, beta=int(add)).baddbmm_(self._xi, self._kit)
        self._yi.baddbmm_(self._xi, self._krt, beta=int(add)).baddbmm_(self._xr, self._kit, alpha=-1)

    def grad_input(self) -> None:
        """dX = dY K, from dY in the place of Y, in the place of X"""
        torch.bmm(self._yr, self._kr, out=self._xr).baddbmm_(self._yi, self._ki, alpha=-1)
        torch.bmm(self._yi, self._kr, out=self._xi).baddbmm_(self._yr, self._ki)

    def grad_kernel(self) -> None:
        """dK = conj(dY)^T X, summed over the batch, from dY in the place of Y."""
        re, im = self._grad_k
        torch.bmm(self._yrt, self._xr, out=re).baddbmm_(self._yit, self._xi)
        torch.bmm(self._yrt, self._xi, out=im).baddbmm_(self._yit, self._xr, alpha=-1)


class Stacked(Dense):
    """As `Dense` with fewer and larger products, of [Xr; Xi] and [Yr; Yi] one above the other."""

    def output(self, add: bool = False) -> None:
        x = torch.cat(self._x, 1)
        (rr, ir), (ri, ii) = torch.bmm(x, self._krt).chunk(2, 1), torch.bmm(x, self._kit).chunk(2, 1)
        if add:
            self._yr.add_(rr).add_(ii)
            self._yi.add_(ir).sub_(ri)
        else:
            torch.add(rr, ii, out=self._yr)
            torch.sub(ir, ri, out=self._yi)

    def grad_input(self) -> None:
        y = torch.cat(self._y, 1)
        (rr, ir), (ri, ii) = torch.bmm(y, self._kr).chunk(2, 1), torch.bmm(y, self._ki).chunk(2, 1)
        torch.sub(rr, ii, out=self._xr)
        torch.add(ir, ri, out=self._xi)

    def grad_kernel(self) -> None:
        (re, im), yt = self._grad_k, torch.cat(self._y, 1).mT
        torch.bmm(yt, torch.cat(self._x, 1), out=re)
        torch.bmm(yt, torch.cat([self._xi, -self._xr], 1), out=im)


class Depthwise:
    """Per frequency an elementwise product."""

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, grad_k: Tensor) -> None:
        def parts(spectrum: Tensor) -> Tensor:
            return spectrum.unflatten(2, (-1, channels.groups))  # (2, freq, batch or 1, channels)

        (self._xr, self._xi), (self._kr, self._ki), (self._yr, self._yi) = parts(x), parts(k), parts(y)
        self._grad_k = parts(grad_k).unbind()

    def output(self, add: bool = False) -> None:
        """As `Dense.output`."""
        _multiply(self._xr, self._kr, self._yr, add).addcmul_(self._xi, self._ki)
        _multiply(self._xi, self._kr, self._yi, add).addcmul_(self._xr, self._ki, value=-1)

    def grad_input(self) -> None:
        _multiply(self._yr, self._kr, self._xr).addcmul_(self._yi, self._ki, value=-1)
        _multiply(self._yi, self._kr, self._xi).addcmul_(self._yr, self._ki)

    def grad_kernel(self) -> None:
        re, im = self._grad_k
        torch.sum((self._yr * self._xr).addcmul_(self._yi, self._xi), 1, keepdim=True, out=re)
        torch.sum((self._yr * self._xi).addcmul_(self._yi, self._xr, value=-1), 1, keepdim=True, out=im)


def _multiply(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> Tensor:
    return out.addcmul_(a, b) if add else torch.mul(a, b, out=out)
