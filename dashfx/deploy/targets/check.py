"""Checks of an ONNX file against an execution provider: operators, opset, types and shapes, one line a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from dashfx.deploy.complete.running import facts_of
from dashfx.deploy.exporters import opset_of
from dashfx.deploy.quantise.qdq import INT8_KEY
from dashfx.deploy.runtime import fact
from dashfx.deploy.targets.named import FALLBACK, Target

SPATIAL = 2  # axes before the spatial ones


def findings(proto: onnx.ModelProto, target: Target) -> list[str]:
    """What the provider does not take of a file, or takes only in part; empty where its documentation says all is well.

    1. The opset lies among those that it reads.
    2. Every operator is among its own.
    3. No tensor is of a type that it does not take.
    4. Convs and pools have as many spatial axes as it has kernels for.
    5. No axis is free where it wants fixed ones.
    6. A QDQ file runs in int8.
    """
    rules = (_opset, _operators, _typed, _ranks, _shapes, _quantised)
    return [line for rule in rules for line in rule(proto, target)]


def _opset(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    opset = opset_of(proto)
    if target.opsets and not target.opsets[0] <= opset <= target.opsets[1]:
        first, last = target.opsets
        yield f"opset {opset}: it reads {first} to {last}; export with --opset {last if opset > last else first}"


def _operators(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    if target.operators is None:
        return
    found = Counter(node.op_type for node in proto.graph.node if node.op_type not in target.operators)
    for operator, count in sorted(found.items()):
        yield f"{operator}: {count} of {len(proto.graph.node)} nodes are not among its operators; {FALLBACK}"


def _typed(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    graph = onnx.shape_inference.infer_shapes(proto).graph
    kinds: dict[str, list[str]] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
        kinds.setdefault(kind, []).append(value.name)
    for kind, why in target.types.items():
        if kind in kinds:
            yield f"type {kind} of {', '.join(kinds[kind][:3])}{' ...' * (len(kinds[kind]) > 3)}: {why}"


def _ranks(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    graph = onnx.shape_inference.infer_shapes(proto).graph
    known = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.value_info, *graph.output)}
    found: Counter[tuple[str, int]] = Counter()
    for node in graph.node:
        axes = known.get(node.output[0], 0) - SPATIAL if node.output else 0
        if node.op_type in target.axes and axes > 0 and axes not in target.axes[node.op_type]:
            found[node.op_type, axes] += 1
    for (operator, axes), count in sorted(found.items()):
        taken = " or ".join(f"{each}-D" for each in target.axes[operator])
        yield f"{operator}: {count} are {axes}-D, it takes {taken}; {FALLBACK}"


def free_axes(proto: onnx.ModelProto) -> dict[str, dict[int, str]]:
    """Input name -> its axes without a fixed size, by name."""
    return {
        entry.name: {
            axis: dim.dim_param for axis, dim in enumerate(entry.type.tensor_type.shape.dim) if not dim.dim_value
        }
        for entry in proto.graph.input
    }


def _shapes(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    names = sorted({name for axes in free_axes(proto).values() for name in axes.values()})
    if not names or target.shapes == "free":
        return
    why = "it takes fixed shapes alone" if target.shapes == "required" else "fixed shapes are faster there"
    yield f"free axes {', '.join(names)}: {why}; the settings fix them (free_dimension_overrides)"


def _quantised(proto: onnx.ModelProto, target: Target) -> Iterator[str]:
    if target.quantised and any(entry.key == INT8_KEY for entry in proto.metadata_props):
        yield f"int8: {target.quantised}"


def sizes_of(proto: onnx.ModelProto, shape: tuple[int, ...] | None) -> dict[str, int]:
    """A size for each free axis, by name: one row of this shape at a time; axes of unknown size are left out.

    Args:
        shape: of one row, without the batch.
    """
    sizes: dict[str, int] = {}
    for axes in free_axes(proto).values():
        for axis, name in axes.items():
            if axis == 0:
                sizes[name] = 1
            elif shape is not None and axis <= len(shape):
                sizes[name] = shape[axis - 1]
    return sizes


def row_shape(path: Path, proto: onnx.ModelProto) -> tuple[int, ...] | None:
    """The shape of one row, as the metadata have it; None where they do not."""
    metadata = metadata_of(proto)
    complete = facts_of(path, metadata)
    return complete.raw.shape if complete and complete.raw else fact(path, metadata, "input_shape", tuple)


def metadata_of(proto: onnx.ModelProto) -> Mapping[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def with_sizes(proto: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """Each input's shape with these sizes; free axes without one are 1."""
    return {
        entry.name: [dim.dim_value or sizes.get(dim.dim_param, 1) for dim in entry.type.tensor_type.shape.dim]
        for entry in proto.graph.input
    }


def type_of(entry: onnx.ValueInfoProto) -> str:
    return str(helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type))
