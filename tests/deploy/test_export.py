"""Export writes one checked ONNX file, as free in its sizes as the model is, or says why it does not."""

from __future__ import annotations

import copy
import importlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dashfx.deploy import exporters
from dashfx.deploy.export import VALUES, ExportReport, export
from dashfx.deploy.runtime import OnnxModel, load_proto, read_metadata
from dashfx.errors import ExportError, VerifyError
from dashfx.frontend.convs import write_padding
from dashfx.frontend.tracing import copy_model


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Classifier(nn.Module):
    """Flattens, so it takes one size only; has a batch norm to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3 * 36, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).flatten(1))


class Tcn(nn.Module):
    """Causal, with weight-norm of the old kind, whose computed weight breaks copy.deepcopy after a call."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv1d(2, 4, 5, dilation=3)
        write_padding(conv, ((12, 0),), "zeros")
        self.conv = nn.utils.weight_norm(conv)
        self.head = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)))


class Resized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, size=(6, 6), mode="bilinear"))


class Two(nn.Module):
    """Two inputs, and a dict whose key is also an input's name."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(3, 2, 3, padding=1)

    def forward(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"z": self.left(x) + self.right(z), "a": self.left(x).mean(-1)}


class SizeBranch(nn.Module):
    """Odd sizes take a branch that an even example does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(F.max_pool2d(self.conv(x), 2), scale_factor=2.0)
        return x + (y if y.shape == x.shape else F.interpolate(y, size=x.shape[-2:]))


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(4, 12)


def lopsided(ndim: int, padding: tuple[tuple[int, int], ...], mode: str) -> nn.Module:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[ndim - 1](2, 2, 3)
    write_padding(conv, padding, mode)
    return nn.Sequential(nn.ReLU(), conv)


def onnx_equals(model: nn.Module, path: Path, *inputs: Tensor) -> None:
    with torch.no_grad():
        expected = model.eval()(*inputs)
    actual = OnnxModel(path)(*inputs)
    if isinstance(expected, dict):
        assert isinstance(actual, dict) and list(actual) == list(expected)
        for key in expected:
            torch.testing.assert_close(actual[key], expected[key], rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, ExportReport]:
    """A double-precision model in train mode, exported as it is."""
    torch.manual_seed(0)
    model, path = Classifier().double().train(), tmp_path_factory.mktemp("run") / "new" / "model.onnx"
    example = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    return model, export(model, example, path, metadata={"task": "classify", "labels": '["a"]'})


def test_a_classifier_has_a_free_batch_and_one_size(classifier: tuple[Classifier, ExportReport]) -> None:
    model, report = classifier
    assert report.exporter == "dynamo" and report.opset == 18
    assert report.dynamic_axes == {"x": ("batch",)}
    assert report.notes == ("the batch is free, the other sizes are fixed",)
    assert [case.shapes[0][0] for case in report.verification.cases if not case.what] == [1, 2, 3, 5, 8]
    assert report.bytes == report.path.stat().st_size
    assert report.ops["Conv"] == 1 and "BatchNormalization" not in report.ops
    assert "x: batch" in str(report) and "Conv 1" in str(report) and "agrees with PyTorch" in str(report)
    assert [file.name for file in report.path.parent.iterdir()] == ["model.onnx"], "scratch files stay behind"
    onnx_equals(copy.deepcopy(model).float(), report.path, torch.rand(3, 1, 6, 6))


def test_metadata_and_no_paths_of_this_machine(classifier: tuple[Classifier, ExportReport]) -> None:
    path = classifier[1].path
    facts = read_metadata(path)
    assert facts["task"] == "classify" and facts["labels"] == '["a"]'
    assert facts["torch_version"] == torch.__version__ and "dashfx_version" in facts
    assert load_proto(path).producer_name == "dashfx"
    assert str(Path(__file__).parent).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()


def test_the_model_is_left_alone(classifier: tuple[Classifier, ExportReport]) -> None:
    model = classifier[0]
    assert model.training and model.norm.training
    assert model.conv.weight.dtype == torch.float64 and torch.equal(model.norm.running_mean, torch.zeros(3))


@pytest.mark.parametrize(
    ("ndim", "padding", "mode"),
    [
        (1, ((4, 0),), "zeros"),
        (2, ((-1, 3), (0, -2)), "zeros"),
        (3, ((2, 0), (-1, 1), (0, 0)), "zeros"),
        (1, ((-1, 3),), "reflect"),
        (2, ((-1, 2), (1, 1)), "circular"),
    ],
)
def test_any_padding_at_any_size(tmp_path: Path, ndim: int, padding: tuple[tuple[int, int], ...], mode: str) -> None:
    model, path = lopsided(ndim, padding, mode), tmp_path / "model.onnx"
    report = export(model, torch.randn(1, 2, *(7, 6, 5)[:ndim]), path)
    sizes = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}[ndim]
    assert report.dynamic_axes == {"input": ("batch", *sizes)}
    assert report.opset == (19 if mode == "circular" else 18), "Pad has the mode 'wrap' from opset 19 on"
    assert report.exporter == "dynamo" and report.verification.cases[-2].shapes[0][2:] == (8, 8, 8)[:ndim]
    onnx_equals(model, path, torch.randn(3, 2, *(9, 7, 6)[:ndim]))


