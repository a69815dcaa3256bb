"""The product of input and kernel spectra over channels, and its two gradients, in real arithmetic.

A spectrum is (freq, 2, rows), real before imaginary parts. Rows of one phase's k are (group, out, in); those of x and y
stand as `Channels` says. A product is bound to the memory of its spectra once and reads and fills it thereafter.
Kernels come and go phase by phase, in one and the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dashfx.ops.fourier.rows import Parts

MANY = 32  # images, from which on they are the columns of matrices: with fewer these would be too thin


@dataclass(frozen=True)
class Channels:
    """How many rows belong together; the phases are those of the stride.

    Rows of x are (group, phase, channel, batch) and of y (group, channel, batch) where there are many images, else
    (phase, batch, group, channel) and (batch, group, channel).
    """

    batch: int
    groups: int
    group_out: int
    group_in: int
    phases: int = 1

    @property
    def depthwise(self) -> bool:
        return self.group_in == self.group_out == 1

    @property
    def many(self) -> bool:
        return self.batch >= MANY and not self.depthwise

    @property
    def stacked(self) -> bool:
        """Whether real and imaginary parts of all images are one matrix, one above the other."""
        return not self.many and self.groups == self.phases == 1 and not self.depthwise

    @property
    def x_rows(self) -> int:
        return self.batch * self.groups * self.group_in * self.phases

    @property
    def y_rows(self) -> int:
        return self.batch * self.groups * self.group_out

    @property
    def k_rows(self) -> int:
        return self.groups * self.group_out * self.group_in

    @property
    def own(self) -> int:
        """Numbers that a product takes for itself, a frequency."""
        if self.depthwise:
            return 2 * self.k_rows * self.phases + 2 * self.y_rows
        if self.stacked:
            return 4 * self.k_rows + 2 * (self.x_rows + self.y_rows)
        together = self.many and self.groups == 1
        return 8 * self.k_rows * self.phases + (0 if together else 2 * (self.x_rows + self.y_rows))

    @property
    def numbers(self) -> int:
        """Of all spectra and of the product, a frequency."""
        return 2 * (self.x_rows + self.y_rows + self.k_rows) + self.own

    def parts(self, images: list[Tensor]) -> Parts:
        """Images (batch, channels, *size), one of each phase, as rows."""
        if not self.many:
            return images
        if len(images) == 1:
            return [images[0].transpose(0, 1)]
        split = [image.unflatten(1, (self.groups, -1)).unbind(1) for image in images]
        return [own[group].transpose(0, 1) for group in range(self.groups) for own in split]

    def bias(self, row: Tensor) -> Tensor:
        """(rows of y) -> (batch, channels)"""
        return row.view(-1, self.batch).t() if self.many else row.view(self.batch, -1)

    def product(self, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> Product:
        """Between these spectra: of inputs, kernels of one phase, and outputs; `own` is memory."""
        if self.depthwise:
            return Depthwise(self, x, k, y, own)
        kind = ManyImages if self.many else Stacked if self.stacked else FewImages
        return kind(self, x, k, y, own)


class Dense:
    """Per frequency and group a matrix product of real numbers, a complex one of kernels being [[re, im], [-im, re]].

    So it is one large batched product, where four smaller ones, for each pair of parts, take up to twice as long.
    """

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> None:
        freq, groups, out = len(x), channels.groups, channels.group_out
        self._k = k.view(freq, 2, groups, out, -1).transpose(1, 2)  # freq, groups, 2, out, in
        size = 8 * channels.k_rows * channels.phases * freq
        blocks = own[:size].view(2, freq, groups, 2, out, 2, channels.phases, channels.group_in)
        self._blocks, self._grad = blocks
        self._matrix, self._grad_matrix = blocks.view(2, freq * groups, 2 * out, -1)
        self._room = own[size:]

    def load(self, phase: int) -> None:
        """The kernels' spectrum is this phase's."""
        (re, im), blocks = self._k.unbind(2), self._blocks[..., phase, :]
        blocks[:, :, 0, :, 0] = re
        blocks[:, :, 1, :, 1] = re
        blocks[:, :, 0, :, 1] = im
        torch.neg(im, out=blocks[:, :, 1, :, 0])

    def unload(self, phase: int) -> None:
        """The kernels' gradient of this phase, after `grad_kernel`, in the place of their spectrum."""
        (re, im), grad = self._k.unbind(2), self._grad[..., phase, :]
        torch.add(grad[:, :, 0, :, 0], grad[:, :, 1, :, 1], out=re)
        torch.sub(grad[:, :, 0, :, 1], grad[:, :, 1, :, 0], out=im)


