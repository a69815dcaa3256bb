"""An ONNX file goes in; a callable that runs it in ONNX Runtime on torch tensors, or the metadata in it, comes out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import onnx
import onnxruntime
import torch
from onnx.external_data_helper import uses_external_data
from torch import Tensor

from dashfx.errors import DashfxError, ExportError, VerifyError, first_line
from dashfx.space import size_text

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
VERSION_KEY = "dashfx_version"  # every file that dashfx wrote carries it
TEXT = "tensor(string)"  # which no tensor of torch holds
OUTPUTS_KEY = "dashfx_outputs"  # "tensor", "tuple" or "dict": what the PyTorch model returned

# What reading JSON of another form than expected raises.
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)

T = TypeVar("T")

Outputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


def flat_outputs(output: Any, name: str = "") -> dict[str, Tensor]:
    """The tensors of a model's output by the names that they get in the ONNX file; None is left out.

    A tensor is "output", a sequence "output_0" and on, a mapping its keys; nested names are joined by "_".

    Raises:
        ExportError: something else than tensors, None, and sequences or mappings of them.
    """
    if isinstance(output, Tensor):
        return {name or "output": output}
    if output is None:
        return {}
    if isinstance(output, Mapping):
        parts = [(f"{name}_{key}" if name else str(key), value) for key, value in output.items()]
    elif isinstance(output, tuple | list):
        parts = [(f"{name or 'output'}_{i}", value) for i, value in enumerate(output)]
    else:
        raise ExportError(
            f"the model returns a {type(output).__name__}: ONNX has tensors only; "
            "return a tensor, a tuple or a dict of them"
        )
    return {key: tensor for part, value in parts for key, tensor in flat_outputs(value, part).items()}


def output_kind(output: Any) -> str:
    if isinstance(output, Tensor):
        return "tensor"
    return "dict" if isinstance(output, Mapping) else "tuple"


class OnnxModel:
    """An ONNX file that is called like a model: torch tensors in, torch tensors out, on the device they came from.

    Args:
        path: the file.
        providers: ONNX Runtime's execution providers in order of preference; None means the CPU.
        allow_fallback: run on the CPU where the first provider cannot be had.
        optimise: let ONNX Runtime fuse nodes.

    Attributes:
        providers: those that ONNX Runtime really uses.
        outputs: the names of all outputs but text.
        dynamic_axes: input name -> {axis: name} of the axes without a fixed size.

    Raises:
        ExportError: the file cannot be read or is no ONNX file.
        VerifyError: ONNX Runtime refuses the model, or does not run on the first provider.
    """

    def __init__(
        self,
        path: str | Path,
        providers: Sequence[str] | None = None,
        *,
        allow_fallback: bool = False,
        optimise: bool = True,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ExportError(f"{self.path}: no such file; give an .onnx file that `dashfx export` wrote")
        load_proto(self.path)  # ONNX Runtime itself would follow weights to other folders
        try:
            self.session = _session(self.path, list(providers or [CPU]), allow_fallback, optimise)
            self._describe()
        except VerifyError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own without a common base
            raise VerifyError(f"{path}: ONNX Runtime refuses the file: {first_line(error)}") from error

    def _describe(self) -> None:
        """What the file says of itself; names in it may be no text."""
        inputs = self.session.get_inputs()
        self.providers = tuple(self.session.get_providers())
        self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
        self.inputs = [argument.name for argument in inputs]
        self.outputs = [argument.name for argument in self.session.get_outputs() if argument.type != TEXT]
        self._wide = {argument.name for argument in inputs if argument.type == "tensor(double)"}
        self.dynamic_axes = {
            argument.name: {axis: size for axis, size in enumerate(argument.shape) if isinstance(size, str)}
            for argument in inputs
        }

    def run(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Every output by its name, on the CPU. Floating-point inputs are given as float32, or as the file has them."""
        feed = {name: self._given(name, x).numpy() for name, x in zip(self.inputs, inputs, strict=True)}
        arrays = self.session.run(self.outputs, feed)
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, arrays, strict=True)}

    def _given(self, name: str, x: Tensor) -> Tensor:
        x = x.detach().cpu()
        if not x.is_floating_point():
            return x
        return x.double() if name in self._wide else x.float()

    def rows(self, x: Tensor) -> Tensor:
        """The only output for x (rows, channels, *size), also where the file takes another number of rows at a time.

        Raises:
            VerifyError: ONNX Runtime does not take such rows, or the file gives several outputs.
        """
        try:
            return self._rows(x)
        except Exception as error:  # as above
            shape = size_text(x.shape)
            raise VerifyError(f"{self.path}: ONNX Runtime stops on inputs of {shape}: {first_line(error)}") from error

    def _rows(self, x: Tensor) -> Tensor:
        fixed = self.session.get_inputs()[0].shape[0]
        size = fixed if isinstance(fixed, int) else len(x)
        filled = torch.cat([x, x[-1:].expand(-len(x) % size, *x.shape[1:])])
        answers = []
        for part in filled.split(size):
            answers.append(self._answer(self.run(part)))
        return torch.cat(answers)[: len(x)]

    def _answer(self, outputs: dict[str, Tensor]) -> Tensor:
        (answer,) = outputs.values()
        return answer

    def __call__(self, *inputs: Tensor) -> Outputs:
        outputs = {name: tensor.to(inputs[0].device) for name, tensor in self.run(*inputs).items()}
        kind = self.metadata.get(OUTPUTS_KEY, "tensor" if len(outputs) == 1 else "tuple")
        if kind == "dict":
            return outputs
        tensors = tuple(outputs.values())
        return tensors[0] if kind == "tensor" else tensors


