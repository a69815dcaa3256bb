"""Complete files: a checked ONNX file and what is done around it go in; one file comes out that does all of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import compose, helper
from torch import Tensor, nn

from dashfx.data.base import Kind
from dashfx.data.form import RawForm
from dashfx.data.normalisation import Normalisation
from dashfx.deploy.complete.after import INDEX, LABEL, activation, add_labels, add_probabilities, fresh
from dashfx.deploy.complete.before import Preprocess, noise
from dashfx.deploy.complete.running import COMPLETE_KEY, DONE_KEY, Facts
from dashfx.deploy.divergence import relative_error
from dashfx.deploy.export import folder_beside
from dashfx.deploy.exporters import Attempt, opset_of, write
from dashfx.deploy.quantise.qdq import INT8_KEY
from dashfx.deploy.rounding import Rounding
from dashfx.deploy.runtime import OnnxModel, load_proto
from dashfx.deploy.samples import Axes
from dashfx.deploy.verify import FLOOR, ROUNDINGS, TOLERANCE, VerifyReport, check_file, verify
from dashfx.errors import ExportError, VerifyError
from dashfx.frontend.tracing import copy_model

PREFIX = "preprocess."
ROWS = "rows"  # the name of the raw input
NOISE_ROWS = 4
SHARE = 0.25  # of what int8 itself changes, that preprocessing in the graph may change beside it


@dataclass(frozen=True)
class Around:
    """What is done around a model.

    Attributes:
        raw, normalisation: of the rows, where the file is to prepare them.
        kind, labels: of the answers, where the file is to say what they mean.
    """

    raw: RawForm | None
    normalisation: Normalisation
    kind: Kind
    labels: tuple[str, ...]
    meaning: bool

    @property
    def facts(self) -> Facts:
        return Facts(self.raw, self.meaning and self.kind != "dense", self.kind)


class Whole(nn.Module):
    """The same in PyTorch."""

    def __init__(self, model: nn.Module, around: Around) -> None:
        super().__init__()
        self.preprocess = Preprocess(around.raw, around.normalisation) if around.raw else nn.Identity()
        self.model = copy_model(model)
        self.postprocess = activation(around.kind) if around.meaning else nn.Identity()
        self.cpu().float().eval()

    def forward(self, rows: Tensor) -> Tensor:
        answer: Tensor = self.postprocess(self.model(self.preprocess(rows)))
        return answer


@dataclass(frozen=True)
class Rows:
    """The same rows twice: raw, and as dashfx's own reader gives them to a model."""

    raw: Tensor
    read: Tensor


@dataclass(frozen=True)
class Complete:
    """A file that was written.

    Attributes:
        takes, gives: its input and its outputs, in words.
        outside: what it leaves to its caller.
        error: how far its answers on raw rows are from PyTorch's on what dashfx reads of them, over the largest; None
            where there were no rows to see it on.
        verification: the check against PyTorch on random rows; None of an int8 file.
    """

    path: Path
    takes: str
    gives: tuple[str, ...]
    outside: tuple[str, ...]
    error: float | None
    verification: VerifyReport | None

    def __str__(self) -> str:
        outside = f"; outside of it: {'; '.join(self.outside)}" if self.outside else ""
        seen = f"within {self.error:.1e} of PyTorch on raw rows" if self.error is not None else "checked on noise alone"
        return f"{self.path.name} takes {self.takes} and gives {', '.join(self.gives)}, {seen}{outside}"


