"""A lowered model goes in; one ONNX file comes out, in its place only after ONNX Runtime gave the same answers."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.complex import is_complex_inside
from dashfx.deploy.exporters import Attempt, opset_of, write
from dashfx.deploy.layout.choose import faster_layout
from dashfx.deploy.runtime import flat_outputs, load_proto, require_providers, require_utf8
from dashfx.deploy.samples import Axes, as_inputs, other_sizes, runs
from dashfx.deploy.verify import TOLERANCE, Case, VerifyReport, check_tolerance, verify
from dashfx.errors import ExportError, VerifyError
from dashfx.frontend.inputs import FlatInputs, as_arguments
from dashfx.frontend.tracing import copy_model

logger = logging.getLogger(__name__)

MIN_OPSET = 18  # the dynamo exporter writes nothing older
REAL = "complex numbers are written as pairs of real ones, Fourier transforms as products with matrices"
VALUES = (
    "the forward depends on the input's values (an if, int() or .item() on a tensor): the file does for every input "
    "what the example led to, and random inputs may not have met another case; torch.where keeps both sides"
)
AXIS_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        bytes: size on disk, weights in a second file included.
        exporter: "dynamo" or "torchscript".
        dynamic_axes: input name -> names of its axes without a fixed size.
        notes: what is narrower than asked for, with the reason.
        ops: ONNX operator -> number of nodes.
        layout: what was rewritten to be faster, what was not, and why; "" where nothing can be.
    """

    path: Path
    bytes: int
    opset: int
    exporter: str
    dynamic_axes: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    verification: VerifyReport
    ops: Counter[str]
    layout: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; `from_dict` reads it."""
        facts = asdict(replace(self, ops=Counter())) | {"path": str(self.path), "ops": dict(self.ops)}
        facts["verification"]["path"] = str(self.verification.path)
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> ExportReport:
        """What `to_dict` gave, also after JSON."""
        check = facts["verification"]
        cases = tuple(Case(**{**case, "shapes": tuple(map(tuple, case["shapes"]))}) for case in check["cases"])
        changed = {"path": Path(check["path"]), "providers": tuple(check["providers"]), "cases": cases}
        verification = VerifyReport(**{**check, **changed})
        axes = {name: tuple(free) for name, free in facts["dynamic_axes"].items()}
        notes, ops = tuple(facts["notes"]), Counter(facts["ops"])
        changed = {"path": Path(facts["path"]), "dynamic_axes": axes, "notes": notes, "ops": ops}
        return cls(**{**facts, **changed, "verification": verification})

    def __str__(self) -> str:
        free = "; ".join(f"{name}: {', '.join(axes) or 'none'}" for name, axes in self.dynamic_axes.items())
        lines = [
            f"{self.path}: {self.bytes / 1e6:.2f} MB, opset {self.opset}, {self.exporter} exporter",
            f"  free axes  {free}",
            f"  operators  {', '.join(f'{op} {n}' for op, n in self.ops.most_common())}",
            f"  verified   {self.verification}",
            *([f"  layout     {self.layout}"] if self.layout else []),
        ]
        return "\n".join(lines + [f"  note       {note}" for note in self.notes])


@dataclass(frozen=True)
class Failure:
    """Why an attempt did not pass; `wrong` where a file was written and its answers differed."""

    attempt: Attempt
    reason: str
    wrong: bool

    def __str__(self) -> str:
        return f"the {self.attempt} failed: {self.reason}"


def export(
    plain: nn.Module,
    example_input: Any,
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    opset: int = MIN_OPSET,
    dynamic_size: bool = True,
    rows: Any = None,
    tolerance: float = TOLERANCE,
    providers: Sequence[str] | None = None,
    allow_fallback: bool = False,
    seed: int = 0,
    layout: str = "auto",
) -> ExportReport:
    """Write `plain` to `path` as ONNX with free batch, and free sizes where the model itself takes several.

    A copy of the model in float32 on the CPU is exported, in eval mode. Each attempt is verified, see `verify`; where
    batch-norm statistics are untrained, which hides wrong folding, first on a throw-away file of the model with random
    ones. Attempts go from the most free to the least, with the dynamo exporter before the TorchScript one;
    the first that passes replaces `path`, and where none does, `path` stays as it was.

    Args:
        example_input: a tensor, a tuple of positional arguments, or a dict by name. Tensors become named inputs, also
            those inside a dict; all else is fixed as it is.
        metadata: written into the file beside the versions; `read_metadata` gives it back.
        opset: at least 18; a model with circular padding gets at least 19.
        rows: real inputs of the same form as the example, with any number of rows, which are compared too.
        layout: "auto" rewrites the graph where that is measured to be faster, see `faster_layout`; "off" does not.

    Raises:
        ExportError: an AggConv is left, an output is no tensor, `path` cannot be written, or no exporter takes the
            model.
        VerifyError: ONNX Runtime's answers differed, with the layer at which first; or it lacks the provider asked for.
    """
    require_lowered(plain)
    if opset < MIN_OPSET:
        raise ExportError(f"opset {opset}: the exporter writes {MIN_OPSET} and newer; give opset {MIN_OPSET} or more")
    check_tolerance(tolerance)
    require_utf8(path)
    require_providers(providers, allow_fallback)
    path, model = Path(path), copy_model(plain).cpu().float().eval().requires_grad_(False)
    real = None if rows is None else _tensors(model, rows)[1]
    model, arguments = _tensors(model, example_input)
    check = {"rows": real, "tolerance": tolerance, "providers": providers}
    check |= {"allow_fallback": allow_fallback, "seed": seed}
    failures: list[Failure] = []
    attempts = list(_attempts(model, as_inputs(arguments), dynamic_size, opset))
    for i, attempt in enumerate(attempts):
        with folder_beside(path) as folder:
            try:
                made = _try(model, attempt, folder / path.name, metadata or {}, check, layout == "auto")
            except (ExportError, VerifyError) as error:
                failures.append(Failure(attempt, str(error), isinstance(error, VerifyError)))
                logger.info("export: %s", failures[-1])
                if failures[-1].wrong and attempt.exporter == "dynamo" and attempt.optimise:
                    attempts.insert(i + 1, replace(attempt, optimise=False))
                continue
            size = _publish(folder, path)
        return _report(path, size, attempt, made, failures)
    raise _error(path, failures)


def _tensors(model: nn.Module, given: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The arguments that are given, all of them tensors, and the model as it takes them."""
    arguments = as_arguments(given, model)
    if all(isinstance(argument, Tensor) for argument in arguments):
        return model, arguments
    flat = FlatInputs(model, arguments).eval()
    return flat, flat.tensors


