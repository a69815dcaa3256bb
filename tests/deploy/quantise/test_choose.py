"""Int8 files have exactly the nodes in int8 that they should, keep the metric, and stand only where they gain."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationMethod
from torch import Tensor, nn

from dashfx.deploy.divergence import relative_error
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.quantise import choose
from dashfx.deploy.quantise.choose import Int8, Judge, quantise, split
from dashfx.deploy.quantise.qdq import INT8_KEY, METHODS, WEIGHTED, Quantiser
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.deploy.verify import check_file
from dashfx.errors import VerifyError

SITES = ("a", "b", "c", "head")


class Net(nn.Module):
    """A residual block with norms to fold, in two or one dimensions, and a linear layer."""

    def __init__(self, width: int = 24, ndim: int = 2) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if ndim == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.a = conv(3, width, 3, padding=1, bias=False)
        self.norm = norm(width)
        self.b, self.c = conv(width, width, 3, padding=2, dilation=2), conv(width, width, 3, padding=1, groups=width)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.a(x)))
        return self.head((x + torch.relu(self.c(self.b(x)))).flatten(2).mean(2))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Float files: wide, tiny, flat (1-D) and fixed (batch of 3)."""
    folder = tmp_path_factory.mktemp("float")
    torch.manual_seed(0)
    models = {"wide": (Net(), 2), "tiny": (Net(1), 2), "flat": (Net(ndim=1), 1), "fixed": (Net(), 2)}
    for name, (model, ndim) in models.items():
        model.norm.running_mean.uniform_(-0.5, 0.5)
        x = torch.randn(3, 3, *(8 for _ in range(ndim)))
        axes = {} if name == "fixed" else {0: "batch"}
        write(model.eval(), Attempt("torchscript", (x,), (axes,), 18), folder / f"{name}.onnx", {"task": "classify"})
    return folder


def rows(ndim: int = 2, count: int = 24) -> Tensor:
    return torch.randn(count, 3, *(8 for _ in range(ndim)), generator=torch.Generator().manual_seed(1))


def in_int8(path: Path) -> set[str]:
    """The convs and matrix products of a file that read dequantised inputs and weights."""
    proto = onnx.load(str(path))
    maker = {name: node.op_type for node in proto.graph.node for name in node.output}
    weighted = [node for node in proto.graph.node if node.op_type in WEIGHTED]
    return {n.name for n in weighted if {maker.get(name) for name in n.input[:2]} == {"DequantizeLinear"}}


def judge(metric: Callable[[set[str]], float] = lambda _: 0.9, limit: float = 0.01, maximise: bool = True) -> Judge:
    return Judge(lambda path: metric(in_int8(path)), 0.9, maximise, limit, "as the test says")


def clock(seconds: Callable[[set[str]], float] = lambda nodes: 1.0 if nodes else 2.0) -> Any:
    def times(paths: Sequence[Path], *_: object) -> list[float]:
        return [seconds(in_int8(path)) for path in paths]

    return times


def made(files: Path, out: Path, asked: Judge, times: Any = None, name: str = "wide") -> Int8:
    return quantise(files / f"{name}.onnx", out, *split(rows(1 if name == "flat" else 2)), asked, times or clock())


