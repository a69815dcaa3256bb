"""Verify lets through what ONNX Runtime answers like PyTorch, and says of the rest where it parts first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from dashfx.deploy import runtime
from dashfx.deploy.divergence import relative_error
from dashfx.deploy.export import export
from dashfx.deploy.runtime import OnnxModel, flat_outputs, installed_runtimes, read_metadata
from dashfx.deploy.samples import draw
from dashfx.deploy.verify import verify
from dashfx.errors import ExportError, VerifyError


class Net(nn.Module):
    """Two branches, the second of which runs after the first and agrees whatever the first does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(inplace=True)
        self.second, self.side = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(2, 4, 1)
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.act(self.norm(self.first(x))))
        return (y + self.side(x)) * self.scale


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    torch.manual_seed(0)
    model, path = Net().eval(), tmp_path_factory.mktemp("onnx") / "model.onnx"
    model.norm.running_mean.normal_()  # type: ignore[union-attr]  # so that folding it into the conv changes the conv
    export(model, torch.randn(1, 2, 8), path, metadata={"task": "regress"})
    return model, path


def changed(model: Net, change: Callable[[Net], object]) -> Net:
    other = Net().eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        change(other)
    return other


def edited(path: Path, folder: Path, edit: Callable[[onnx.ModelProto], object]) -> Path:
    proto = onnx.load(str(path))
    edit(proto)
    onnx.save(proto, str(folder / "edited.onnx"))
    return folder / "edited.onnx"


def test_batches_magnitudes_sizes_and_real_rows(exported: tuple[Net, Path]) -> None:
    model, path = exported
    report = verify(model, path, torch.randn(1, 2, 8), rows=torch.randn(20, 2, 8))
    batches = [((rows, 2, 8), "") for rows in (1, 2, 3, 5, 8)]
    larger = [((8, 2, 8), "x10"), ((8, 2, 8), "x100"), ((2, 2, 9), ""), ((2, 2, 48), "")]
    real = [((16, 2, 8), "real rows"), ((4, 2, 8), "real rows")]
    assert [(*case.shapes, case.what) for case in report.cases] == [*batches, *larger, *real]
    assert 0 <= report.worst < 1e-5 and report.providers == ("CPUExecutionProvider",)
    assert "5x2x8: " in str(report) and "8x2x8 (x100): " in str(report) and "CPUExecutionProvider" in str(report)
    assert 0 < report.rounding < 1e-5 and f"rounding moves PyTorch's own answer by {report.rounding:.1e}" in str(report)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (
            lambda m: m.first.bias.add_(1),
            "first at 'first' (Conv1d) or 'norm' (BatchNorm1d), which exporters fold into one, the first layer",
        ),
        (
            lambda m: m.norm.running_var.mul_(4),
            "first at 'first' (Conv1d) or 'norm' (BatchNorm1d), which exporters fold",
        ),
        (lambda m: m.second.weight.mul_(-1), "first at 'second' (Conv1d), after 'act' (ReLU), which agrees"),
        (lambda m: m.side.bias.add_(1), "first at 'side' (Conv1d), after 'second' (Conv1d), which agrees"),
        (lambda m: setattr(m, "scale", 2.0), "every layer agrees when read out alone"),
    ],
)
def test_a_miss_names_the_first_layer(exported: tuple[Net, Path], change: Callable[[Net], object], where: str) -> None:
    model, path = exported
    with pytest.raises(VerifyError) as caught:
        verify(changed(model, change), path, torch.randn(1, 2, 8))
    assert "output 'output' differs from PyTorch's" in str(caught.value)
    assert where in str(caught.value)


def test_within_tolerance_is_no_miss(exported: tuple[Net, Path]) -> None:
    model, path = exported
    other = changed(model, lambda m: m.side.bias.add_(1e-3))
    with pytest.raises(VerifyError):
        verify(other, path, torch.randn(1, 2, 8))
    assert 1e-5 < verify(other, path, torch.randn(1, 2, 8), tolerance=1e-2).worst < 1e-2


def test_not_a_finite_output(exported: tuple[Net, Path]) -> None:
    model, path = exported
    with pytest.raises(VerifyError, match="PyTorch's own output 'output' is not finite"):
        verify(changed(model, lambda m: m.side.bias.fill_(float("nan"))), path, torch.randn(1, 2, 8))


