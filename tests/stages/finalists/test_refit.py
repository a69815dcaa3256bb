"""The refit: on which rows, for how long, by which weights, and what is said of the figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from proposing import DATA, K5, Proposing, options, run
from toys import FAST, ToyNet

import dashfx
from dashfx.config.run import RunConfig
from dashfx.data.splits.both import trained_on_both
from dashfx.run.prepare import prepare
from dashfx.stages.finalists.refit import for_both_parts


def test_the_refit_takes_as_many_steps_as_the_training_before() -> None:
    result = run(K5, refit=True)
    assert result.kept is not None
    judged = [epoch for epoch in result.history if epoch.stage == result.kept.stage]
    again = [epoch for epoch in result.history if epoch.stage == "refit"]
    assert [epoch.steps for epoch in again] == [epoch.steps for epoch in judged]
    assert [epoch.lr for epoch in again] == [epoch.lr for epoch in judged]  # a complete schedule of the same length
    assert [epoch.loss for epoch in again] != [epoch.loss for epoch in judged]


def test_its_rows_are_those_of_both_parts() -> None:
    config = RunConfig.parse({**FAST, "retrain": {"epochs": 2, "batch_size": 16, "fraction": 0.5, "patience": 1}})
    prepared = prepare(ToyNet, DATA, config=config)
    both = for_both_parts(prepared, 4)
    assert len(both.inputs.data.train) == 57 + 15 and both.config.retrain.epochs == 4
    assert round(both.config.retrain.fraction * 72) == round(0.5 * 57) and both.config.retrain.patience == 0
    assert both.inputs.data.valid is DATA.valid and len(trained_on_both(DATA).train) == 72


def test_the_last_weights_are_kept_whatever_the_seen_rows_say() -> None:
    result = run(K5, refit=True)
    before = run(K5)
    assert result.kept is not None and before.kept is not None and result.kept.name == before.kept.name
    last = [epoch for epoch in result.history if epoch.stage == "refit"][-1]
    assert result.refit == pytest.approx(last.metric)
    assert result.valid == before.valid == result.kept.valid  # of the model that was judged
    assert any(not torch.equal(a, b) for a, b in zip(result.model.parameters(), before.model.parameters(), strict=True))
    assert any("trained on the validation part too" in note for note in result.notes)
    assert before.refit is None


def test_the_gate_holds_the_refitted_model_to_its_own_answers(tmp_path: Path) -> None:
    result = run(K5, refit=True, out=tmp_path / "run")
    assert result.onnx_valid == pytest.approx(result.refit)
    assert not any("ONNX Runtime gives" in warning for warning in result.warnings)
    assert result.to_dict()["refit"] == result.refit


def test_without_the_option_nothing_is_trained_again() -> None:
    assert all(epoch.stage != "refit" for epoch in run(K5).history)


def test_an_ensemble_is_held_against_the_model_that_is_handed_back() -> None:
    """Its parameters are those that both parts have taught; on validation it is worth what the judged one was."""
    config = {**options(refit=True), "ensemble": {"count": 2}}
    result = dashfx.search(ToyNet, DATA, strategy=Proposing((K5,)), config=config)
    assert result.ensemble and result.ensemble.alone and result.kept
    alone, refit = result.ensemble.alone, sum(epoch.steps for epoch in result.history if epoch.stage == "refit")
    assert (alone.valid, alone.test) == (pytest.approx(result.valid), pytest.approx(result.test))
    assert refit and result.ensemble.alone_steps == refit + result.kept.steps