def test_weight_norm_of_both_kinds_after_a_call(tmp_path: Path) -> None:
    model, x = Tcn(), torch.randn(2, 2, 20)
    model(x)
    report = export(model, x, tmp_path / "model.onnx")
    assert report.dynamic_axes == {"x": ("batch", "length")}
    onnx_equals(model, tmp_path / "model.onnx", torch.randn(3, 2, 31))


def test_two_inputs_and_a_dict(tmp_path: Path) -> None:
    model, path = Two(), tmp_path / "model.onnx"
    report = export(model, (torch.randn(1, 1, 9), torch.randn(1, 3, 9)), path)
    assert report.exporter == "dynamo" and not report.notes
    assert set(report.dynamic_axes.values()) == {("batch", "length")}
    onnx_equals(model, path, torch.randn(3, 1, 11), torch.randn(3, 3, 11))


def test_free_sizes_can_be_declined(tmp_path: Path) -> None:
    report = export(Resized(), torch.randn(1, 1, 8, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert report.dynamic_axes == {"x": ("batch",)}


def test_a_branch_on_the_size_keeps_the_size_fixed(tmp_path: Path) -> None:
    report = export(SizeBranch(), torch.randn(1, 1, 8, 8), tmp_path / "model.onnx")
    assert report.dynamic_axes == {"x": ("batch",)}
    assert "batch, height, width free failed" in report.notes[0]


def test_a_fixed_batch_is_said(tmp_path: Path) -> None:
    report = export(FixedBatch(), torch.randn(4, 1, 8), tmp_path / "model.onnx")
    assert report.dynamic_axes == {"x": ()} and report.notes == ("every size is fixed, the batch too",)


def test_the_torchscript_exporter_is_tried_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_dynamo(monkeypatch)
    model, path = Two(), tmp_path / "model.onnx"
    report = export(model, (torch.randn(1, 1, 9), torch.randn(1, 3, 9)), path)
    assert report.exporter == "torchscript" and VALUES not in report.notes
    assert "dynamo exporter" in report.notes[0] and "no luck" in report.notes[0]
    onnx_equals(model, path, torch.randn(3, 1, 11), torch.randn(3, 3, 11))


def test_nothing_is_written_when_every_exporter_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("no luck\nsecond line")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(
        ExportError, match=r"model.onnx: the dynamo exporter .* failed: RuntimeError: no luck"
    ) as caught:
        export(Classifier(), torch.rand(1, 1, 6, 6), path)
    assert "\n" not in str(caught.value) and "fixed sizes" in str(caught.value)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_miscompiled_batch_norm_is_caught_though_untrained_statistics_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("dashfx.deploy.export")
    real = module.write

    def drop_the_mean(model: nn.Module, *args: object) -> onnx.ModelProto:
        other = copy_model(model)
        other.norm.running_mean.zero_()  # type: ignore[union-attr,operator]
        return real(other, *args)

    monkeypatch.setattr(module, "write", drop_the_mean)
    path = tmp_path / "model.onnx"
    with pytest.raises(VerifyError, match=r"random batch-norm statistics.* first at 'conv' \(Conv2d\) or 'norm'"):
        export(Classifier(), torch.rand(1, 1, 6, 6), path)
    assert not path.exists()


def test_trained_statistics_are_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, drafts = importlib.import_module("dashfx.deploy.export"), []
    real = module.write
    monkeypatch.setattr(module, "write", lambda *args: drafts.append(args[2].name) or real(*args))
    model = Classifier()
    export(model, torch.rand(1, 1, 6, 6), tmp_path / "model.onnx")
    assert drafts == ["probe.onnx", "model.onnx"]
    model.train()(torch.rand(4, 1, 6, 6))
    export(model.eval(), torch.rand(1, 1, 6, 6), tmp_path / "model.onnx")
    assert drafts[2:] == ["model.onnx"]


def test_weights_above_the_limit_go_to_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "ONE_FILE_LIMIT", 0)
    model, path = nn.Sequential(nn.Conv1d(2, 64, 9), nn.Conv1d(64, 8, 9)), tmp_path / "model.onnx"
    report = export(model, torch.randn(1, 2, 30), path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["model.onnx", "model.onnx.data"]
    assert report.bytes == sum(file.stat().st_size for file in files)
    onnx_equals(model, path, torch.randn(2, 2, 30))


def test_a_supernet_is_refused(tmp_path: Path) -> None:
    class AggConv(nn.Conv1d):
        __module__ = "dashfx.ops.aggconv"

    model = nn.Sequential(nn.ReLU(), AggConv(1, 1, 3))
    with pytest.raises(ExportError, match=r"module '1' is a AggConv: .*dashfx.lower"):
        export(model, torch.randn(1, 1, 8), tmp_path / "model.onnx")


def test_an_output_that_is_no_tensor(tmp_path: Path) -> None:
    class Named(nn.Conv1d):
        def forward(self, x: Tensor) -> Mapping[str, object]:  # type: ignore[override]
            return {"y": super().forward(x), "name": "x"}

    with pytest.raises(ExportError, match="the model returns a str"):
        export(Named(1, 1, 3), torch.randn(1, 1, 8), tmp_path / "model.onnx")


def test_an_old_opset(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"opset 11: .* 18"):
        export(Classifier(), torch.rand(1, 1, 6, 6), tmp_path / "model.onnx", opset=11)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export(Classifier(), torch.rand(1, 1, 6, 6), tmp_path / "out" / "model.onnx")


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="NoSuchProvider was asked for and ONNX Runtime would run on CPU"):
        export(Classifier(), torch.rand(1, 1, 6, 6), tmp_path / "model.onnx", providers=["NoSuchProvider"])
    options = {"providers": ["NoSuchProvider"], "allow_fallback": True}
    report = export(nn.Conv1d(1, 1, 3), torch.rand(1, 1, 6), tmp_path / "model.onnx", **options)  # type: ignore[arg-type]
    assert report.verification.providers == ("CPUExecutionProvider",)


def test_the_exporters_are_quiet(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="dashfx")
    model = Tcn()
    recwarn.clear()  # torch deprecates the old weight-norm when the model is built
    export(model, torch.randn(1, 2, 20), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "") and not recwarn.list
    assert any(record.name == "dashfx.deploy.exporters" for record in caplog.records)


def test_a_branch_that_torch_export_refuses_leaves_no_graph_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Branching(nn.Conv1d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y if float(y.sum()) < 1e9 else 2 * y

    report = export(Branching(1, 1, 3), torch.randn(1, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert capfd.readouterr() == ("", "")
    assert report.exporter == "torchscript" and report.notes[0] == VALUES and VALUES in str(report)


def test_an_operator_that_onnx_lacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Spectrum(nn.Conv1d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return torch.linalg.eigvalsh(y @ y.mT)

    with pytest.raises(ExportError, match=r"the dynamo exporter .* failed: .*eigh"):
        export(Spectrum(1, 1, 3), torch.randn(1, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert capfd.readouterr() == ("", "")


def refuse_dynamo(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def old_only(*args: object, dynamo: bool, **options: object) -> object:
        if dynamo:
            raise RuntimeError("no luck")
        return real(*args, dynamo=False, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", old_only)


class Branching(nn.Module):
    """Works at every size, by a branch that an exporter has to fix."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        x = self.conv(x) * scale
        return x[..., ::2] if x.shape[-1] > 16 else x


def test_a_branch_on_the_size_fixes_the_size_and_says_so(tmp_path: Path) -> None:
    report = export(Branching(), torch.randn(2, 1, 10, 12), tmp_path / "model.onnx")
    assert report.exporter == "dynamo" and report.dynamic_axes["x"] == ("batch",)
    assert any("branches on a size: what was traced holds up to 16 only" in note for note in report.notes)
    assert "the batch is free, the other sizes are fixed" in report.notes


def test_arguments_by_name_become_inputs_and_options_are_fixed(tmp_path: Path) -> None:
    report = export(Branching(), {"x": torch.randn(2, 1, 10, 12), "scale": 3.0}, tmp_path / "model.onnx")
    assert list(report.dynamic_axes) == ["x"] and "batch" in report.dynamic_axes["x"]


class Batch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3, padding=1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.conv(batch["signal"]) * batch["gain"]


def test_the_keys_of_a_dict_are_inputs(tmp_path: Path) -> None:
    example = {"signal": torch.randn(2, 1, 10), "gain": torch.randn(2, 1, 10)}
    report = export(Batch(), (example,), tmp_path / "model.onnx")
    assert list(report.dynamic_axes) == ["signal", "gain"]


def test_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\\xff.onnx: the path is no UTF-8"):
        export(nn.Conv1d(1, 1, 3), torch.randn(1, 1, 8), tmp_path / os.fsdecode(b"model\xff.onnx"))
    assert not list(tmp_path.iterdir())