def test_operators_outside_the_standard(exported: tuple[Net, Path], tmp_path: Path) -> None:
    def foreign(proto: onnx.ModelProto) -> None:
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        next(n for n in proto.graph.node if n.op_type == "Relu").domain = "com.microsoft"

    with pytest.raises(VerifyError, match="operators outside the ONNX standard: com"):
        verify(exported[0], edited(exported[1], tmp_path, foreign), torch.randn(1, 2, 8))


def test_implicit_padding(exported: tuple[Net, Path], tmp_path: Path) -> None:
    def same(proto: onnx.ModelProto) -> None:
        conv = next(n for n in proto.graph.node if n.op_type == "Conv")
        kept = [a for a in conv.attribute if a.name not in ("auto_pad", "pads")]
        del conv.attribute[:]
        conv.attribute.extend([*kept, helper.make_attribute("auto_pad", "SAME_UPPER")])

    with pytest.raises(VerifyError, match="has auto_pad 'SAME_UPPER', not numbers"):
        verify(exported[0], edited(exported[1], tmp_path, same), torch.randn(1, 2, 8))


def test_a_file_that_the_checker_refuses(exported: tuple[Net, Path], tmp_path: Path) -> None:
    path = edited(exported[1], tmp_path, lambda proto: proto.graph.node[0].input.__setitem__(0, "nowhere"))
    with pytest.raises(VerifyError, match="the ONNX checker refuses the file"):
        verify(exported[0], path, torch.randn(1, 2, 8))


def test_another_number_of_inputs_is_a_miss(exported: tuple[Net, Path]) -> None:
    class Wide(nn.Conv1d):
        pass

    with pytest.raises(VerifyError, match="ONNX Runtime stops"):
        verify(Wide(3, 4, 3, padding=1), exported[1], torch.randn(1, 3, 8))


