"""Verification of an ONNX file: ONNX Runtime's answers against those of the PyTorch model that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.divergence import first_divergence, worst_error
from dashfx.deploy.rounding import Rounding, nudged
from dashfx.deploy.runtime import CPU, OnnxModel, flat_outputs, load_proto
from dashfx.deploy.samples import Sample, as_inputs, samples
from dashfx.errors import VerifyError, first_line
from dashfx.frontend.tracing import copy_model

TOLERANCE = 1e-4  # the usual limit
LARGEST_TOLERANCE = 0.01  # beyond it a check would let a broken file through
ROUNDINGS = 16.0  # so many times PyTorch's own rounding error may lie between it and ONNX Runtime
FLOOR = 2e-6  # and this much in any case, as the rounding error of a few values can be small by chance
DRAWS = 5  # inputs of one shape, where a model's own answer jumps on the first ones
NUDGE = 1e-6  # of an input's largest value: what the rounding of a few layers amounts to


@dataclass(frozen=True)
class Case:
    """One comparison: the inputs' shapes, the largest relative error over all outputs, and what the inputs were."""

    shapes: tuple[tuple[int, ...], ...]
    error: float
    what: str = ""  # see `Sample.what`

    def __str__(self) -> str:
        shapes = " and ".join("x".join(map(str, s)) or "scalar" for s in self.shapes)
        return f"{shapes}{f' ({self.what})' if self.what else ''}: {self.error:.1e}"


@dataclass(frozen=True)
class VerifyReport:
    """What was compared, on which execution providers of ONNX Runtime, and how far apart the answers were.

    Attributes:
        redrawn: inputs that said nothing, since the PyTorch model's own answer on them jumps by rounding.
        rounding: the largest rounding error of PyTorch's own answers, which sets the limit below the tolerance.
    """

    path: Path
    providers: tuple[str, ...]
    tolerance: float
    cases: tuple[Case, ...]
    redrawn: int = 0
    rounding: float = 0.0

    @property
    def worst(self) -> float:
        return max(case.error for case in self.cases)

    def __str__(self) -> str:
        cases = ", ".join(map(str, self.cases))
        limit = f"(allowed {self.tolerance:.0e}; float32 rounding moves PyTorch's own answer by {self.rounding:.1e})"
        jumps = f"; on {self.redrawn} more inputs PyTorch's own answer jumps by rounding" if self.redrawn else ""
        return f"agrees with PyTorch within {self.worst:.1e} {limit} on {self.providers[0]}; {cases}{jumps}"


def verify(
    model: nn.Module,
    path: str | Path,
    example_input: Tensor | Sequence[Tensor],
    *,
    rows: Tensor | Sequence[Tensor] | None = None,
    tolerance: float = TOLERANCE,
    providers: Sequence[str] | None = None,
    allow_fallback: bool = False,
    seed: int = 0,
) -> VerifyReport:
    """Check the file, then compare ONNX Runtime with `model` (in float32 on the CPU, in eval mode).

    Inputs are random, with the example's mean and deviation (whole numbers are drawn from its values): of several
    batches where the batch is free, ten and a hundred times as large, and of two other sizes where sizes are free; then
    the `rows`. Batches that the model itself does not take are left out (a norm of a single value takes no batch of 1),
    and so are magnitudes at which its float32 is no measure. The error is the largest difference over the largest
    value of the output. Allowed is a multiple of the rounding error of PyTorch's own answer, and no more than the
    tolerance; a tolerance above the usual is allowed as it is. Where PyTorch's own answer moves as far when its input
    is nudged by rounding (it picks the best of many near-equal scores), another input is drawn.

    Args:
        rows: real inputs, as many as there are.

    Raises:
        ExportError: no ONNX file.
        VerifyError: a broken file, an operator outside the ONNX standard, another device than asked for, an answer
            that differs (then the message says at which layer first), or a tolerance that would let everything pass.
    """
    check_tolerance(tolerance)
    path = Path(path)
    check_file(path)
    onnx_model = OnnxModel(path, providers, allow_fallback=allow_fallback)
    model = copy_model(model).cpu().float().eval()
    example, real = as_inputs(example_input), None if rows is None else as_inputs(rows)
    axes = [onnx_model.dynamic_axes[name] for name in onnx_model.inputs]
    comparison = _Comparison(model, onnx_model, tolerance)
    generator = torch.Generator().manual_seed(seed)
    for sample in samples(model, example, axes, real):
        draws = 1 if sample.rows is not None else DRAWS
        for i in range(draws):
            inputs = sample.draw(example, generator)
            if comparison.settles(sample, inputs, last=i == draws - 1):
                break
    cases = tuple(comparison.cases)
    return VerifyReport(path, onnx_model.providers, tolerance, cases, comparison.redrawn, comparison.rounded)


