"""The quantise stage: calibrated on training rows, held to the validation part, said in the result."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.cli.main import run as run_cli
from dashfx.deploy.export import export
from dashfx.deploy.layout.choose import LAYOUT_KEY
from dashfx.deploy.quantise import choose
from dashfx.deploy.quantise.choose import Int8, Judge
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.genotype import Genotype
from dashfx.run.prepare import prepare
from dashfx.stages.export import onnx_metric
from dashfx.stages.files import quantise as stage
from dashfx.stages.files.precise import int8
from dashfx.stages.files.quantise import judge_of, quantised

CONFIG = {**FAST, "export": {"int8": True, "max_drop": 1.0, "dynamic_size": False}}


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with "int8" in them take half as long as others, whatever they take."""
    monkeypatch.setattr(choose, "medians", lambda paths, *_: [1.0 if p.name == "model.onnx" else 0.5 for p in paths])


@pytest.fixture(scope="module")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    export(ToyNet().eval(), toy_data().valid.__getitems__([0, 1])[0], path, dynamic_size=False)
    return path


def test_training_rows_and_one_standard_error(float_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Judge] = []
    asked: list[Tensor] = []

    def kept(path: Path, out: Path, rows: Tensor, held: Tensor, judge: Judge, others: object) -> Int8:
        assert others == {}
        asked.extend((rows, held))
        seen.append(judge)
        return Int8(None, "not now")

    monkeypatch.setattr(stage, "quantise", kept)
    inputs = prepare(ToyNet, toy_data(), config=FAST).inputs
    before = onnx_metric(float_file, inputs.data, inputs.task)
    monkeypatch.setattr(stage, "as_exported", lambda *_: {})
    quantised(inputs, float_file, judge_of(inputs, float_file, before, 0.75), ToyNet())
    train = inputs.data.train.__getitems__(list(range(len(inputs.data.train))))[0]
    assert sum(map(len, asked)) == len(train) and all((x == train).flatten(1).all(1).any() for x in torch.cat(asked))
    assert seen[0].metric(float_file) == before and seen[0].before == before and seen[0].maximise
    assert 0 <= seen[0].limit < 0.5 and seen[0].why == "one standard error of the metric"
    assert seen[0].pytorch == 0.75


def test_a_drop_in_units_and_in_standard_errors(float_file: Path) -> None:
    def judge(drop: float | str) -> Judge:
        inputs = prepare(ToyNet, toy_data(), config={**FAST, "export": {"max_drop": drop}}).inputs
        return judge_of(inputs, float_file, 0.5)

    one, two, units, none = judge("1se"), judge("2se"), judge(0.25), judge("0se")
    assert one.limit > 0 and two.limit == 2 * one.limit and two.why == "2 standard errors of the metric"
    assert (units.limit, units.why, none.limit) == (0.25, "export.max_drop", 0.0)


def test_a_rewritten_file_is_quantised_as_it_was_exported_too(float_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = ToyNet().eval(), prepare(ToyNet, toy_data(), config=FAST).inputs
    assert stage.as_exported(inputs, model, float_file, tmp_path) == {}  # nothing is rewritten in it
    rewritten = tmp_path / "rewritten.onnx"
    proto = onnx.load(float_file)
    known = {each.key: each.value for each in proto.metadata_props}
    onnx.helper.set_model_props(proto, {**known, "task": "classify", LAYOUT_KEY: "1 1-D convs as 2-D"})
    onnx.save(proto, rewritten)
    (bare,) = stage.as_exported(inputs, model, rewritten, tmp_path).values()
    facts, x = read_metadata(bare), inputs.data.valid.__getitems__([0, 1])[0]
    assert facts["task"] == "classify" and LAYOUT_KEY not in facts
    torch.testing.assert_close(OnnxModel(bare).rows(x), model(x), rtol=1e-3, atol=1e-4)


def test_a_run_has_an_int8_file_and_says_so(tmp_path: Path) -> None:
    found = dashfx.search(ToyNet, toy_data(), out=tmp_path / "run", config=CONFIG)
    small = found.int8
    assert small is not None and small.path == tmp_path / "run" / "model.int8.onnx" and small.path.is_file()
    facts = json.loads((tmp_path / "run" / "result.json").read_text())["int8"]
    assert Int8.from_dict(facts) == small and small.speedup == 2.0 and "quantise" in found.seconds
    assert small.metric == onnx_metric(small.path, toy_data(), found.task) and facts["pytorch"] == found.valid
    assert f"PyTorch {found.valid:.4f}" in str(small)
    assert "model.int8.onnx: " in (tmp_path / "run" / "report.html").read_text()


def test_none_is_written_unasked(float_file: Path) -> None:
    run = prepare(ToyNet, toy_data(), config=FAST)
    assert int8(run, 0.9, 0.9, Genotype(), ToyNet()).file is None


def test_a_loader_alone_has_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = tmp_path / "load_model.py"
    loader.write_text("raise RuntimeError('run')")
    assert run_cli(["export", str(loader), "--int8", "--input", "2x24"]) == 2
    said = capsys.readouterr().err
    assert "ranges are told from training data" in said and "give the run's folder" in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["load_model.py"]
