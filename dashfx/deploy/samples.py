"""Sample inputs that a model and its ONNX file are compared on: batches, sizes, magnitudes, and real rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

BATCHES = (1, 2, 3, 5, 8)
MAGNITUDES = (10.0, 100.0)  # what clips, saturates or has a small constant in it shows on large inputs only
LONG = 48  # an axis that is shorter in the example is tried at least this long
LARGEST = 2**18  # the most values of one sample that is made this long
REAL = "real rows"
REAL_ROWS = 16  # the most that are run at once

Axes = Mapping[int, str]  # the axes of one input that have no fixed size, by name
Shapes = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Sample:
    """The shapes of a model's inputs, and what makes them special.

    Attributes:
        what: "" for inputs that are drawn like the example, "x10" for larger ones, or `REAL`.
        scale: what drawn values are multiplied by.
        rows: the inputs themselves, where they are not drawn.
    """

    shapes: Shapes
    what: str = ""
    scale: float = 1.0
    rows: tuple[Tensor, ...] | None = None

    def draw(self, example: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        if self.rows is not None:
            return self.rows
        drawn = draw(example, self.shapes, generator)
        return tuple(x * self.scale if x.is_floating_point() else x for x in drawn)


def samples(
    model: nn.Module, example: tuple[Tensor, ...], axes: Sequence[Axes], rows: tuple[Tensor, ...] | None
) -> Iterator[Sample]:
    """Batches, larger values, the smallest change of sizes and a large one, as far as axes are free; then `rows`."""
    own = [list(x.shape) for x in example]
    batches = [with_batch(own, axes, batch) for batch in BATCHES] if any(0 in names for names in axes) else [own]
    taken = [shapes for shapes in batches if runs(model, example, shapes)] or [own]
    yield from map(Sample, taken)
    if any(x.is_floating_point() for x in example):
        yield from (Sample(taken[-1], f"x{scale:g}", scale) for scale in MAGNITUDES)
    sizes = other_sizes(model, example, axes)
    if sizes is not None:
        odd, large = with_batch(sizes, axes, 2), _large(model, example, axes)
        yield from map(Sample, [odd] if large in (None, sizes) else [odd, with_batch(large or odd, axes, 2)])
    if rows is not None:
        yield from _real(own, axes, rows)


def as_inputs(given: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors on the CPU, floating-point ones in float32."""
    tensors = (given,) if isinstance(given, Tensor) else tuple(given)
    return tuple((x.float() if x.is_floating_point() else x).detach().cpu() for x in tensors)


def draw(example: tuple[Tensor, ...], shapes: Shapes, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Random tensors of these shapes, with the example's mean and deviation, or its values where it is not float."""
    drawn = []
    for x, shape in zip(example, shapes, strict=True):
        if x.is_floating_point():
            deviation = x.std(correction=0).item() or 1.0
            drawn.append(torch.randn(tuple(shape), generator=generator) * deviation + x.mean())
        else:
            picks = torch.randint(x.numel(), tuple(shape), generator=generator)
            drawn.append(x.flatten()[picks])
    return tuple(drawn)


def other_sizes(model: nn.Module, example: tuple[Tensor, ...], axes: Sequence[Axes]) -> list[list[int]] | None:
    """Shapes with other sizes along the named axes past the first on which the model itself runs; None without any.

    Odd sizes come first, since they show branches and rounding; then half as large again and twice as large, for models
    that halve their input several times. A classifier that flattens runs on none.
    """
    return _first_that_runs(
        model, example, axes, (lambda n, axis: n + axis - 1, lambda n, axis: n + n // 2, lambda n, axis: 2 * n)
    )


def _large(model: nn.Module, example: tuple[Tensor, ...], axes: Sequence[Axes]) -> list[list[int]] | None:
    """Twice as large, and longer where the example is small: what holds up to some size only shows beyond it."""
    longest = _resized(example, axes, lambda n, axis: n * max(2, -(-LONG // n)))
    small = sum(map(prod, longest)) <= LARGEST
    ways: tuple[Callable[[int, int], int], ...] = (lambda n, axis: n * max(2, -(-LONG // n)),) if small else ()
    return _first_that_runs(model, example, axes, (*ways, lambda n, axis: 2 * n))


def _first_that_runs(
    model: nn.Module, example: tuple[Tensor, ...], axes: Sequence[Axes], ways: Sequence[Callable[[int, int], int]]
) -> list[list[int]] | None:
    """`ways` map a size and its axis to another size."""
    if not any(axis > 0 for names in axes for axis in names):
        return None
    found = (_resized(example, axes, way) for way in ways)
    return next((shapes for shapes in found if runs(model, example, shapes)), None)


def _resized(example: tuple[Tensor, ...], axes: Sequence[Axes], way: Callable[[int, int], int]) -> list[list[int]]:
    return [
        [way(n, axis) if axis > 0 and axis in names else n for axis, n in enumerate(x.shape)]
        for x, names in zip(example, axes, strict=True)
    ]


def runs(model: nn.Module, example: tuple[Tensor, ...], shapes: Shapes) -> bool:
    """Whether the PyTorch model takes inputs of these shapes."""
    inputs = draw(example, shapes, torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            model(*inputs)
    except Exception:  # whatever the user's forward raises on a size it was not written for
        return False
    return True


def with_batch(shapes: Shapes, axes: Sequence[Axes], batch: int) -> list[list[int]]:
    return [[batch, *s[1:]] if 0 in names else list(s) for s, names in zip(shapes, axes, strict=True)]


def _real(own: Shapes, axes: Sequence[Axes], rows: tuple[Tensor, ...]) -> Iterator[Sample]:
    """The rows as many at once as the file takes; those that do not fill a fixed batch are left out."""
    fixed = next((shape[0] for shape, names in zip(own, axes, strict=True) if shape and 0 not in names), None)
    at_once = REAL_ROWS if fixed is None else fixed
    for start in range(0, len(rows[0]) if rows[0].dim() else 1, at_once):
        taken = tuple(x[start : start + at_once] if x.dim() else x for x in rows)
        if fixed is None or all(len(x) == fixed for x in taken if x.dim()):
            yield Sample([list(x.shape) for x in taken], REAL, rows=taken)
