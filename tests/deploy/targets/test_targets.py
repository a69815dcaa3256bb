"""Files against execution providers: each rule has a file that breaks it, and settings open a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dashfx.deploy.complete.running import CompleteModel
from dashfx.deploy.quantise.qdq import INT8_KEY
from dashfx.deploy.runtime import VERSION_KEY
from dashfx.deploy.targets import machine
from dashfx.deploy.targets.check import findings
from dashfx.deploy.targets.machine import OPTIMISED_KEY, check_machine, this_machine
from dashfx.deploy.targets.named import TARGETS
from dashfx.deploy.targets.optimised import beside, optimise
from dashfx.deploy.targets.settings import named, session, suited, to_json
from dashfx.errors import ConfigError, ExportError, VerifyError

FLOAT = TensorProto.FLOAT


def model(
    path: Path,
    *nodes: onnx.NodeProto,
    shape: tuple[int | str, ...] = ("batch", 2, "length"),
    kind: int = FLOAT,
    gives: int | None = None,
    opset: int = 18,
    **facts: str,
) -> Path:
    """A file of these nodes from x to y; constants w (4, 2, 3) and text t are there to be read."""
    constants = [
        numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array(["a", "b", "c", "d"], object), "t"),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", gives or kind, None)],
        [each for each in constants if each.name in used],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(proto, {VERSION_KEY: "test", "input_shape": json.dumps([2, 12]), **facts})
    onnx.save(onnx.shape_inference.infer_shapes(proto), path)
    return path


def node(kind: str, *given: str, out: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, list(given), [out], **attributes)


RELU = node("Relu", "x")
LABEL = (node("ArgMax", "x", out="i", axis=1, keepdims=0), node("Gather", "t", "i"))
Build = Callable[[Path], Path]
BROKEN: dict[str, tuple[str, Build, str]] = {
    "operator": ("cuda", lambda p: model(p, node("Celu", "x")), "Celu: 1 of 1 nodes are not among its operators"),
    "type": ("tensorrt", lambda p: model(p, RELU, kind=TensorProto.DOUBLE), "type double of x, y: it is cast"),
    "text": ("openvino", lambda p: model(p, *LABEL, gives=TensorProto.STRING), "type string of y: text is the CPU's"),
    "bytes": (
        "coreml",
        lambda p: model(p, node("Cast", "x", to=1), kind=TensorProto.UINT8, gives=1),
        "type uint8 of x",
    ),
    "pool": ("coreml", lambda p: model(p, node("MaxPool", "x", kernel_shape=[2])), "MaxPool: 1 are 1-D, it takes 2-D"),
    "old": ("tensorrt", lambda p: model(p, RELU, opset=8), "opset 8: it reads 9 to 25; export with --opset 9"),
    "free": ("qnn", lambda p: model(p, RELU), "free axes batch, length: it takes fixed shapes alone"),
    "int8": ("cuda", lambda p: model(p, RELU, **{INT8_KEY: "1 of 1 nodes"}), "int8: it has no int8 convs"),
}


@pytest.mark.parametrize(("target", "build", "line"), BROKEN.values(), ids=BROKEN)
def test_what_a_provider_does_not_take_is_a_line(target: str, build: Build, line: str, tmp_path: Path) -> None:
    found = findings(onnx.load(build(tmp_path / "m.onnx")), TARGETS[target])
    assert len([each for each in found if each.startswith(line)]) == 1, found


@pytest.mark.parametrize("name", TARGETS)
def test_a_plain_conv_of_fixed_shape_is_taken_by_all(name: str, tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", node("Conv", "x", "w", out="c"), node("Relu", "c"), shape=(1, 2, 12))
    assert findings(onnx.load(path), TARGETS[name]) == []


@pytest.mark.parametrize("name", TARGETS)
def test_every_operator_of_a_table_is_one_of_onnx(name: str) -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert (TARGETS[name].operators or known) - known <= {"Inverse"}  # of ONNX Runtime's own


@pytest.mark.parametrize("name", TARGETS)
def test_settings_open_the_file_and_fix_what_has_to_be_fixed(name: str, tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", node("Conv", "x", "w", out="c"), node("Relu", "c"))
    found = suited(path, named(name))
    told = json.loads(to_json([found]))["files"]["m.onnx"]
    assert told["providers"][0][0] == TARGETS[name].provider and told["providers"][-1][0] == "CPUExecutionProvider"
    fixed = {} if TARGETS[name].shapes == "free" else {"batch": 1, "length": 12}
    assert told["free_dimension_overrides"] == fixed
    opened = session(path, {**told, "providers": [["CPUExecutionProvider", {}]]})
    assert opened.run(None, {"x": np.zeros((1, 2, 12), np.float32)})[0].shape == (1, 4, 10)
    assert opened.get_inputs()[0].shape == ([1, 2, 12] if fixed else ["batch", 2, "length"])


def test_what_was_not_seen_here_is_said(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", RELU)
    assert "unchecked: QNNExecutionProvider is not here" in str(suited(path, TARGETS["qnn"]))
    found = suited(path, TARGETS["cpu"])
    assert "nothing in the file speaks against it" in str(found) and "opened and run here" in found.checked
    broken = model(tmp_path / "b.onnx", node("Reshape", "x", "x"))  # a shape of floats
    assert any("ONNX Runtime stops" in each for each in suited(broken, TARGETS["cpu"]).findings)
    there = replace(TARGETS["cpu"], provider="NoneExecutionProvider")
    assert "unchecked" in suited(path, there).checked


def test_a_provider_that_is_not_known_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"--for tensort: no such provider \(did you mean 'tensorrt'\?\)"):
        named("tensort")


@pytest.fixture
def optimised(tmp_path: Path) -> Path:
    path = model(tmp_path / "m.onnx", node("Conv", "x", "w", out="c"), node("Relu", "c"))
    optimise(path, beside(path))
    return beside(path)


def test_an_optimised_file_answers_as_the_portable_one(optimised: Path) -> None:
    x = np.random.default_rng(1).normal(size=(3, 2, 15)).astype(np.float32)
    files = (optimised.with_name("m.onnx"), optimised)
    expected, found = (onnxruntime.InferenceSession(str(file)).run(None, {"x": x})[0] for file in files)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert "Relu" not in {each.op_type for each in onnx.load(str(optimised)).graph.node}  # it is one with the conv
    told = json.loads(optimised.with_suffix(".json").read_text())
    assert told["provider"] == "CPUExecutionProvider" and told["machine"] == this_machine() and told["of"] == "m.onnx"
    assert CompleteModel(optimised).metadata[VERSION_KEY] == "test"  # what the portable one says is kept


def test_an_optimised_file_is_refused_elsewhere(optimised: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_machine()
    monkeypatch.setattr(machine, "this_machine", lambda: {**here, "instructions": "avx9"})
    with pytest.raises(ExportError, match=r"optimised for another machine \(instructions .* avx9 here\); take m.onnx"):
        CompleteModel(optimised)


def test_damaged_facts_of_a_machine_are_one_line(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"machine": 3, "of": "x"}'):
        with pytest.raises(ExportError, match="is damaged"):
            check_machine(tmp_path / "m.onnx", {OPTIMISED_KEY: text})


def test_an_optimised_file_is_not_optimised_again(optimised: Path) -> None:
    with pytest.raises(ExportError, match="optimised file already"):
        optimise(optimised, beside(optimised))


def test_other_answers_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model(tmp_path / "m.onnx", node("Conv", "x", "w", out="c"), node("Relu", "c"))
    load = onnx.load

    def changed(file: str, **more: bool) -> onnx.ModelProto:
        proto = load(file, **more)
        if "optimised" not in Path(file).name:
            return proto
        weight = numpy_helper.to_array(proto.graph.initializer[0]) * 1.001
        proto.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(weight.astype(np.float32), proto.graph.initializer[0].name)
        )
        return proto

    monkeypatch.setattr("dashfx.deploy.targets.optimised.onnx.load", changed)
    with pytest.raises(VerifyError, match=r"is another than that of m\.onnx"):
        optimise(path, beside(path))
    assert not beside(path).exists()