@pytest.mark.parametrize("name", ["wide", "flat", "fixed"])
def test_all_of_a_model_in_int8(name: str, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.int8.onnx"
    found = made(files, out, judge(), name=name)
    assert found.path == out and not found.in_float and found.sites == len(in_int8(out)) == 4 and found.rows == 18
    assert found.metric == found.before == 0.9 and found.speedup == 2.0 and found.calibration in METHODS
    assert found.bytes == out.stat().st_size < found.float_bytes == (files / f"{name}.onnx").stat().st_size
    check_file(out)
    x = rows(1 if name == "flat" else 2, 5)
    assert relative_error(OnnxModel(out).rows(x), OnnxModel(files / f"{name}.onnx").rows(x)) < 0.1
    assert read_metadata(out)["task"] == "classify" and read_metadata(out)[INT8_KEY].startswith("4 of 4 nodes")
    assert [path.name for path in tmp_path.iterdir()] == ["model.int8.onnx"]
    assert Int8.from_dict(json.loads(json.dumps(found.to_dict()))) == found and "4 of 4 nodes" in str(found)


def test_nothing_is_printed_and_logging_is_left_as_it_was(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = list(logging.root.handlers), logging.root.manager.disable
    made(files, tmp_path / "out.onnx", judge())
    assert capfd.readouterr() == ("", "") and (list(logging.root.handlers), logging.root.manager.disable) == before


def sites_of(files: Path, folder: Path) -> dict[str, str]:
    """Conv of the model -> node of the file, in the order of the model."""
    return dict(zip(SITES, Quantiser(files / "wide.onnx", folder, rows()).sites, strict=True))


def test_nodes_that_are_slower_stay_in_float(files: Path, tmp_path: Path) -> None:
    slow = sites_of(files, tmp_path)["c"]
    out = tmp_path / "out.onnx"
    found = made(files, out, judge(), clock(lambda nodes: (1.0 if nodes else 2.0) + 0.5 * (slow in nodes)))
    assert found.in_float == {slow: "slower in int8"} and in_int8(out) == {*sites_of(files, tmp_path).values()} - {slow}


def test_a_node_that_is_slower_once_its_neighbour_is_in_float(files: Path, tmp_path: Path) -> None:
    named = sites_of(files, tmp_path)
    first, then = named["c"], named["b"]
    slower = clock(
        lambda nodes: (1.0 if nodes else 2.0) + 0.5 * (first in nodes) + 0.5 * (nodes & {first, then} == {then})
    )
    found = made(files, tmp_path / "out.onnx", judge(), slower)
    assert found.in_float == {}  # without the first alone nothing is won

    slower = clock(lambda nodes: 2.0 - 0.2 * (first not in nodes) - 0.2 * (not nodes & {first, then}) + (not nodes))
    found = made(files, tmp_path / "out.onnx", judge(), slower)
    assert set(found.in_float) == {first, then} and found.speedup is not None and found.speedup > 1


def test_a_gain_within_the_noise_is_none(files: Path, tmp_path: Path) -> None:
    slow = sites_of(files, tmp_path)["c"]
    times = clock(lambda nodes: (1.0 if nodes else 2.0) + 0.01 * (slow in nodes))
    assert not made(files, tmp_path / "out.onnx", judge(), times).in_float


@pytest.mark.parametrize("maximise", [True, False])
def test_the_fewest_sensitive_nodes_go_back_until_the_metric_holds(
    maximise: bool, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = sites_of(files, tmp_path)
    alone = {named["b"]: 4.0, named["head"]: 3.0, named["a"]: 2.0, named["c"]: 1.0}
    monkeypatch.setattr(choose.Search, "alone", lambda _, site: alone[site])
    worse = -0.1 if maximise else 0.1
    asked = judge(lambda nodes: 0.9 + worse * len(nodes & {named["b"], named["head"]}), maximise=maximise)
    out = tmp_path / "out.onnx"
    found = made(files, out, asked)
    assert found.in_float == dict.fromkeys((named["b"], named["head"]), "sensitive") and found.metric == 0.9
    assert in_int8(out) == {named["a"], named["c"]} and "2 of 4 nodes" in str(found)


def test_sensitivity_is_told_from_one_node_alone(files: Path, tmp_path: Path) -> None:
    asked = []

    def seen(path: Path) -> float:
        asked.append(in_int8(path))
        return 0.0 if len(asked[-1]) > 3 else 0.9

    found = made(files, tmp_path / "out.onnx", Judge(seen, 0.9, True, 0.0, "nothing"))
    assert len(found.in_float) == 1 and [len(each) for each in asked][:2] == [4, 1]


def test_no_file_where_even_one_node_costs_too_much(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(b"of an earlier export")
    found = made(files, out, judge(lambda nodes: 0.5))
    assert found.path is None and not out.exists()
    assert str(found).startswith("no int8 file: with one node in int8 the metric on validation falls by 0.4")


def test_a_metric_that_is_no_number_is_no_int8_file(files: Path, tmp_path: Path) -> None:
    assert made(files, tmp_path / "out.onnx", judge(lambda _: float("nan"))).path is None


@pytest.mark.parametrize(("seconds", "kept"), [(1.0, False), (0.5, True)])
def test_kept_only_where_it_is_smaller_or_faster(seconds: float, kept: bool, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    found = made(files, out, judge(), clock(lambda nodes: seconds if nodes else 1.0), "tiny")
    assert out.exists() == kept == (found.path is not None)
    assert kept or "no smaller" in str(found)


def test_all_slower_is_one_line(files: Path, tmp_path: Path) -> None:
    found = made(files, tmp_path / "out.onnx", judge(), clock(lambda nodes: 1.0 + len(nodes)))
    assert str(found) == "no int8 file: every node is slower in int8 on this machine"


def test_a_calibration_that_fails_does_not_count(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "METHODS", {"broken": None, "min-max": CalibrationMethod.MinMax})
    assert made(files, tmp_path / "out.onnx", judge()).calibration == "min-max"
    monkeypatch.setattr(choose, "METHODS", {"broken": None})
    assert "ONNX Runtime cannot quantise wide.onnx (KeyError" in str(made(files, tmp_path / "out.onnx", judge()))


def test_the_calibration_whose_answers_are_nearest_counts(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"min-max.onnx": 3.0, "entropy.onnx": 1.0, "percentile.onnx": 2.0}
    monkeypatch.setattr(choose.Search, "error", lambda _, path: errors[path.name])
    assert made(files, tmp_path / "out.onnx", judge()).calibration == "entropy"


def test_a_model_without_weights_is_one_line(tmp_path: Path) -> None:
    x = rows()
    write(nn.Sequential(nn.ReLU()), Attempt("torchscript", (x,), ({},), 18), tmp_path / "float.onnx", {})
    found = quantise(tmp_path / "float.onnx", tmp_path / "out.onnx", *split(x), judge(), clock())
    assert str(found) == "no int8 file: the model has no conv or linear layer with constant weights"


def test_other_nodes_in_int8_than_asked_for_are_an_error(files: Path, tmp_path: Path) -> None:
    quantiser = Quantiser(files / "wide.onnx", tmp_path, rows())
    written = quantiser.write(tmp_path / "some.onnx", quantiser.sites[:2], "min-max")
    assert in_int8(written) == set(quantiser.sites[:2])
    with pytest.raises(VerifyError, match="is in int8 against what was asked"):
        quantiser._check(onnx.load(str(written)), quantiser.sites[:1])
    with pytest.raises(VerifyError, match="is not in int8"):
        quantiser._check(onnx.load(str(written)), quantiser.sites)


def test_rows_are_split_into_those_that_tell_and_those_that_judge() -> None:
    told, held = split(torch.arange(9))
    assert told.tolist() == [0, 1, 2, 4, 5, 6, 8] and held.tolist() == [3, 7]
    assert [each.tolist() for each in split(torch.arange(1))] == [[0], [0]]


@pytest.mark.parametrize(("seconds", "chosen"), [(0.5, True), (0.98, True), (1.0, False), (2.0, False)])
def test_the_form_whose_int8_file_is_faster_is_the_one(
    seconds: float, chosen: bool, files: Path, tmp_path: Path
) -> None:
    def times(paths: Sequence[Path], *_: object) -> list[float]:
        return [seconds if path.parent.name == "1" else 1.0 if in_int8(path) else 2.0 for path in paths]

    other = tmp_path / "other.onnx"
    other.write_bytes((files / "wide.onnx").read_bytes())
    out, asked = tmp_path / "out.onnx", judge()
    found = quantise(files / "wide.onnx", out, *split(rows()), asked, times, {"in another form": other})
    assert found.form == ("in another form" if chosen else "") and ("another form" in str(found)) is chosen
    assert found.float_bytes == (files / "wide.onnx").stat().st_size and out.is_file()
    assert Int8.from_dict(found.to_dict()) == found


def test_a_form_without_weights_is_none(files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    write(nn.Sequential(nn.ReLU()), Attempt("torchscript", (rows(),), ({},), 18), other, {})
    found = quantise(
        files / "wide.onnx", tmp_path / "out.onnx", *split(rows()), judge(), clock(), {"in another form": other}
    )
    assert found.path is not None and not found.form


def test_a_faster_form_that_costs_too_much_of_the_metric_loses(files: Path, tmp_path: Path) -> None:
    def times(paths: Sequence[Path], *_: object) -> list[float]:
        return [0.5 if path.parent.name == "1" else 1.0 if in_int8(path) else 2.0 for path in paths]

    other, out = tmp_path / "other.onnx", tmp_path / "out.onnx"
    other.write_bytes((files / "wide.onnx").read_bytes())
    asked = Judge(lambda path: 0.1 if path.parent.name == "1" else 0.9, 0.9, True, 0.01, "")
    found = quantise(files / "wide.onnx", out, *split(rows()), asked, times, {"in another form": other})
    assert found.path == out and not found.form and found.metric == 0.9


def test_a_form_that_cannot_be_quantised_is_left_out(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Quantiser):
        def __init__(self, path: Path, folder: Path, rows: Tensor) -> None:
            if path.name in refused:
                raise RuntimeError("no such operator")
            super().__init__(path, folder, rows)

    monkeypatch.setattr(choose, "Quantiser", Refusing)
    other, refused = tmp_path / "other.onnx", {"other.onnx"}
    other.write_bytes((files / "wide.onnx").read_bytes())
    given = (files / "wide.onnx", tmp_path / "out.onnx", *split(rows()), judge(), clock(), {"in another form": other})
    assert quantise(*given).path is not None
    refused.add("wide.onnx")
    assert "RuntimeError: no such operator" in quantise(*given).why


@pytest.mark.parametrize(("maximise", "metric", "pytorch", "drop"), [
    (True, 0.8, None, 0.1), (True, 0.8, 0.95, 0.15), (True, 0.8, 0.85, 0.1),
    (False, 1.0, None, 0.1), (False, 1.0, 0.7, 0.3), (False, 1.0, 0.95, 0.1),
])  # fmt: skip
def test_a_drop_is_from_the_better_of_the_float_file_and_pytorch(
    maximise: bool, metric: float, pytorch: float | None, drop: float
) -> None:
    held = Judge(lambda _: 0.0, 0.9, maximise, drop + 1e-9, "", pytorch)
    assert held.drop(metric) == pytest.approx(drop) and held.allows(metric) and not held.allows(math.nan)
    assert not Judge(lambda _: 0.0, 0.9, maximise, drop - 1e-9, "", pytorch).allows(metric)