def _session(
    source: Path | bytes, providers: Sequence[str], allow_fallback: bool, optimise: bool
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong comes as an exception; do not print it too
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    known = onnxruntime.get_available_providers()
    usable = [name for name in providers if name in known] or [CPU]
    with _quiet_start(usable), redirect_stdout(StringIO()):  # it prints what goes wrong, and tries again
        session = onnxruntime.InferenceSession(source, options, providers=usable)
    used = session.get_providers()  # a provider of the list may still not have started, for want of a driver
    if used[0] != providers[0] and not allow_fallback:
        raise VerifyError(
            f"{providers[0]} was asked for and ONNX Runtime would run on {', '.join(used)} (installed: "
            f"{', '.join(installed_runtimes())}); install the package and drivers that it needs, or allow the fallback"
        )
    return session


@contextmanager
def _quiet_start(providers: Sequence[str]) -> Iterator[None]:
    """Lets ONNX Runtime find the CUDA libraries that torch brought, without its lines about those it does not find."""
    if list(providers) == [CPU]:
        yield
        return
    onnxruntime.set_default_logger_severity(4)
    try:
        with redirect_stdout(StringIO()) as said:
            onnxruntime.preload_dlls()
        logger.debug("%s", said.getvalue())
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # the default, warnings; there is no way to ask for the former value


def require_providers(providers: Sequence[str] | None, allow_fallback: bool) -> None:
    """Start ONNX Runtime on a model of one node, to see early that it runs where it is asked to.

    Raises:
        VerifyError: it does not, and `allow_fallback` is off.
    """
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "one_node", [x], [y])
    opset = onnx.helper.make_opsetid("", 18)
    proto = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    _session(proto.SerializeToString(), list(providers or [CPU]), allow_fallback, True)


def load_proto(path: str | Path) -> onnx.ModelProto:
    """The file's graph, without weights that lie in a second file.

    Raises:
        ExportError: the file cannot be read or is no ONNX file, or its weights lie outside of its folder.
    """
    require_utf8(path)
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception:  # whatever protobuf raises on foreign bytes
        proto = onnx.ModelProto()
    if not proto.ir_version or not proto.graph.output:  # protobuf reads some foreign bytes as an empty message
        raise ExportError(f"{path}: not an ONNX file; give an .onnx file that `dashfx export` wrote")
    for tensor in _tensors(proto.graph):
        if uses_external_data(tensor):
            _require_beside(Path(path), tensor)
    return proto


def require_utf8(path: str | Path) -> None:
    """Raise an ExportError for a path that ONNX and ONNX Runtime cannot open, as they take text alone."""
    whole = str(Path(path).absolute())
    try:
        whole.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(whole).decode(errors="backslashreplace")
        raise ExportError(f"{shown}: the path is no UTF-8, which ONNX Runtime cannot open; give another name") from None


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant, those of nodes and of graphs inside nodes included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _require_beside(path: Path, tensor: onnx.TensorProto) -> None:
    """Raise an ExportError where weights lie elsewhere than in a file of the same folder, or beyond its end."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    location = place.get("location", "")
    file = path.parent / location
    if location in ("", ".", "..") or Path(location).name != location or file.is_symlink():
        raise ExportError(
            f"{path}: the weights {tensor.name!r} lie at {location!r}, outside of the file's folder; export it again"
        )
    if not file.is_file():
        raise ExportError(f"{path}: its second file with weights, {location}, is not beside it; copy both")
    start, length = (place.get(key, "0") for key in ("offset", "length"))
    whole = start.isdecimal() and length.isdecimal() and len(start + length) < 40  # int() refuses thousands of digits
    if not whole or int(start) + int(length) > file.stat().st_size:
        raise ExportError(f"{path}: the weights {tensor.name!r} lie beyond the end of {location}; one of them is cut")


def read_metadata(path: str | Path) -> dict[str, str]:
    """What dashfx wrote into the file: versions, and the task, shapes, labels and so on that `export` was given.

    Raises:
        ExportError: the file cannot be read, is no ONNX file, or was not written by dashfx.
    """
    facts = {entry.key: entry.value for entry in load_proto(path).metadata_props}
    if VERSION_KEY not in facts:
        raise ExportError(
            f"{path}: not an ONNX file of dashfx ({VERSION_KEY!r} is not in its metadata); export it again"
        )
    return facts


def fact(path: Path, facts: Mapping[str, str], name: str, read: Callable[[Any], T]) -> T | None:
    """What `read` makes of the JSON in the metadata; None where the file does not have it.

    Raises:
        ExportError: no JSON, or not of the form that `read` takes.
    """
    if name not in facts:
        return None
    try:
        return read(json.loads(facts[name]))
    except (*DAMAGED, DashfxError) as error:
        raise ExportError(
            f"{path}: its metadata {name!r} is damaged ({type(error).__name__}: {first_line(error)}); export it again"
        ) from None


def installed_runtimes() -> tuple[str, ...]:
    """The installed distributions that provide the module `onnxruntime`; two of them overwrite each other's files."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return tuple(found)