def require_lowered(model: nn.Module) -> None:
    """Raise an ExportError that names the first module of a supernet left in `model`."""
    for name, module in model.named_modules():
        if type(module).__module__.startswith("dashfx.ops"):
            raise ExportError(
                f"module {name!r} is a {type(module).__name__}: only torch.nn modules can be exported; "
                "call dashfx.lower(supernet, genotype) first"
            )


def _attempts(model: nn.Module, inputs: tuple[Tensor, ...], dynamic_size: bool, opset: int) -> Iterator[Attempt]:
    """Ways to export, best first. Whether an axis can be free is asked of the model itself, not of the exporter: the
    exporter may take a free size for a model that then runs on one size only."""
    with torch.no_grad():
        flat_outputs(model(*inputs))  # raises early on what ONNX cannot return
    *variants, (_, fixed) = examples_of(model, inputs, dynamic_size)
    ways = [("dynamo", False), ("torchscript", False)]
    if is_complex_inside(model, inputs):
        ways.insert(1, ("dynamo", True))
    for exporter, real in ways:
        for example, axes in variants:
            yield Attempt(exporter, example, axes, opset, real)
    for exporter, real in ways:
        yield Attempt(exporter, inputs, fixed, opset, real)


def examples_of(
    model: nn.Module, inputs: tuple[Tensor, ...], dynamic_size: bool = True
) -> list[tuple[tuple[Tensor, ...], tuple[Axes, ...]]]:
    """Inputs to export a model on with the axes that are left free, the most free first; the last has none."""
    sized, batched = _named_axes(inputs, sizes=True), _named_axes(inputs, sizes=False)
    pair = tuple(_two_rows(x) if axes else x for x, axes in zip(inputs, batched, strict=True))
    found: list[tuple[tuple[Tensor, ...], tuple[Axes, ...]]] = [(inputs, tuple({} for _ in inputs))]
    if runs(model, pair, [x.shape for x in pair]):
        found.insert(0, (pair, batched))
        if dynamic_size and other_sizes(model, pair, sized) is not None:
            found.insert(0, (pair, sized))
    return found


def _two_rows(x: Tensor) -> Tensor:
    """Exporters take a batch of one for a constant, so the example has two rows."""
    return torch.cat([x, x])[:2] if len(x) == 1 else x[:2]


def _named_axes(inputs: tuple[Tensor, ...], sizes: bool) -> tuple[Axes, ...]:
    """Names of the free axes: the batch, and with `sizes` every axis past the channels that is longer than one.

    Axes of two inputs share a name where they share a size, and are then expected to stay equal.
    """
    rows = inputs[0].shape[0] if inputs[0].dim() else None
    known: dict[str, int] = {}
    named: list[Axes] = []
    for i, x in enumerate(inputs):
        axes = {0: "batch"} if x.dim() and x.shape[0] == rows else {}
        for axis, name in enumerate(AXIS_NAMES.get(x.dim() - 2, ()), start=2):
            if sizes and axes and x.shape[axis] > 1:
                axes[axis] = name if known.setdefault(name, x.shape[axis]) == x.shape[axis] else f"{name}_{i}"
        named.append(axes)
    return tuple(named)


