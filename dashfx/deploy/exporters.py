"""A model and one way to export it go in; an ONNX file that torch's exporter wrote, not yet verified, comes out."""

from __future__ import annotations

import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, replace
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.complex import RealModel
from dashfx.deploy.repairs import memory_kept, part_pads_from_pools, translations
from dashfx.deploy.runtime import OUTPUTS_KEY, VERSION_KEY, flat_outputs, load_proto, output_kind
from dashfx.deploy.samples import Axes
from dashfx.errors import ExportError, first_line
from dashfx.frontend.inputs import FlatInputs

logger = logging.getLogger(__name__)

WRAP_OPSET = 19  # the first whose Pad has the mode "wrap", which circular padding becomes
ONE_FILE_LIMIT = 2_000_000_000  # bytes of weights; a protobuf message ends at 2 GiB


@dataclass(frozen=True)
class Attempt:
    """One way to export: with which exporter, on which example, and with which axes free.

    Attributes:
        real: complex numbers are written as pairs of real ones first (dynamo exporter only).
        optimise: the dynamo exporter's optimiser runs; it takes an epsilon of 1e-8 for zero (onnxscript 0.7).
    """

    exporter: str
    inputs: tuple[Tensor, ...]
    axes: tuple[Axes, ...]
    opset: int
    real: bool = False
    optimise: bool = True

    def __str__(self) -> str:
        free = sorted({name for names in self.axes for name in names.values()})
        how = (" in real numbers" if self.real else "") + ("" if self.optimise else " without its optimiser")
        return f"{self.exporter} exporter{how} with {', '.join(free) + ' free' if free else 'fixed sizes'}"


def write(model: nn.Module, attempt: Attempt, path: Path, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Export to `path` and return the graph, with our metadata in and the paths of the user's source files out.

    Above 2 GB the weights go to a second file, `path` with ".data" behind it (dynamo exporter only).

    Raises:
        ExportError: the exporter does not take the model.
    """
    with torch.no_grad():
        output = model(*attempt.inputs)
    _run_exporter(model, attempt, path, list(flat_outputs(output)), output)
    proto = load_proto(path)
    if opset_of(proto) < WRAP_OPSET and any(_wraps(node) for node in proto.graph.node):
        return write(model, replace(attempt, opset=WRAP_OPSET), path, metadata)
    part_pads_from_pools(proto)
    _label(proto, {**metadata, **_versions(), OUTPUTS_KEY: output_kind(output)})
    path.write_bytes(proto.SerializeToString())
    return proto


def opset_of(proto: onnx.ModelProto) -> int:
    return next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))


def _label(proto: onnx.ModelProto, metadata: dict[str, str]) -> None:
    """Our metadata in; stack traces, which show paths of the machine that exported, out; names of modules stay."""
    for node in proto.graph.node:
        node.doc_string = ""
        kept = [p for p in node.metadata_props if p.key in ("namespace", "pkg.torch.onnx.name_scopes")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.helper.set_model_props(proto, metadata)
    proto.producer_name, proto.producer_version = "dashfx", metadata[VERSION_KEY]


def _run_exporter(model: nn.Module, attempt: Attempt, path: Path, output_names: list[str], output: Any) -> None:
    if not isinstance(output, Tensor):
        model = _Flat(model).eval()
    input_names = _input_names(model, len(attempt.inputs), output_names)
    options: dict[str, Any] = {"dynamo": False, "dynamic_axes": _torchscript_axes(attempt, input_names, output_names)}
    try:
        with _quiet(), memory_kept(), nullcontext() if attempt.exporter == "dynamo" else _stdout_closed():
            if attempt.real:
                axes = ({axis: torch.export.Dim.DYNAMIC for axis in names} for names in attempt.axes)
                model = RealModel(model, attempt.inputs, _nested(model, axes)).eval()
            if attempt.exporter == "dynamo":
                weights = sum(t.nbytes for t in model.state_dict().values())
                options = {
                    "dynamo": True,
                    "dynamic_shapes": _nested(model, map(dict, attempt.axes)),
                    "external_data": weights > ONE_FILE_LIMIT,
                    "custom_translation_table": translations(),
                    "optimize": attempt.optimise,
                }
            program = torch.onnx.export(
                model,
                attempt.inputs,
                str(path),
                input_names=input_names,
                output_names=output_names,
                opset_version=attempt.opset,
                verbose=False,
                **options,
            )
    except Exception as error:  # the exporters raise many classes, private ones too, and whatever the model raises
        reason: BaseException = error
        while reason.__cause__ is not None:  # dynamo wraps the reason in advice on how to report it
            reason = reason.__cause__
        raise ExportError(f"{type(reason).__name__}: {first_line(reason)}") from error
    _require_every_size(program)


def _nested(model: nn.Module, axes: Iterable[dict[int, Any]]) -> tuple[Any, ...]:
    """The free axes of each input as torch.export takes them: those of `*inputs` in a tuple of their own."""
    shapes = tuple(free or None for free in axes)
    return (shapes,) if isinstance(model, _Flat | FlatInputs | RealModel) else shapes


def _require_every_size(program: Any) -> None:
    """Raise where torch.export took one side of a branch on a size, which shows as an upper limit of a free axis.

    The file would give that side's answer at every size, and a check at a few sizes may not meet the other side.
    """
    exported = getattr(program, "exported_program", None)
    ranges = exported.range_constraints.values() if exported else ()
    limits = [int(limit.upper) for limit in ranges if limit.upper.is_Integer]
    if limits:
        raise ExportError(f"the forward branches on a size: what was traced holds up to {min(limits)} only")


class _Flat(nn.Module):
    """Returns the tensors of a nested output as a tuple, in the order of `flat_outputs`, so that names fit."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(flat_outputs(self.model(*inputs)).values())


def _input_names(model: nn.Module, count: int, taken: list[str]) -> list[str]:
    """The parameters of forward; numbers where they cannot be told or an output has the same name."""
    user = model.model if isinstance(model, _Flat) else model
    if isinstance(user, FlatInputs):
        clash = len({*user.names, *taken}) < len(user.names) + len(taken)
        return [f"input_{i}" for i in range(count)] if clash else list(user.names)
    parameters = list(inspect.signature(user.forward).parameters.values())[:count]
    if len(parameters) == count and all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters):
        names = [p.name for p in parameters]
        if not set(names) & set(taken):
            return names
    return [f"input_{i}" for i in range(count)]


