"""An ONNX file and its PyTorch model go in; a report that ONNX Runtime gives the same answers comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.divergence import first_divergence, relative_error
from dashfx.deploy.runtime import OnnxModel, flat_outputs, load_proto
from dashfx.errors import VerifyError, first_line
from dashfx.frontend.tracing import copy_model

BATCHES = (1, 2, 5)
DRAWS = 5  # inputs of one shape, where a model's own answer jumps on the first ones
NUDGE = 1e-6  # of an input's largest value: what the rounding of a few layers amounts to

Axes = Mapping[int, str]  # the axes of one input that have no fixed size, by name


@dataclass(frozen=True)
class Case:
    """One comparison: the inputs' shapes and the largest relative error over all outputs."""

    shapes: tuple[tuple[int, ...], ...]
    error: float

    def __str__(self) -> str:
        return f"{' and '.join('x'.join(map(str, s)) or 'scalar' for s in self.shapes)}: {self.error:.1e}"


@dataclass(frozen=True)
class VerifyReport:
    """What was compared, on which execution providers of ONNX Runtime, and how far apart the answers were.

    Attributes:
        redrawn: inputs that said nothing, since the PyTorch model's own answer on them jumps by rounding.
    """

    path: Path
    providers: tuple[str, ...]
    tolerance: float
    cases: tuple[Case, ...]
    redrawn: int = 0

    @property
    def worst(self) -> float:
        return max(case.error for case in self.cases)

    def __str__(self) -> str:
        cases = ", ".join(map(str, self.cases))
        limit = f"(allowed {self.tolerance:.0e})"
        jumps = f"; on {self.redrawn} more inputs PyTorch's own answer jumps by rounding" if self.redrawn else ""
        return f"agrees with PyTorch within {self.worst:.1e} {limit} on {self.providers[0]}; {cases}{jumps}"


def verify(
    model: nn.Module,
    path: str | Path,
    example_input: Tensor | Sequence[Tensor],
    *,
    tolerance: float = 1e-4,
    providers: Sequence[str] | None = None,
    allow_fallback: bool = False,
    seed: int = 0,
) -> VerifyReport:
    """Check the file, then compare ONNX Runtime with `model` (in float32 on the CPU, in eval mode) on random inputs.

    Inputs follow the example's mean and deviation (whole numbers are drawn from its values). They are of batch
    1, 2 and 5 where the batch is free, and one of another size where sizes are; batches that the model itself does not
    take are left out (a norm of a single value takes no batch of 1). The error is the largest difference over the
    largest value of the output. Where PyTorch's own answer moves further when its input is nudged by rounding (it picks
    the best of many near-equal scores), another input is drawn.

    Raises:
        ExportError: no ONNX file.
        VerifyError: a broken file, an operator outside the ONNX standard, another device than asked for, or an answer
            that differs; then the message says at which layer first.
    """
    path = Path(path)
    check_file(path)
    onnx_model = OnnxModel(path, providers, allow_fallback=allow_fallback)
    model = copy_model(model).cpu().float().eval()
    example = as_inputs(example_input)
    axes = [onnx_model.dynamic_axes[name] for name in onnx_model.inputs]
    generator = torch.Generator().manual_seed(seed)
    cases, redrawn = [], 0
    for shapes in _shapes(model, example, axes):
        for i in range(DRAWS):
            inputs = draw(example, shapes, generator)
            case = _compare(model, onnx_model, inputs, tolerance, last=i == DRAWS - 1)
            if case is not None:
                cases.append(case)
                break
            redrawn += 1
    return VerifyReport(path, onnx_model.providers, tolerance, tuple(cases), redrawn)