class ManyImages(Dense):
    """Matrices (2 * channels, images). Of several groups the two parts are brought together first, in the cache."""

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> None:
        super().__init__(channels, x, k, y, own)
        apart = [s.unflatten(2, (channels.groups, -1)).transpose(1, 2) for s in (x, y)]  # freq, groups, 2, rows
        self._copies: list[tuple[Tensor, Tensor]] = []
        if channels.groups > 1:
            room = self._room[: x.numel() + y.numel()].split([x.numel(), y.numel()])
            self._copies = [(s, part.view(s.shape)) for s, part in zip(apart, room, strict=True)]
            apart = [inside for _, inside in self._copies]
        self._x, self._y = (s.reshape(len(x) * channels.groups, -1, channels.batch) for s in apart)

    def output(self) -> None:
        """Y = X conj(K)^T"""
        self._gather(0)
        torch.bmm(self._matrix, self._x, out=self._y)
        self._scatter(1)

    def grad_kernel(self) -> None:
        """dK = conj(dY)^T X, summed over the batch, from dY in the place of Y."""
        self._gather(0)
        self._gather(1)
        torch.bmm(self._y, self._x.mT, out=self._grad_matrix)

    def grad_input(self) -> None:
        """dX = dY K, from dY in the place of Y, in the place of X"""
        self._gather(1)
        torch.bmm(self._matrix.mT, self._y, out=self._x)
        self._scatter(0)

    def _gather(self, which: int) -> None:
        for outside, inside in self._copies[which : which + 1]:
            inside.copy_(outside)

    def _scatter(self, which: int) -> None:
        for outside, inside in self._copies[which : which + 1]:
            outside.copy_(inside)


class FewImages(Dense):
    """Matrices (images, 2 * channels): what belongs together is brought together first, in the cache."""

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> None:
        super().__init__(channels, x, k, y, own)
        facts = zip((x, y), (channels.phases, 1), (channels.group_in, channels.group_out), strict=True)
        self._outside, self._inside, rest = [], [], self._room
        for spectrum, phases, width in facts:
            own = spectrum.view(len(x), 2, phases, channels.batch, channels.groups, width)
            self._outside.append(own.permute(0, 4, 3, 1, 2, 5))  # freq, groups, batch, 2, phases, channels
            self._inside.append(rest[: spectrum.numel()].view(self._outside[-1].shape))
            rest = rest[spectrum.numel() :]
        self._x, self._y = (s.flatten(0, 1).flatten(2) for s in self._inside)

    def output(self) -> None:
        """As of `ManyImages`."""
        self._inside[0].copy_(self._outside[0])
        torch.bmm(self._x, self._matrix.mT, out=self._y)
        self._outside[1].copy_(self._inside[1])

    def grad_kernel(self) -> None:
        for inside, outside in zip(self._inside, self._outside, strict=True):
            inside.copy_(outside)
        torch.bmm(self._y.mT, self._x, out=self._grad_matrix)

    def grad_input(self) -> None:
        self._inside[1].copy_(self._outside[1])
        torch.bmm(self._y, self._matrix, out=self._x)
        self._outside[0].copy_(self._inside[0])