def differing_rows(
    model: nn.Module, onnx_model: OnnxModel, batches: Iterable[Tensor], tolerance: float = TOLERANCE
) -> tuple[int, int]:
    """On how many rows the answers differ by more than the tolerance of the batch's largest value, and of how many.

    Both are in float32 on the CPU, whatever the model was trained and judged in.
    """
    model, differing, rows = copy_model(model).cpu().float().eval(), 0, 0
    for x in batches:
        with torch.no_grad():
            expected: Tensor = model(x)
        error = (onnx_model.rows(x) - expected).abs().flatten(1).amax(1)
        differing += int((~(error <= tolerance * expected.abs().max())).sum())  # NaN differs
        rows += len(x)
    return differing, rows


def check_tolerance(tolerance: float) -> None:
    """Raise a VerifyError for one that is no number, or so large that the check would be none."""
    if not 0 < tolerance <= LARGEST_TOLERANCE:  # false for NaN too
        raise VerifyError(
            f"tolerance {tolerance:g}: give a share of the output's largest value above 0 and up to {LARGEST_TOLERANCE}"
        )


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


class _Comparison:
    """Runs both models on one input after the other.

    Attributes:
        cases: those that agreed.
        redrawn: how many inputs said nothing.
        rounded: the largest rounding error of PyTorch's answers at the example's magnitude.
    """

    def __init__(self, model: nn.Module, onnx_model: OnnxModel, tolerance: float) -> None:
        self._model, self._onnx_model, self._tolerance = model, onnx_model, tolerance
        self._rounding = Rounding(model)
        self.cases: list[Case] = []
        self.redrawn, self.rounded = 0, 0.0

    def settles(self, sample: Sample, inputs: tuple[Tensor, ...], last: bool) -> bool:
        """Whether no other input has to be drawn: the answers agree, or this sample can say nothing.

        Raises:
            VerifyError: the answers differ, and PyTorch's own does not jump as far, or it does on the `last` input too.
        """
        shapes = tuple(tuple(x.shape) for x in inputs)
        where = f"{self._onnx_model.path}: on {sample.what + ' of' if sample.what else 'inputs'} "
        where += ", ".join(map(str, shapes))
        with torch.no_grad():
            expected = flat_outputs(self._model(*inputs))
        rounded = self._rounding(inputs, expected)
        if sample.scale != 1.0 and ROUNDINGS * rounded > self._tolerance:  # what is not finite rounds infinitely
            return True
        for name, tensor in expected.items():
            if not tensor.isfinite().all():
                raise VerifyError(f"{where} PyTorch's own output {name!r} is not finite; look at the model's weights")
        self.rounded = max(self.rounded, rounded) if sample.scale == 1.0 else self.rounded
        limit = self._limit(max(rounded, self.rounded))
        difference, name = worst_error(self._run(inputs, where), expected)
        if difference <= limit:
            self.cases.append(Case(shapes, difference, sample.what))
            return True
        if (not last or sample.rows is not None) and self._jumps(inputs, expected, difference):
            self.redrawn += 1
            return sample.rows is not None
        parts = first_divergence(self._model, self._onnx_model.path, inputs, limit)
        size = f"{difference:.1e} of its largest value (allowed {limit:.0e})"
        raise VerifyError(f"{where} output {name!r} differs from PyTorch's by {size}: {parts}")

    def _limit(self, rounded: float) -> float:
        """The largest error that rounding explains. GPUs may round to TF32, which no run on the CPU tells of."""
        if self._tolerance > TOLERANCE or self._onnx_model.providers[0] != CPU:
            return self._tolerance
        return min(self._tolerance, ROUNDINGS * rounded + FLOOR)

    def _run(self, inputs: tuple[Tensor, ...], where: str) -> dict[str, Tensor]:
        try:
            return self._onnx_model.run(*inputs)
        except Exception as error:  # ONNX Runtime raises classes of its own without a common base
            raise VerifyError(f"{where} ONNX Runtime stops: {first_line(error)}") from error

    def _jumps(self, inputs: tuple[Tensor, ...], expected: dict[str, Tensor], difference: float) -> bool:
        """Whether PyTorch's own answer changes by about as much under some nudge of the inputs."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(DRAWS):
            with torch.no_grad():
                moved = flat_outputs(self._model(*nudged(inputs, NUDGE, generator)))
            if not worst_error(moved, expected)[0] <= difference / 2:
                return True
        return False