def check_file(path: Path) -> None:
    """Hold the file against the ONNX standard, and let only its own operators and explicit pads through.

    Raises:
        VerifyError: one of these does not hold.
    """
    proto = load_proto(path)
    try:
        onnx.checker.check_model(str(path))  # by path, since a model above 2 GB does not fit a message
    except onnx.checker.ValidationError as error:
        raise VerifyError(f"{path}: the ONNX checker refuses the file: {first_line(error)}") from error
    foreign = sorted({f"{n.domain}::{n.op_type}" for n in proto.graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise VerifyError(f"{path}: operators outside the ONNX standard: {', '.join(foreign)}")
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "auto_pad" and attribute.s not in (b"", b"NOTSET"):
                raise VerifyError(f"{path}: node {node.name!r} has auto_pad {attribute.s.decode()!r}, not numbers")


def as_inputs(example_input: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The example as a tuple of CPU tensors, floating-point ones in float32."""
    tensors = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    return tuple((x.float() if x.is_floating_point() else x).detach().cpu() for x in tensors)


def draw(
    example: tuple[Tensor, ...], shapes: Sequence[Sequence[int]], generator: torch.Generator
) -> tuple[Tensor, ...]:
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
    steps: tuple[Callable[[int, int], int], ...] = (
        lambda n, axis: n + axis - 1,
        lambda n, axis: n + n // 2,
        lambda n, axis: 2 * n,
    )
    if not any(axis > 0 for names in axes for axis in names):
        return None
    for step in steps:
        shapes = [
            [step(n, axis) if axis > 0 and axis in names else n for axis, n in enumerate(x.shape)]
            for x, names in zip(example, axes, strict=True)
        ]
        if runs(model, example, shapes):
            return shapes
    return None


def runs(model: nn.Module, example: tuple[Tensor, ...], shapes: Sequence[Sequence[int]]) -> bool:
    """Whether the PyTorch model takes inputs of these shapes."""
    inputs = draw(example, shapes, torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            model(*inputs)
    except Exception:  # whatever the user's forward raises on a size it was not written for
        return False
    return True


def _shapes(model: nn.Module, example: tuple[Tensor, ...], axes: Sequence[Axes]) -> Iterator[list[list[int]]]:
    own = [list(x.shape) for x in example]
    batches = [_with_batch(own, axes, batch) for batch in BATCHES]
    yield from [shapes for shapes in batches if runs(model, example, shapes)] or [own]
    others = other_sizes(model, example, axes)
    if others is not None:
        yield _with_batch(others, axes, 2)


def _with_batch(shapes: list[list[int]], axes: Sequence[Axes], batch: int) -> list[list[int]]:
    return [[batch, *s[1:]] if 0 in names else s for s, names in zip(shapes, axes, strict=True)]


def _compare(
    model: nn.Module, onnx_model: OnnxModel, inputs: tuple[Tensor, ...], tolerance: float, last: bool
) -> Case | None:
    """None where the answers differ and PyTorch's own jumps as far; on the `last` input that is an error too."""
    shapes = tuple(tuple(x.shape) for x in inputs)
    where = f"{onnx_model.path}: on inputs {', '.join(map(str, shapes))}"
    with torch.no_grad():
        expected = flat_outputs(model(*inputs))
    for name, tensor in expected.items():
        if not tensor.isfinite().all():
            raise VerifyError(f"{where} PyTorch's own output {name!r} is not finite; look at the model's weights")
    try:
        actual = onnx_model.run(*inputs)
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        raise VerifyError(f"{where} ONNX Runtime stops: {first_line(error)}") from error
    difference, name = _worst(actual, expected)
    if difference <= tolerance:
        return Case(shapes, difference)
    if not last and _jumps(model, inputs, expected, tolerance):
        return None
    parts = first_divergence(model, onnx_model.path, inputs, tolerance)
    size = f"{difference:.1e} of its largest value (allowed {tolerance:.0e})"
    raise VerifyError(f"{where} output {name!r} differs from PyTorch's by {size}: {parts}")


def _jumps(model: nn.Module, inputs: tuple[Tensor, ...], expected: dict[str, Tensor], tolerance: float) -> bool:
    """Whether PyTorch's own answer changes by more than the tolerance under some nudge of the inputs."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        nudged = (
            x + NUDGE * x.abs().max() * torch.randn(x.shape, generator=generator) if x.is_floating_point() else x
            for x in inputs
        )
        with torch.no_grad():
            if not _worst(flat_outputs(model(*nudged)), expected)[0] <= tolerance:
                return True
    return False


def _worst(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """The largest relative error and its output; matched by position, since other exporters name outputs anew."""
    if len(actual) != len(expected):
        return float("inf"), f"({len(actual)} outputs instead of {len(expected)})"
    pairs: Any = zip(actual.values(), expected.items(), strict=True)
    return max((relative_error(a, e), name) for a, (name, e) in pairs)
