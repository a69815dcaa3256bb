"""fp16 files take and give float32, compute in fp16, and are refused where more than rounding is lost."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from dashfx.deploy.divergence import relative_error
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.half.fp16 import FP16_KEY, TIMES, UNIT, Half, beside, halved
from dashfx.deploy.runtime import OnnxModel, read_metadata


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.head = nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.a(x)))
        return self.head((x + torch.relu(self.b(x))).flatten(2).mean(2))


def rows(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def written(folder: Path, scale: float = 1.0, fixed: bool = False) -> Path:
    torch.manual_seed(0)
    net, path = Net().eval(), folder / "model.onnx"
    with torch.no_grad():
        net.b.weight *= scale
        net.head.weight /= scale
    axes = {} if fixed else {0: "batch"}
    write(net, Attempt("torchscript", (rows(3),), (axes,), 18), path, {"task": "classify"})
    return path


@pytest.mark.parametrize("fixed", [False, True])
def test_half_the_weights_and_float32_at_both_ends(fixed: bool, tmp_path: Path) -> None:
    path = written(tmp_path, fixed=fixed)
    found = halved(path, beside(path), rows())
    assert found.path == tmp_path / "model.fp16.onnx" and found.error is not None and found.allowed is not None
    graph = onnx.load(str(found.path)).graph
    ends = [entry.type.tensor_type.elem_type for entry in (*graph.input, *graph.output)]
    assert ends == [TensorProto.FLOAT, TensorProto.FLOAT]
    weights = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
    assert len(weights) == 2 and {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}
    expected, answers = OnnxModel(path).rows(rows(3)), OnnxModel(found.path).rows(rows(3))
    assert answers.dtype == torch.float32 and 0 < relative_error(answers, expected) <= found.allowed
    assert TIMES * UNIT <= found.allowed < 0.1 and 0 < found.error <= found.allowed
    assert read_metadata(found.path)["task"] == "classify" and FP16_KEY in read_metadata(found.path)
    assert Half.from_dict(json.loads(json.dumps(found.to_dict()))) == found and "model.fp16.onnx: " in str(found)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.fp16.onnx", "model.onnx"]


def test_numbers_that_leave_the_range_are_no_file(tmp_path: Path) -> None:
    path = written(tmp_path, 1e6)
    beside(path).write_bytes(b"of an earlier export")
    found = halved(path, beside(path), rows())
    assert found.path is None and "leaves fp16's range" in str(found) and str(found).startswith("no fp16 file: ")
    assert not beside(path).exists() and Half.from_dict(found.to_dict()) == found


def test_a_file_that_cannot_be_converted_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise NotImplementedError("of this node\nand that")

    monkeypatch.setattr("onnxruntime.transformers.float16.convert_float_to_float16", refused)
    found = halved(written(tmp_path), tmp_path / "out.onnx", rows())
    assert str(found) == "no fp16 file: model.onnx cannot be converted (NotImplementedError: of this node)"
