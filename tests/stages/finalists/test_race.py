"""The race: who runs, by what they are told apart, and who goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from proposing import D2, K3, K5, K5D2, names, run, stages

from dashfx.errors import DivergedError
from dashfx.stages import retrain as retraining
from dashfx.stages.finalists import training
from dashfx.stages.retrain import Retrained
from dashfx.train.progress import Epoch, Observer


def test_the_best_by_loss_goes_on_to_a_training_of_its_own() -> None:
    result = run(K5, D2, K5D2)
    assert [each.stage for each in result.race] == ["race-1-k5 d1", "race-1-k3 d2", "race-1-k5 d2"]
    best = min(result.race, key=lambda each: each.loss)
    assert [each.kept for each in result.race] == [each is best for each in result.race]
    assert names(result) == [best.name, "untouched"] and stages(result)[-2:] == ["retrain", "control"]
    epochs = [epoch for epoch in result.history if epoch.stage.startswith("race")]
    assert {epoch.epochs for epoch in epochs} == {1}  # a sixth of six: its own schedule, from its start to its end
    assert [each["name"] for each in result.to_dict()["race"]] == [each.name for each in result.race]


def test_loss_decides_and_not_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = {"race-1-k5 d1": (0.9, 2.0), "race-1-k3 d2": (0.1, 1.0), "race-1-k5 d2": (0.5, float("nan"))}
    usual = training.retrain

    def retrain(run_: Any, model: Any, stage: str) -> Retrained:
        done = usual(run_, model, stage)
        metric, loss = worth.get(stage, (done.valid, done.loss))
        return Retrained(done.model, metric, metric, loss, done.history)

    monkeypatch.setattr(training, "retrain", retrain)
    assert names(run(K5, D2, K5D2))[0] == "k3 d2"
    worth["race-1-k5 d1"] = worth["race-1-k5 d2"] = worth["race-1-k3 d2"]
    assert names(run(K5, D2, K5D2))[0] == "k5 d1"  # of equals the likelier


def test_as_many_go_on_as_are_wanted_in_the_order_of_their_losses() -> None:
    result = run(K5, D2, K5D2, count=2)
    ordered = sorted(result.race, key=lambda each: each.loss)
    assert names(result) == [ordered[0].name, ordered[1].name, "untouched"]
    assert stages(result)[-3:] == ["retrain", f"retrain-{ordered[1].name}", "control"]
    assert run(K5, D2, K5D2, count=3).race == ()


def test_one_proposal_runs_no_race() -> None:
    result = run(K5, (K5, K5))
    assert result.race == () and names(result) == ["searched", "untouched"]
    assert stages(result) == ["retrain", "control"]


def test_the_untouched_model_is_no_entrant() -> None:
    result = run(K3, K5, D2)
    assert [each.name for each in result.race] == ["k5 d1", "k3 d2"]
    assert any("one proposal of the search is the untouched model" in note for note in result.notes)
    alone = run(K3, K5, D2, more={"control": False})
    assert [each.name for each in alone.race] == ["k3 d1", "k5 d1", "k3 d2"] and len(alone.finalists) == 1


def test_choices_of_several_kernels_are_told_by_number() -> None:
    result = run(K5, (K3, K5), (K5, K3))
    assert [each.name for each in result.race] == ["k5 d1", "proposal 2", "proposal 3"]


def test_an_entrant_that_diverges_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting, lost = retraining.fit, {"race-1-k5 d1"}

    def fit(learner: Any, data: Any, **more: Any) -> Any:
        if more["stage"] in lost:
            raise DivergedError("the loss is nan")
        return fitting(learner, data, **more)

    monkeypatch.setattr(retraining, "fit", fit)
    result = run(K5, D2)
    assert names(result) == ["k3 d2", "untouched"] and not result.race[0].kept
    assert any("race-1-k5 d1: the k5 d1 model's training diverges" in note for note in result.notes)
    lost |= {"race-1-k3 d2"}
    with pytest.raises(DivergedError):
        run(K5, D2)


class Stop(Observer):
    """Ends the process's work after an epoch of a stage, as Ctrl-C does."""

    def __init__(self, stage: str) -> None:
        self.where = stage

    def epoch(self, facts: Epoch) -> None:
        if facts.stage == self.where:
            raise KeyboardInterrupt


EVERYTHING: dict[str, Any] = {"count": 2, "seeds": 2, "longer": True, "wider": {"width": "auto"}, "refit": True}


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))  # exporting takes seconds


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
        return run(K5, D2, K5D2, out=tmp_path_factory.mktemp("straight") / "run", **EVERYTHING)


def test_everything_at_once(straight: Any) -> None:
    second = names(straight)[1]
    assert [s for s in stages(straight) if not s.startswith("race")] == [
        "retrain",
        "retrain-seed-2",
        f"retrain-{second}",
        f"retrain-{second}-seed-2",
        "control",
        "control-seed-2",
        "control-wider",
        "control-wider-seed-2",
        "control-longer",
        "control-longer-seed-2",
        "refit",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["race-1-k3 d2", "retrain-seed-2", "control-longer", "refit"])
def test_an_interrupted_run_ends_as_one_that_was_not(stage: str, straight: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(K5, D2, K5D2, out=tmp_path / "run", observer=Stop(stage), **EVERYTHING)
    result = run(K5, D2, K5D2, out=tmp_path / "run", resume=True, **EVERYTHING)
    assert result.verdict == straight.verdict and result.race == straight.race
    assert (result.valid, result.test, result.refit) == (straight.valid, straight.test, straight.refit)
    state = straight.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in result.model.state_dict().items())
    told = [
        json.loads((folder / "result.json").read_text())["finalists"] for folder in (result.folder, straight.folder)
    ]
    for entries in told:
        for entry in entries:
            entry.pop("latency")
    assert told[0] == told[1]
    checkpoints = [{p.name for p in (each.folder / "checkpoints").iterdir()} for each in (result, straight)]
    assert checkpoints[0] == checkpoints[1]