def test_metadata_of_foreign_files(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text.onnx", tmp_path / "foreign.onnx"
    text.write_text("not a graph at all, just words")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    onnx.save(helper.make_model(graph), str(foreign))
    with pytest.raises(ExportError, match=r"text.onnx: not an ONNX file; give"):
        read_metadata(text)
    with pytest.raises(ExportError, match=r"foreign.onnx: not an ONNX file of dashfx"):
        read_metadata(foreign)
    with pytest.raises(ExportError, match=r"none.onnx: cannot be read: No such file"):
        read_metadata(tmp_path / "none.onnx")
    with pytest.raises(ExportError, match=r"none.onnx: no such file"):
        OnnxModel(tmp_path / "none.onnx")
    with pytest.raises(ExportError, match=r"text.onnx: not an ONNX file; give"):
        OnnxModel(text)


def test_onnx_model_is_called_like_the_model(exported: tuple[Net, Path]) -> None:
    model, path = exported
    x = torch.randn(3, 2, 10)
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(OnnxModel(path)(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(OnnxModel(path)(x.double()), expected, rtol=1e-4, atol=1e-5)
    assert OnnxModel(path).metadata["task"] == "regress"


class Pairs(nn.Module):
    """Branches on the number of rows, so its file takes that of the example only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.shape[0] == 2 else self.conv(x) * 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_rows_through_a_file_for_two(count: int, tmp_path: Path) -> None:
    model, x = Pairs().eval(), torch.randn(count, 2, 8)
    report = export(model, torch.randn(2, 2, 8), tmp_path / "pairs.onnx")
    assert 0 not in report.dynamic_axes["x"]
    torch.testing.assert_close(OnnxModel(tmp_path / "pairs.onnx").rows(x), model.conv(x), rtol=1e-4, atol=1e-5)


def test_batches_that_the_model_does_not_take_are_left_out(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 3, stride=4, padding=1), nn.GroupNorm(4, 4), nn.Conv1d(4, 2, 1)).eval()
    report = export(model, torch.randn(2, 1, 4), tmp_path / "one.onnx", dynamic_size=False)
    assert [case.shapes[0][0] for case in report.verification.cases if not case.what] == [2, 3, 5, 8]


def test_flat_outputs() -> None:
    a, b, c = torch.zeros(1), torch.ones(1), torch.ones(2)
    assert list(flat_outputs(a)) == ["output"]
    assert list(flat_outputs((a, None, [b, c]))) == ["output_0", "output_2_0", "output_2_1"]
    assert list(flat_outputs({"mask": a, "aux": (b, c)})) == ["mask", "aux_0", "aux_1"]


def test_drawn_inputs_follow_the_example() -> None:
    images, tokens = 5 + torch.randn(4, 3, 8) * 0.1, torch.tensor([[3, 7, 7]])
    x, t = draw((images, tokens), [(200, 3, 8), (50, 3)], torch.Generator().manual_seed(0))
    assert x.shape == (200, 3, 8) and abs(x.mean() - 5) < 0.05 and abs(x.std() - 0.1) < 0.02
    assert t.dtype == tokens.dtype and set(t.flatten().tolist()) == {3, 7}


def test_relative_error() -> None:
    expected = torch.tensor([1.0, -4.0])
    assert relative_error(torch.tensor([1.0, -3.0]), expected) == pytest.approx(0.25)
    assert relative_error(torch.zeros(3), expected) == float("inf")
    assert relative_error(torch.tensor([float("nan"), 0.0]), expected) == float("inf")
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0.0


def test_installed_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_runtimes()  # the tests run on one
    monkeypatch.setattr(runtime.metadata, "version", lambda name: "1.0")
    assert installed_runtimes() == ("onnxruntime", "onnxruntime-gpu")


class Step(nn.Module):
    """Its answer jumps where an input is one."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 1).float()


def ones_first(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The first inputs are ones, a little more for ONNX Runtime, as rounding in earlier layers may make them."""
    left, run = iter(range(count)), OnnxModel.run
    ones = lambda *args: tuple(x if next(left, None) is None else torch.ones_like(x) for x in draw(*args))  # noqa: E731
    module = importlib.import_module("dashfx.deploy.samples")
    monkeypatch.setattr(module, "draw", ones)
    monkeypatch.setattr(module, "runs", lambda *args: True)
    monkeypatch.setattr(OnnxModel, "run", lambda self, *inputs: run(self, *(x * (1 + 1e-6) for x in inputs)))


def test_another_input_is_drawn_where_the_answer_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(Step(), torch.randn(1, 2, 8), tmp_path / "model.onnx", dynamic_size=False)
    ones_first(monkeypatch, 2)
    report = verify(Step(), tmp_path / "model.onnx", torch.randn(1, 2, 8))
    assert report.redrawn == 2 and [case.shapes[0][0] for case in report.cases if not case.what] == [1, 2, 3, 5, 8]
    assert "on 2 more inputs PyTorch's own answer jumps by rounding" in str(report)


def test_a_model_that_jumps_on_every_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(Step(), torch.randn(1, 2, 8), tmp_path / "model.onnx", dynamic_size=False)
    ones_first(monkeypatch, 100)
    with pytest.raises(VerifyError, match="differs from PyTorch's by"):
        verify(Step(), tmp_path / "model.onnx", torch.randn(1, 2, 8))


class Wave(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x)


def test_rounding_at_a_large_magnitude_allows_nothing_at_the_usual_one(tmp_path: Path) -> None:
    """At x10 the product's last place is ten times as large, and the sine makes an error of the output of it."""
    report = export(Wave(), torch.randn(2, 2, 64), tmp_path / "model.onnx", dynamic_size=False).verification
    assert "x10" in {case.what for case in report.cases} and report.rounding < 1e-6


class Single(nn.Module):
    """Has a constant in float32, so it does not run in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(x, torch.ones(1, 2, 3))


def test_a_model_that_does_not_run_in_float64(tmp_path: Path) -> None:
    report = export(Single(), torch.randn(2, 2, 8), tmp_path / "model.onnx", dynamic_size=False).verification
    assert 0 < report.rounding < 1e-5


def test_rows_that_do_not_fill_a_fixed_batch_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "pairs.onnx"
    report = export(Pairs().eval(), torch.randn(2, 2, 8), path, rows=torch.randn(5, 2, 8)).verification
    assert [case.shapes[0][0] for case in report.cases if case.what == "real rows"] == [2, 2]