def _torchscript_axes(attempt: Attempt, inputs: list[str], outputs: list[str]) -> dict[str, dict[int, str]]:
    named = {name: dict(axes) for name, axes in zip(inputs, attempt.axes, strict=True) if axes}
    return named | {name: {0: "batch"} for name in outputs} if named else {}


def _wraps(node: onnx.NodeProto) -> bool:
    return node.op_type == "Pad" and any(a.name == "mode" and a.s == b"wrap" for a in node.attribute)


def _versions() -> dict[str, str]:
    try:
        ours = distributions.version("dashfx")
    except distributions.PackageNotFoundError:
        ours = "unknown"  # run from a source tree that was not installed
    return {VERSION_KEY: ours, "torch_version": torch.__version__, "onnx_version": onnx.__version__}


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends the exporters' warnings and log lines to this module's logger at debug level, their prints nowhere."""
    noisy = [log for log in map(logging.getLogger, list(logging.root.manager.loggerDict)) if _is_chatty(log)]
    before = [(log, log.handlers, log.propagate) for log in noisy]
    for log in noisy:
        log.handlers, log.propagate = [_ToDebug()], False
    try:
        # torch.export prints the graph of a model that it refuses to stderr, where no logger can be told not to
        with warnings.catch_warnings(record=True) as caught, redirect_stderr(io.StringIO()):
            warnings.simplefilter("always")
            yield
    finally:
        for log, handlers, propagate in before:
            log.handlers, log.propagate = handlers, propagate
    for warning in caught:
        logger.debug("%s", warning.message)


def _is_chatty(log: logging.Logger) -> bool:
    return log.name in ("torch", "onnxscript", "onnx_ir") or (log.name.startswith("torch.") and bool(log.handlers))


@contextmanager
def _stdout_closed() -> Iterator[None]:
    """Sends file descriptor 1 to nowhere: TorchScript's C++ prints the whole graph of a model that it refuses."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class _ToDebug(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("%s: %s", record.name, record.getMessage())
