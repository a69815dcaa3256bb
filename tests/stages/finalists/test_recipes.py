"""After tuning, the plain recipe is trained in full too: the better of the two is what the run goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.config.run import RunConfig
from dashfx.data import Data
from dashfx.errors import DivergedError
from dashfx.run.result import Result
from dashfx.stages import retrain as retraining
from dashfx.stages.retrain import Retrained
from dashfx.train.fit import Fitted, Learner
from dashfx.train.progress import Epoch, Observer
from dashfx.tune import Tuned

DATA = toy_data()
STILL = 1e-12  # a learning rate at which nothing is learned


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds


def options(lr: float, space: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A recipe of this rate, tuned by one trial of each combination in `space`."""
    tune = {"trials": 9, "epochs": 1, "sampler": "grid", "space": space, **changes.pop("tune", {})}
    retrain = {"epochs": 6, "batch_size": 16, "weights": "fresh", "lr": lr}
    search = {**FAST["search"], "epochs": 1, "autotune": False}
    other = {"kernels": [5, 7], "dilations": [1, 2], "keep_original": False}  # so that no choice is the untouched model
    return {**FAST, "space": other, "search": search, "retrain": retrain, "tune": tune, **changes}


def search(out: Path | None = None, *args: Any, observer: Observer | None = None, **more: Any) -> Result:
    return dashfx.search(ToyNet, DATA, config=options(*args, **more), out=out, observer=observer or Observer())


def value(result: Result, origin: str) -> float:
    """The validation metric of the finalist of that origin."""
    found = result.finalist(origin)
    assert found is not None
    return found.valid


def stages(result: Result) -> list[str]:
    return list(dict.fromkeys(epoch.stage for epoch in result.history))


def recipe(folder: Path) -> RunConfig:
    """The options that the folder's model was trained with."""
    return RunConfig.parse(yaml.safe_load((folder / "retrain.yaml").read_text()))


def without_tuning(lr: float) -> Result:
    return search(None, lr, {}, tune={"trials": 0}, control=True)


OTHER = {"lr": [STILL], "rule": ["energy"], "model_args.width": [6]}


def test_the_plain_recipe_is_kept_where_it_is_better(tmp_path: Path) -> None:
    result = search(tmp_path / "run", 0.02, OTHER, control=True)
    found = result.tuned
    assert found is not None and found.finals is not None
    assert found.finals["kept"] == "plain" and found.finals["plain"] > found.finals["tuned"] and not found.taken
    assert stages(result) == ["search", "retrain", "retrain-plain", "control"]
    assert value(result, "searched") == result.models["searched"].valid == found.finals["plain"]
    assert result.model.conv1.out_channels == 4 and result.chosen.rule == "argmax"  # of the options as they were
    assert recipe(tmp_path / "run") == RunConfig.parse(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    assert Tuned.load(tmp_path / "run" / "tuned.json") == found
    assert value(result, "untouched") == value(without_tuning(0.02), "untouched")
    facts = json.loads((tmp_path / "run" / "result.json").read_text())
    assert facts["finals"] == found.finals and [each["name"] for each in facts["finalists"]] == [
        "tuned",
        "plain",
        "untouched",
    ]
    assert f"finalists, retrained in full: {found.finals_text}" in result.notes
    assert "the plain recipe is kept, also for the control" in (tmp_path / "run" / "report.html").read_text()


def test_the_tuned_recipe_is_kept_where_it_is_better(tmp_path: Path) -> None:
    result = search(tmp_path / "run", STILL, {**OTHER, "lr": [0.02]})
    finals = result.tuned and result.tuned.finals
    assert finals and finals["kept"] == "tuned" and finals["tuned"] > finals["plain"]
    assert result.valid == finals["tuned"]
    assert result.model.conv1.out_channels == 6 and result.genotype.rule == "energy"
    assert recipe(tmp_path / "run").retrain.lr == 0.02
    assert dashfx.Genotype.load(tmp_path / "run" / "genotype.json").rule == "energy"


def test_the_control_has_the_recipe_that_is_kept() -> None:
    result = search(None, STILL, {"lr": [0.02]}, control=True)
    assert result.tuned is not None and result.tuned.taken == {"lr": 0.02}
    assert value(result, "untouched") == value(without_tuning(0.02), "untouched")


def test_of_equals_the_plain_recipe_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_good(_: object, model: nn.Module, __: str) -> Retrained:
        return Retrained(model.eval(), 0.5, 0.5, 1.0, ())

    monkeypatch.setattr("dashfx.stages.finalists.training.retrain", as_good)
    result = search(None, 0.02, {"lr": [0.01]})
    assert result.tuned is not None and result.tuned.finals == {"tuned": 0.5, "plain": 0.5, "kept": "plain"}


@pytest.mark.parametrize(
    ("space", "tune"), [({"lr": [0.02], "dropout": [0.1]}, {}), ({"lr": [STILL]}, {"finalist": False})]
)
def test_nothing_is_trained_twice_without_need(space: dict[str, Any], tune: dict[str, Any]) -> None:
    result = search(None, 0.02, space, tune=tune)
    assert result.tuned is not None and result.tuned.finals is None
    assert stages(result) == ["search", "retrain"]


class Stop(Observer):
    """Ends the process's work in the middle of a stage, as Ctrl-C does."""

    def __init__(self, stage: str) -> None:
        self.where = stage, 2

    def epoch(self, facts: Epoch) -> None:
        if (facts.stage, facts.epoch) == self.where:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
        return search(tmp_path_factory.mktemp("straight") / "run", 0.02, OTHER, control=True)


@pytest.mark.parametrize("stage", ["retrain", "retrain-plain", "control"])
def test_an_interrupted_run_ends_as_one_that_was_not(stage: str, straight: Result, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", 0.02, OTHER, control=True, observer=Stop(stage))
    config = options(0.02, OTHER, control=True)
    result = dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run", resume=True)
    assert straight.tuned is not None and result.tuned is not None and straight.folder is not None
    assert (result.tuned.finals, result.verdict) == (straight.tuned.finals, straight.verdict)
    assert (result.valid, result.test, result.genotype) == (straight.valid, straight.test, straight.genotype)
    state = straight.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in result.model.state_dict().items())
    for name in ("genotype.json", "retrain.yaml"):
        assert (tmp_path / "run" / name).read_text() == (straight.folder / name).read_text()
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} == {
        p.name for p in (straight.folder / "checkpoints").iterdir()
    }


def test_a_tuned_recipe_that_diverges_only_in_full_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = retraining.fit

    def fit(learner: Learner, data: Data, **more: Any) -> Fitted:
        if more["stage"] == "retrain":
            raise DivergedError("the loss is nan")
        return fitting(learner, data, **more)

    monkeypatch.setattr(retraining, "fit", fit)
    result = search(None, 0.02, {"lr": [0.01]})
    assert result.tuned is not None and result.tuned.finals is not None
    assert result.tuned.finals["kept"] == "plain" and result.valid == result.tuned.finals["plain"]
    assert any("training diverges, so it is out" in note for note in result.notes)
    with pytest.raises(DivergedError):
        search(None, 0.02, {"lr": [0.02], "dropout": [0.1]})  # the recipe as it was has no rival
