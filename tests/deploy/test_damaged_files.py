"""Files that are no ONNX, or are damaged: one line with the file's name, whatever the bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn

from dashfx.cli.main import run
from dashfx.cli.verbs.eval import Known, known_task
from dashfx.deploy.export import export
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.errors import DashfxError, ExportError

FACTS = {
    "task": "classify",
    "metric": "accuracy",
    "labels": '["a", "b"]',
    "channels": '["u", "v"]',
    "input_shape": "[2, 8]",
    "normalisation": '{"mean": [0, 0], "std": [1, 1]}',
    "reading": "{}",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export(model, torch.randn(2, 2, 8), path, metadata=FACTS, dynamic_size=False)
    return path


def read(path: Path) -> None:
    """All that `eval` reads of a file, and one call of it."""
    facts = read_metadata(path)
    Known.of(path, facts)
    known_task(path, facts)
    OnnxModel(path).rows(torch.zeros(2, 2, 8))


def test_a_file_that_is_whole_is_read(good: Path) -> None:
    read(good)
    facts = Known.of(good, read_metadata(good))
    assert facts.labels == ("a", "b") and facts.channels == ("u", "v") and facts.input_shape == (2, 8)
    assert facts.normalisation is not None and facts.target is None


edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6)), min_size=1, max_size=4)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.one_of(st.none(), st.floats(0, 1, exclude_max=True)), edits=edits)
def test_damage_is_one_line(
    good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], cut: float | None, edits: list[tuple[float, bytes]]
) -> None:
    damaged, path = bytearray(good.read_bytes()), tmp_path / "damaged.onnx"
    for place, new in edits:
        at = int(place * len(damaged))
        damaged[at : at + len(new)] = new
    path.write_bytes(damaged if cut is None else damaged[: int(cut * len(damaged))])
    try:
        read(path)
    except DashfxError as error:
        assert "damaged.onnx" in str(error) and "\n" not in str(error)
    assert capfd.readouterr() == ("", ""), "libraries print of what they cannot read"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels", "["),
        ("labels", '"ab"'),
        ("labels", "[1, 2]"),
        ("labels", "[" * 5000),
        ("channels", '{"u": 0}'),
        ("input_shape", "[2, -8]"),
        ("input_shape", "[2, true]"),
        ("input_shape", "3"),
        ("normalisation", "[]"),
        ("normalisation", '{"mean": [0, 0]}'),
        ("normalisation", '{"mean": [0, 0], "std": [1]}'),
        ("normalisation", '{"mean": [0, "x"], "std": [1, 1]}'),
        ("normalisation", '{"mean": [0, 0], "std": [1, 0]}'),
        ("normalisation", '{"mean": [0, NaN], "std": [1, 1]}'),
        ("normalisation", '{"mean": [0, 0], "std": [1, 1], "size": [3]}'),
        ("normalisation", '{"mean": [], "std": []}'),
        ("target_normalisation", '{"mean": 3, "std": 4}'),
        ("reading", '{"wimdow": 3}'),
        ("reading", "3"),
    ],
)
def test_damaged_metadata(good: Path, tmp_path: Path, name: str, text: str) -> None:
    path, proto = tmp_path / "damaged.onnx", onnx.load(str(good))
    onnx.helper.set_model_props(proto, {**{p.key: p.value for p in proto.metadata_props}, name: text})
    onnx.save(proto, str(path))
    with pytest.raises(ExportError, match=rf"damaged.onnx: its metadata '{name}' is damaged \(.*\); export it again"):
        Known.of(path, read_metadata(path))


def test_the_command_line_says_so_in_one_line(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2, 8), np.float32), y=np.array(["a", "b", "a", "b"]))
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(good.read_bytes()[:-40])
    for file, said in ((cut, "not an ONNX file"), (tmp_path / "data.npz", "give an .onnx file")):
        assert run(["eval", str(file), "--data", str(tmp_path / "data.npz")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and file.name in error and said in error
    assert run(["eval", str(good), "--data", str(tmp_path / "data.npz")]) == 0


def external(proto: onnx.ModelProto, **place: str) -> None:
    """Says that the first weight lies in another file."""
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)


def in_a_constant(proto: onnx.ModelProto, **place: str) -> None:
    """The same inside of a node, in a graph of its own."""
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.zeros(3, np.float32), "far")])
    proto.graph.node[0].attribute.append(helper.make_attribute("then_branch", inner))
    held = proto.graph.node[0].attribute[-1].g.initializer[0]
    held.data_location = onnx.TensorProto.EXTERNAL
    for key, value in place.items():
        held.external_data.add(key=key, value=value)


@pytest.mark.parametrize("change", [external, in_a_constant])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"location": "../secret.bin"}, "outside of the file's folder"),
        ({"location": "/etc/passwd"}, "outside of the file's folder"),
        ({"location": ".."}, "outside of the file's folder"),
        ({"location": "link.bin"}, "outside of the file's folder"),
        ({}, "outside of the file's folder"),
        ({"location": "none.bin"}, "none.bin, is not beside it; copy both"),
        ({"location": "short.bin", "length": "5"}, "beyond the end of short.bin"),
        ({"location": "short.bin", "offset": "-1", "length": "1"}, "beyond the end of short.bin"),
        ({"location": "short.bin", "length": "x"}, "beyond the end of short.bin"),
    ],
)
def test_weights_elsewhere(
    good: Path, tmp_path: Path, change: Callable[..., None], place: dict[str, str], said: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "short.bin").write_bytes(b"1234")
    (tmp_path / "secret.bin").write_bytes(b"0" * 400)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    proto = onnx.load(str(good))
    change(proto, **place)
    (folder / "far.onnx").write_bytes(proto.SerializeToString())
    for reads in (read_metadata, OnnxModel):
        with pytest.raises(ExportError, match=f"far.onnx: .*{said}"):
            reads(folder / "far.onnx")