def _try(
    model: nn.Module, attempt: Attempt, draft: Path, metadata: Mapping[str, str], check: dict[str, Any], laid_out: bool
) -> tuple[onnx.ModelProto, VerifyReport, str]:
    """The graph in `draft`, how it was verified, and what is to be said of its layout."""
    probe, probe_file = _with_random_norms(model, check["seed"]), draft.with_name("probe.onnx")
    try:
        if probe is not None:
            write(probe, attempt, probe_file, {})
            verify(probe, probe_file, attempt.inputs, **check)
        proto, verified = write(model, attempt, draft, metadata), verify(model, draft, attempt.inputs, **check)
    except VerifyError as error:  # say which of the two, instead of a name in a folder that is gone by then
        text = str(error).replace(f"{probe_file}: ", "with random batch-norm statistics: ").replace(f"{draft}: ", "")
        raise VerifyError(text) from error
    reports = [verified]
    one_row = tuple(x[:1] if 0 in axes else x for x, axes in zip(attempt.inputs, attempt.axes, strict=True))
    layout = laid_out and faster_layout(
        draft, one_row, lambda path: reports.append(verify(model, path, attempt.inputs, **check))
    )
    if not layout:
        return proto, verified, ""
    return load_proto(draft), reports[-1], layout.text


def _with_random_norms(model: nn.Module, seed: int) -> nn.Module | None:
    """A copy with random batch-norm statistics and weights; None where no batch norm is as it was made."""
    copy, generator = copy_model(model), torch.Generator().manual_seed(seed)
    norms = [m for m in copy.modules() if _is_untrained_norm(m)]
    for norm in norms:
        for name, centre, spread in (
            ("running_mean", 0.0, 0.5),
            ("running_var", 1.0, 0.5),
            ("weight", 1.0, 0.5),
            ("bias", 0.0, 0.5),
        ):
            tensor = getattr(norm, name)
            if isinstance(tensor, Tensor):
                uniform = torch.rand(tensor.shape, generator=generator) * 2 - 1
                tensor.data.copy_(centre + spread * uniform)
    return copy if norms else None


def _is_untrained_norm(module: nn.Module) -> bool:
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return False
    return not mean.any() or bool((variance == 1).all())


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A scratch folder on the same disk as `path`, so that a finished file moves there in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from None
    with scratch as folder:
        yield Path(folder)


def _publish(folder: Path, path: Path) -> int:
    """Move the draft to its place, weights in a second file first, so that the graph never stands without them.

    Returns the bytes moved.
    """
    drafts = [draft for draft in (folder / f"{path.name}.data", folder / path.name) if draft.exists()]
    size = sum(draft.stat().st_size for draft in drafts)
    for draft in drafts:
        os.replace(draft, path.with_name(draft.name))
    return size


def _report(
    path: Path,
    size: int,
    attempt: Attempt,
    made: tuple[onnx.ModelProto, VerifyReport, str],
    failures: list[Failure],
) -> ExportReport:
    proto, verification, layout = made
    free = {i.name: axes for i, axes in zip(proto.graph.input, attempt.axes, strict=True)}
    notes = [VALUES] if any("data-dependent" in failure.reason for failure in failures) else []
    notes += [str(failure) for failure in failures]
    if opset_of(proto) > attempt.opset:
        notes.append(f"opset {opset_of(proto)} instead of {attempt.opset}: circular padding needs it")
    if attempt.real:
        notes.append(REAL)
    if not any(attempt.axes):
        notes.append("every size is fixed, the batch too")
    elif not any(axis > 0 for axes in attempt.axes for axis in axes):
        notes.append("the batch is free, the other sizes are fixed")
    return ExportReport(
        path,
        size,
        opset_of(proto),
        attempt.exporter,
        {name: tuple(axes.values()) for name, axes in free.items()},
        tuple(notes),
        replace(verification, path=path),
        Counter(node.op_type for node in proto.graph.node),
        layout,
    )


def _error(path: Path, failures: list[Failure]) -> ExportError | VerifyError:
    """One error out of all attempts: a wrong answer is the graver one, and the first of its kind says most."""
    main = next((failure for failure in failures if failure.wrong), failures[0])
    others = "; ".join(str(failure)[:160] for failure in failures if failure is not main)
    return (VerifyError if main.wrong else ExportError)(f"{path}: {main} (also tried: {others})")
