"""Miscompilations that were planted in correct files are refused, however small; files that are correct pass."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from dashfx.deploy.export import export
from dashfx.deploy.verify import VerifyReport, verify
from dashfx.errors import VerifyError

Change = Callable[[onnx.ModelProto], object]


class Residual(nn.Module):
    """2-D, with a batch norm that folds into its conv and one that does not; takes every size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.folded = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.alone, self.wide = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.pool, self.head = nn.AvgPool2d(3, 1, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.folded(self.stem(x)))
        y = y + self.pool(self.wide(torch.relu(self.alone(y))))
        return self.head(y.mean((2, 3)))


class Signal(nn.Module):
    """1-D, with activations that have constants in them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 6, 5, padding=2), nn.Conv1d(6, 6, 3, padding=1)
        self.leaky, self.gelu = nn.LeakyReLU(0.01), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.gelu(self.second(self.leaky(self.first(x))))
        return torch.sigmoid(y.mean(1, keepdim=True)) * y


class Volume(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(4, 4, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )


SHAPES = {Residual: (2, 3, 16, 16), Signal: (2, 2, 32), Volume: (2, 1, 8, 8, 8)}
NETS = {kind.__name__: kind for kind in SHAPES}


def trained(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """With batch-norm statistics of its own."""
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(shape))
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path, Tensor]]:
    """Every net with its file and its example."""
    found = {}
    for kind, shape in SHAPES.items():
        torch.manual_seed(0)
        model, path = trained(kind(), shape), tmp_path_factory.mktemp("onnx") / "model.onnx"
        example = torch.randn(shape)
        report = export(model, example, path)
        assert report.exporter == "dynamo" and not report.notes
        found[kind.__name__] = model, path, example
    return found


def nodes(proto: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    found = [node for node in proto.graph.node if node.op_type == kind]
    assert found, f"no {kind} among {sorted({node.op_type for node in proto.graph.node})}"
    return found


def values(change: Callable[[np.ndarray], np.ndarray], kind: str = "Conv", place: int = 1, which: int = 0) -> Change:
    """Changes the constant at input `place` of a node: 1 is the weight, 2 the bias."""

    def altered(proto: onnx.ModelProto) -> None:
        name = nodes(proto, kind)[which].input[place]
        tensor = next(t for t in proto.graph.initializer if t.name == name)
        array = numpy_helper.to_array(tensor)
        new = change(array.copy()).astype(array.dtype)
        assert not np.array_equal(new, array)
        tensor.CopyFrom(numpy_helper.from_array(new, name))

    return altered


def attribute(kind: str, name: str, value: object, which: int = 0) -> Change:
    def altered(proto: onnx.ModelProto) -> None:
        node = nodes(proto, kind)[which]
        kept = [a for a in node.attribute if a.name != name]
        assert helper.make_attribute(name, value) not in node.attribute
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return altered


def become(kind: str, other: str, **attributes: object) -> Change:
    """A node of another operator in the place of the first of its kind."""

    def altered(proto: onnx.ModelProto) -> None:
        node = nodes(proto, kind)[0]
        node.op_type = other
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())

    return altered


def clip(kind: str, lowest: float, highest: float) -> Change:
    def altered(proto: onnx.ModelProto) -> None:
        node = nodes(proto, kind)[0]
        node.op_type = "Clip"
        bounds = {"low": lowest, "high": highest}
        proto.graph.initializer.extend(numpy_helper.from_array(np.float32(v), name) for name, v in bounds.items())
        node.input.extend(bounds)

    return altered


def before(kind: str, *operator: object, place: int = 0) -> Change:
    """Puts `operator`, its name and its constants, in front of an input of the first node of a kind."""

    def altered(proto: onnx.ModelProto) -> None:
        node = nodes(proto, kind)[0]
        name, constants = str(operator[0]), {f"planted_{i}": value for i, value in enumerate(operator[1:])}
        proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items())
        planted = helper.make_node(name, [node.input[place], *constants], ["planted"])
        at = list(proto.graph.node).index(node)
        node.input[place] = "planted"
        proto.graph.node.insert(at, planted)

    return altered


def output(operator: str, constant: object, condition: tuple[str, int, int] | None = None) -> Change:
    """The output altered, always or where an axis of the input is Equal to, or Greater than, a number."""

    def altered(proto: onnx.ModelProto) -> None:
        graph, out = proto.graph, proto.graph.output[0].name
        last = next(node for node in graph.node if out in node.output)
        last.output[list(last.output).index(out)] = "was"
        constants = {"by": np.asarray(constant)}
        added = [helper.make_node(operator, ["was", "by"], ["altered" if condition else out])]
        if condition:
            constants |= {"axis": np.asarray(condition[1]), "bound": np.asarray(condition[2])}
            added += [
                helper.make_node("Shape", [graph.input[0].name], ["sizes"]),
                helper.make_node("Gather", ["sizes", "axis"], ["size"]),
                helper.make_node(condition[0], ["size", "bound"], ["wrong"]),
                helper.make_node("Where", ["wrong", "altered", "was"], [out]),
            ]
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        graph.node.extend(added)

    return altered


def one(array: np.ndarray, by: float) -> np.ndarray:
    array.flat[array.size // 2] += by
    return array


SCALED = np.float32(1.01)
PLANTED: dict[str, tuple[str, Change]] = {
    # what shows at some batch, size or magnitude only
    "wrong at batch 3": ("Residual", output("Mul", SCALED, ("Equal", 0, 3))),
    "wrong at batch 8": ("Residual", output("Mul", SCALED, ("Equal", 0, 8))),
    "wrong above batch 1": ("Residual", output("Mul", SCALED, ("Greater", 0, 1))),
    "wrong above height 40": ("Residual", output("Mul", SCALED, ("Greater", 2, 40))),
    "wrong above width 16": ("Residual", output("Mul", SCALED, ("Greater", 3, 16))),
    "wrong above length 40": ("Signal", output("Mul", SCALED, ("Greater", 2, 40))),
    "wrong above depth 12": ("Volume", output("Mul", SCALED, ("Greater", 2, 12))),
    "inputs clipped at 10": ("Residual", before("Conv", "Clip", np.float32(-10), np.float32(10))),
    "inputs clipped at 50": ("Signal", before("Conv", "Clip", np.float32(-50), np.float32(50))),
    "ReLU turned into ReLU6": ("Residual", clip("Relu", 0, 6)),
    "ReLU turned into ReLU6 in 3-D": ("Volume", clip("Relu", 0, 6)),
    "batch fixed": ("Residual", before("Gemm", "Reshape", np.array([2, 8], np.int64))),
    # numbers
    "weights x 1.0003": ("Residual", values(lambda w: w * 1.0003)),
    "weights x 1.0003 in 3-D": ("Volume", values(lambda w: w * 1.0003, which=1)),
    "one weight off by 1e-3": ("Signal", values(lambda w: one(w, 1e-3))),
    "one bias off by 1e-3 before a batch norm": ("Residual", values(lambda b: one(b, 1e-3), place=2)),
    "last bias off by 1e-4": ("Residual", values(lambda b: one(b, 1e-4), kind="Gemm", place=2)),
    "leaky slope off by .001": ("Signal", attribute("LeakyRelu", "alpha", 0.011)),
    "ReLU turned into a leaky one of slope .001": ("Residual", become("Relu", "LeakyRelu", alpha=0.001)),
    "leaky ReLU turned into ReLU": ("Signal", become("LeakyRelu", "Relu")),
    "GELU by tanh": ("Signal", become("Erf", "Tanh")),
    "batch norm's epsilon": ("Residual", attribute("BatchNormalization", "epsilon", 1e-4)),
    "batch norm's mean left out": ("Residual", values(np.zeros_like, kind="BatchNormalization", place=3)),
    "variance taken for deviation": ("Residual", values(np.square, kind="BatchNormalization", place=4)),
    "bias left out": ("Volume", values(np.zeros_like, place=2)),
    "output x 1.0001": ("Signal", output("Mul", np.float32(1.0001))),
    "output off by 1e-4": ("Volume", output("Add", np.float32(1e-4))),
    # geometry
    "kernel flipped": ("Residual", values(lambda w: w[..., ::-1])),
    "kernel transposed": ("Residual", values(lambda w: w.swapaxes(2, 3))),
    "input channels reversed": ("Residual", values(lambda w: w[:, ::-1])),
    "groups exchanged": ("Residual", values(lambda w: np.roll(w, 4, 0), which=1)),
    "padding on one side": ("Signal", attribute("Conv", "pads", [4, 0])),
    "dilation lost": ("Residual", lambda proto: [change(proto) for change in LOST]),
    "padding counted in the mean": ("Residual", attribute("AveragePool", "count_include_pad", 0)),
    "sum turned into difference": ("Residual", become("Add", "Sub")),
    "head transposed": ("Residual", values(lambda w: w.T, kind="Gemm")),
}
LOST = [attribute("Conv", "dilations", [1, 1], which=1), attribute("Conv", "pads", [1, 1, 1, 1], which=1)]


def verified(net: tuple[nn.Module, Path, Tensor], change: Change, folder: Path) -> VerifyReport:
    model, path, example = net
    proto = onnx.load(str(path))
    change(proto)
    onnx.save(proto, str(folder / "planted.onnx"))
    return verify(model, folder / "planted.onnx", example)


@pytest.mark.parametrize(("net", "change"), PLANTED.values(), ids=PLANTED)
def test_a_planted_miscompilation_is_refused(
    exported: dict[str, tuple[nn.Module, Path, Tensor]], net: str, change: Change, tmp_path: Path
) -> None:
    with pytest.raises(VerifyError, match=r"planted.onnx: on .* (differs from PyTorch's by|ONNX Runtime stops)"):
        verified(exported[net], change, tmp_path)


@pytest.mark.parametrize("net", NETS)
def test_nothing_planted_passes(exported: dict[str, tuple[nn.Module, Path, Tensor]], net: str, tmp_path: Path) -> None:
    report = verified(exported[net], lambda proto: None, tmp_path)
    assert report.worst < report.tolerance / 5 and not report.redrawn


def test_what_shows_on_real_rows_only(exported: dict[str, tuple[nn.Module, Path, Tensor]], tmp_path: Path) -> None:
    """Inputs that lie far out in a way that no factor of random ones reaches."""
    model, path, example = exported["Signal"]
    proto = onnx.load(str(path))
    before("Conv", "Clip", np.float32(-1e5), np.float32(1e5))(proto)
    onnx.save(proto, str(tmp_path / "planted.onnx"))
    assert verify(model, tmp_path / "planted.onnx", example, rows=torch.randn(4, 2, 32))
    with pytest.raises(VerifyError, match=r"on real rows of \(4, 2, 32\) output"):
        verify(model, tmp_path / "planted.onnx", example, rows=1e6 * torch.randn(4, 2, 32))


def test_export_hands_on_nothing_that_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("dashfx.deploy.export")
    real = module.write

    def planted(model: nn.Module, attempt: object, path: Path, metadata: object) -> onnx.ModelProto:
        proto = real(model, attempt, path, metadata)
        values(lambda w: w * 1.0003)(proto)
        path.write_bytes(proto.SerializeToString())
        return proto

    monkeypatch.setattr(module, "write", planted)
    with pytest.raises(VerifyError, match="differs from PyTorch's by"):
        export(nn.Conv1d(1, 2, 3), torch.randn(2, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert not list(tmp_path.iterdir())


class Deep(nn.Module):
    """Thirty convs whose activations grow to about 1e6 times the input."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=1) for _ in range(30))
        for conv in self.convs.parameters():
            conv.data.mul_(3.8)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.relu(conv(x))
        return x


HONEST: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "deep, with large activations": (Deep, (2, 8, 16)),
    "an offset far above the signal": (lambda: Shifted(1e4), (2, 2, 16)),
    "norms of a few values": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()), (2, 2, 8)),
    "softmax of large scores": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), Shifted(0.0), nn.Softmax(1)), (2, 2, 8)),
}


class Shifted(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return 10 * x + self.by


@pytest.mark.parametrize(("make", "shape"), HONEST.values(), ids=HONEST)
def test_no_false_alarm(make: Callable[[], nn.Module], shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    report = export(make(), torch.randn(shape), tmp_path / "model.onnx", rows=torch.randn(20, *shape[1:]))
    assert report.exporter == "dynamo" and not report.notes


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), 0.0, -1e-4, 0.5])
def test_no_tolerance_turns_the_check_off(tolerance: float, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match=r"tolerance .*: give a share .* up to 0.01"):
        export(nn.Conv1d(1, 2, 3), torch.randn(2, 1, 8), tmp_path / "model.onnx", tolerance=tolerance)
