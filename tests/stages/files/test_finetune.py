"""Fine-tuning for int8: weights learn under fake quantisation, and the file counts only where it is better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import FAST, ToyNet, toy_data

from dashfx import Candidate, Genotype
from dashfx.deploy.quantise import fake
from dashfx.deploy.quantise.choose import SENSITIVE, SLOW, Int8
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.files import finetune
from dashfx.stages.files.finetune import finetuned, is_better, is_wanting, layers_of, trained

NONE, SOME = Genotype({"conv1": Candidate(3)}), Genotype({"conv1": Candidate(3)}, bits={"conv1": 8})


@pytest.fixture
def run() -> Run:
    return prepare(ToyNet, toy_data(), config={**FAST, "export": {"finetune": 1}})


def int8(metric: float = 0.5, in_float: dict[str, str] | None = None, path: Path | None = Path("a.onnx")) -> Int8:
    return Int8(path, "", metric, 0.6, 0.1, "told", speedup=1.0, sites=3, in_float=in_float or {})


def test_a_copy_learns_as_in_int8_and_the_model_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, rounded = ToyNet().eval(), list[tuple[int, ...]]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = fake.rounded_weight
    monkeypatch.setattr(fake, "rounded_weight", lambda weight: rounded.append(tuple(weight.shape)) or plain(weight))
    tuned = trained(run, model, ["conv1", "fc"])
    assert set(rounded) == {(4, 2, 3), (3, 4)}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert tuned.state_dict().keys() == before.keys() and type(tuned.conv1) is nn.Conv1d and not tuned.training
    assert not tuned.conv1._forward_pre_hooks
    assert [epoch.stage for epoch in run.ledger.history] == ["finetune"]
    assert run.ledger.history[0].lr <= 0.1 * run.config.retrain.lr * (1 + 1e-6)


@pytest.mark.parametrize(("metric", "kept"), [(0.55, True), (0.45, False)])
def test_the_file_counts_only_where_it_is_better(
    metric: float, kept: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.int8.onnx"
    out.write_text("first")
    tuned = ToyNet()
    monkeypatch.setattr(finetune, "trained", lambda *_: tuned)
    written: list[Any] = []
    monkeypatch.setattr(finetune, "write_onnx", lambda *args: written.append(args))

    def again(path: Path, held: nn.Module) -> tuple[Int8, Genotype]:
        assert held is tuned
        second = path.with_name("second.onnx")
        second.write_text("second")
        return int8(metric, path=second), SOME

    first = int8(0.5, path=out), NONE
    found, choices = finetuned(run, ToyNet(), SOME, first, out, again)
    assert written[0][1] is tuned
    if kept:
        assert found == replace(int8(metric), path=out, finetuned=1) and choices is SOME and out.read_text() == "second"
        assert "weights fine-tuned, 1 epochs" in str(found)
    else:
        assert (found, choices) == first and out.read_text() == "first"
        assert any("no better on validation" in note for note in run.ledger.notes)


def test_better_is_more_in_int8_and_then_the_metric() -> None:
    assert is_better(int8(0.1), int8(0.9, {"a": SENSITIVE}), True)
    assert not is_better(int8(0.9, {"a": SENSITIVE}), int8(0.1), True)
    assert is_better(int8(0.6), int8(0.5), True) and not is_better(int8(0.5), int8(0.5), True)
    assert is_better(int8(0.5), int8(0.6), False) and not is_better(int8(0.6), int8(0.5), False)
    assert is_better(int8(), int8(path=None), True) and not is_better(int8(path=None), int8(path=None), True)


def test_wanting_is_what_the_metric_keeps_from_int8() -> None:
    assert is_wanting(int8(in_float={"a": SENSITIVE}), NONE, NONE) and is_wanting(int8(path=None), NONE, NONE)
    assert not is_wanting(int8(in_float={"a": SLOW}), NONE, NONE)
    assert is_wanting(int8(), SOME, NONE) and not is_wanting(int8(in_float={"fc": SENSITIVE}), SOME, SOME)
    assert layers_of(ToyNet(), int8(in_float={"conv2": SLOW, "fc": SENSITIVE})) == ["conv1", "fc"]