def completed(
    path: Path,
    out: Path,
    model: nn.Module,
    around: Around,
    rows: Rows | None,
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Complete:
    """Write `out`: the graph of `path` with preprocessing before and postprocessing behind it.

    The graph of the model stays as it is, its layout and int8 nodes included. The file is in place only once

    1. ONNX Runtime's answers on random and on real raw rows are those of the PyTorch model with the same
       preprocessing, see `verify` (of int8, those of the int8 file, by a quarter of what int8 itself changes);
    2. on real raw rows they are those of the PyTorch model on what dashfx's reader makes of them;
    3. `index` is the place of the largest probability, and `label` its name.

    Args:
        path: a file that was checked against `model`; its one input is a batch of normalised rows.
        rows: of the data; without them noise is all that is looked at.

    Raises:
        ExportError: a file of another form, or one whose weights lie in a second file.
        VerifyError: answers that differ.
    """
    proto = load_proto(path)
    _check_form(proto, path)
    whole, small = Whole(model, around), any(entry.key == INT8_KEY for entry in proto.metadata_props)
    given = rows.raw if rows else _noise(path, around)
    with folder_beside(out) as folder:
        draft = folder / out.name
        joined = _joined(proto, around, given[:2], folder)
        add_probabilities(joined.graph, around.kind) if around.meaning else None
        _save(joined, draft, proto, around)
        report = None
        if small:
            _check_int8(draft, path, whole, given)
        else:
            report = _verified(whole, draft, given, tolerance, seed)
        error = _check_reader(draft, path if small else None, whole, rows, tolerance) if rows else None
        add_labels(joined.graph, around.kind, around.labels) if around.meaning else None
        _save(joined, draft, proto, around)
        check_file(draft)
        _check_meaning(draft, around, given)
        os.replace(draft, out)
    takes = str(around.raw) if around.raw else "normalised rows"
    outside = around.raw.outside if around.raw else ()
    return Complete(out, takes, tuple(o.name for o in joined.graph.output), outside, error, report)


def _check_form(proto: onnx.ModelProto, path: Path) -> None:
    if any(entry.key == COMPLETE_KEY for entry in proto.metadata_props):
        raise ExportError(f"{path} is a complete file already; give the plain one")
    if len(proto.graph.input) != 1 or len(proto.graph.output) != 1:
        many = f"{len(proto.graph.input)} inputs and {len(proto.graph.output)} outputs"
        raise ExportError(f"{path}: a complete file is of one input and one output, this one has {many}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise ExportError(f"{path}: its weights lie in a second file; only files below 2 GB are completed")


def _noise(path: Path, around: Around) -> Tensor:
    if around.raw:
        return noise(around.raw, around.normalisation, NOISE_ROWS)
    shape = [size if isinstance(size, int) else 0 for size in OnnxModel(path).session.get_inputs()[0].shape[1:]]
    return torch.randn((NOISE_ROWS, *shape), generator=torch.Generator().manual_seed(0))


def _joined(proto: onnx.ModelProto, around: Around, example: Tensor, folder: Path) -> onnx.ModelProto:
    joined = onnx.ModelProto()
    joined.CopyFrom(proto)
    if around.raw is None:
        return joined
    entry = proto.graph.input[0]
    axes = _axes(entry, around.raw, around.normalisation)
    batch = entry.type.tensor_type.shape.dim[0].dim_value or 2
    example = example.repeat(-(-batch // len(example)), *[1] * (example.ndim - 1))[:batch]
    module = Preprocess(around.raw, around.normalisation).eval()
    before = write(module, Attempt("dynamo", (example,), (axes,), opset_of(proto)), folder / "before.onnx", {})
    before = compose.add_prefix(before, PREFIX)
    before.ir_version = joined.ir_version
    joined = compose.merge_models(before, joined, io_map=[(before.graph.output[0].name, entry.name)])
    _rename_input(joined.graph, fresh(joined.graph, ROWS))
    return joined


def _axes(entry: onnx.ValueInfoProto, form: RawForm, normalisation: Normalisation) -> Axes:
    """The free axes of raw rows: those of the model's input that stay sizes."""
    free = {axis: dim.dim_param for axis, dim in enumerate(entry.type.tensor_type.shape.dim) if dim.dim_param}
    if form.bands or normalisation.size:
        return {axis: name for axis, name in free.items() if axis == 0}
    shift = 0 if form.layout == "first" else 1  # (B, C, *size) -> (B, *size)
    return {axis - shift if axis > 1 else axis: name for axis, name in free.items()}


def _rename_input(graph: onnx.GraphProto, name: str) -> None:
    old = graph.input[0].name
    graph.input[0].name = name
    for node in graph.node:
        for place, each in enumerate(node.input):
            if each == old:
                node.input[place] = name


def _save(joined: onnx.ModelProto, path: Path, plain: onnx.ModelProto, around: Around) -> None:
    facts = {entry.key: entry.value for entry in plain.metadata_props} | {COMPLETE_KEY: around.facts.to_json()}
    if around.raw and "normalisation" in facts:  # so that nobody normalises twice
        facts[DONE_KEY] = facts.pop("normalisation")
    del joined.metadata_props[:]
    helper.set_model_props(joined, facts)
    joined.producer_name, joined.producer_version = plain.producer_name, plain.producer_version
    path.write_bytes(joined.SerializeToString())


def _verified(whole: Whole, draft: Path, given: Tensor, tolerance: float, seed: int) -> VerifyReport:
    """Law 1."""
    try:
        return verify(whole, draft, given[:2], rows=given, tolerance=tolerance, seed=seed)
    except VerifyError as error:  # which names a folder that is gone by then
        raise VerifyError(str(error).replace(str(draft), draft.name)) from error


def _check_int8(draft: Path, plain: Path, whole: Whole, given: Tensor) -> None:
    """Rounding before an int8 node moves its answer by a step now and then, as far as int8 itself does in one place.

    Raises:
        VerifyError: the answers are further from the int8 file's than a quarter of what lies between that and PyTorch.
    """
    found, expected = _first(draft, given), _behind(whole, _first(plain, _prepared(whole, given)))
    with torch.no_grad():
        exact = whole(given)
    off, own = (_distance(each, expected) for each in (found, exact))
    if not off <= SHARE * own + FLOOR:  # NaN is not
        raise VerifyError(
            f"{draft.name}: with preprocessing in the graph the int8 file's answers move by {off:.1e} of the largest "
            f"(int8 itself moves them by {own:.1e}); leave --preprocess out for int8, and report it"
        )


def _distance(one: Tensor, other: Tensor) -> float:
    """Root mean square, over the largest value."""
    off = (one - other).double().square().mean().sqrt()
    return (off / other.double().abs().max().clamp_min(1e-12)).item()


def _check_reader(draft: Path, int8: Path | None, whole: Whole, rows: Rows, tolerance: float) -> float:
    """The file on raw rows against PyTorch on what dashfx's reader gives; where there is one, against the int8 file.

    Raises:
        VerifyError: the answers differ by more than rounding.
    """
    with torch.no_grad():
        inner = _first(int8, rows.read) if int8 else whole.model(rows.read)
        exact = whole(rows.raw)
    expected, found = _behind(whole, inner), _first(draft, rows.raw)
    error = _distance(found, expected) if int8 else relative_error(found, expected)
    limit = min(tolerance, ROUNDINGS * Rounding(whole)((rows.raw,), {"output": exact}) + FLOOR)
    limit = SHARE * _distance(exact, expected) + FLOOR if int8 else limit
    if not error <= limit:
        raise VerifyError(
            f"{draft.name}: on raw rows its answers differ by {error:.1e} of the largest (allowed {limit:.0e}) from "
            "PyTorch's on what dashfx reads of them; leave --preprocess out, and report it"
        )
    return error


def _prepared(whole: Whole, given: Tensor) -> Tensor:
    with torch.no_grad():
        prepared: Tensor = whole.preprocess(given)
    return prepared


def _behind(whole: Whole, answers: Tensor) -> Tensor:
    with torch.no_grad():
        meant: Tensor = whole.postprocess(answers)
    return meant


def _first(path: Path, x: Tensor) -> Tensor:
    """The first output of a file for so many rows, as it stands."""
    return OnnxModel.rows(_Raw(path), x)


class _Raw(OnnxModel):
    def _answer(self, outputs: dict[str, Tensor]) -> Tensor:
        return next(iter(outputs.values()))


def _check_meaning(draft: Path, around: Around, given: Tensor) -> None:
    """Law 3.

    Raises:
        VerifyError: it does not hold.
    """
    if not around.meaning or around.kind not in ("classes", "dense-classes"):
        return
    session = OnnxModel(draft).session
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else len(given)
    wide = np.float64 if entry.type == "tensor(double)" else given.numpy().dtype
    feed = given.repeat(-(-batch // len(given)), *[1] * (given.ndim - 1))[:batch].numpy().astype(wide)
    probabilities, index, *names = session.run(None, {entry.name: feed})
    said = [] if not names else [around.labels[place] for place in index]
    if not np.array_equal(index, probabilities.argmax(1)) or (names and names[0].tolist() != said):
        raise VerifyError(f"{draft.name}: its {INDEX} or {LABEL} is not that of the largest probability; report it")


def beside(path: Path) -> Path:
    """model.onnx -> model.complete.onnx"""
    return path.with_suffix(f".complete{path.suffix}")