class Stacked:
    """Products with [Xr; Xi] and [Xi; -Xr], one part above the other, with the real and the imaginary part of kernels.

    So the matrices that are made anew are of few images, and not of kernels. Of one group and phase.
    """

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> None:
        shape = len(x), 2, channels.group_out, channels.group_in
        self._k, kernels = k.view(shape).transpose(0, 1), own[: 2 * k.numel()].view(2, 2, *shape[:1], *shape[2:])
        self._kernels, self._grads = kernels
        room = own[2 * k.numel() : 2 * k.numel() + x.numel() + y.numel()].split([x.numel(), y.numel()])
        rows = len(x), 2 * channels.batch, -1
        self._x, self._y, self._x_turned, self._y_turned = (s.view(rows) for s in (x, y, *room))
        self._turns = [(s.view(t.shape), t) for s, t in zip(room, (x, y), strict=True)]

    def load(self, phase: int) -> None:
        self._kernels.copy_(self._k)

    def unload(self, phase: int) -> None:
        self._k.copy_(self._grads)

    def output(self) -> None:
        """Y = X conj(K)^T"""
        self._turn(0)
        re, im = self._kernels
        torch.bmm(self._x, re.mT, out=self._y).baddbmm_(self._x_turned, im.mT)

    def grad_kernel(self) -> None:
        """dK = conj(dY)^T X, summed over the batch, from dY in the place of Y."""
        self._turn(0)
        re, im = self._grads
        torch.bmm(self._y.mT, self._x, out=re)
        torch.bmm(self._y.mT, self._x_turned, out=im)

    def grad_input(self) -> None:
        """dX = dY K, from dY in the place of Y, in the place of X"""
        self._turn(1)
        re, im = self._kernels
        torch.bmm(self._y, re, out=self._x).baddbmm_(self._y_turned, im, alpha=-1)

    def _turn(self, which: int) -> None:
        """[im; -re], which is i times the conjugate"""
        out, spectrum = self._turns[which]
        out[:, 0].copy_(spectrum[:, 1])
        torch.neg(spectrum[:, 0], out=out[:, 1])


class Depthwise:
    """Per frequency an elementwise product."""

    def __init__(self, channels: Channels, x: Tensor, k: Tensor, y: Tensor, own: Tensor) -> None:
        freq, batch, phases, width = len(x), channels.batch, channels.phases, channels.groups
        self._x = x.view(freq, 2, phases, batch, width).unbind(2)
        self._y, self._k = y.view(freq, 2, batch, width), k.view(freq, 2, 1, width)
        kernels, rest = own.split([freq * 2 * phases * width, own.numel() - freq * 2 * phases * width])
        self._kernels = kernels.view(phases, freq, 2, 1, width).unbind()
        self._room = rest[: y.numel()].view(self._y.shape)

    def load(self, phase: int) -> None:
        self._kernels[phase].copy_(self._k)

    def unload(self, phase: int) -> None:
        y, x, room = self._y, self._x[phase], self._room
        torch.mul(y, x, out=room)
        torch.sum(room, (1, 2), out=self._k[:, 0, 0])
        part = torch.mul(y[:, 0], x[:, 1], out=room[:, 0]).addcmul_(y[:, 1], x[:, 0], value=-1)
        torch.sum(part, 1, out=self._k[:, 1, 0])

    def output(self) -> None:
        for i, (x, k) in enumerate(zip(self._x, self._kernels, strict=True)):
            re, im = k[:, :1], k[:, 1]
            self._y.addcmul_(x, re) if i else torch.mul(x, re, out=self._y)
            self._y[:, 0].addcmul_(x[:, 1], im)
            self._y[:, 1].addcmul_(x[:, 0], im, value=-1)

    def grad_kernel(self) -> None:
        """Done phase by phase, in `unload`."""

    def grad_input(self) -> None:
        for x, k in zip(self._x, self._kernels, strict=True):
            re, im = k[:, :1], k[:, 1]
            torch.mul(self._y, re, out=x)
            x[:, 0].addcmul_(self._y[:, 1], im, value=-1)
            x[:, 1].addcmul_(self._y[:, 0], im)


Product = ManyImages | FewImages | Stacked | Depthwise
