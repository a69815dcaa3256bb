"""A budget of wall time: how it is divided, what is measured, and that what was decided stays decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.pipeline import retrain_genotype
from dashfx.run.folder import make_folder
from dashfx.run.prepare import prepare
from dashfx.space import Candidate
from dashfx.stages.budget import (
    CLOSING,
    Decision,
    StageCost,
    _Times,
    budgeted,
    decide,
    divided,
    epoch_seconds,
    kept_back,
    measured,
)
from dashfx.stages.rewrite import rewritten

DATA = toy_data()
STAGES = {"search": StageCost(2.0, 30), "tune": StageCost(6.0, 10), "retrain": StageCost(1.0, 60)}


def config(**changes: Any) -> RunConfig:
    return RunConfig.parse({**FAST, **changes})


@pytest.mark.parametrize("budget", ["1m", "2m", "300s", "1h", "1h30m"])
def test_the_parts_fit_into_the_whole_and_keep_their_proportions(budget: str) -> None:
    found = decide(config(budget=budget), STAGES, spent=10)
    total = sum(stage.seconds * found.epochs[name] for name, stage in STAGES.items())
    room = found.budget - kept_back(found.budget) - 10
    assert room - sum(stage.seconds for stage in STAGES.values()) < total <= room and min(found.epochs.values()) >= 1
    if budget == "1h":
        assert found.epochs["retrain"] == pytest.approx(2 * found.epochs["search"], abs=2)


def test_a_stage_keeps_one_epoch_and_the_others_share_the_rest() -> None:
    assert divided(9.0, STAGES) == {"search": 1, "tune": 1, "retrain": 1}
    assert divided(20.0, {"a": StageCost(5.0, 1), "b": StageCost(1.0, 99)}) == {"a": 1, "b": 15}


def test_a_short_budget_leaves_time_to_export() -> None:
    found = decide(config(budget="40s"), {"retrain": StageCost(1.0, 10)}, spent=2)
    assert found.epochs == {"retrain": 40 - 2 - CLOSING} and kept_back(3600) == 360


def test_a_budget_that_is_too_small_names_the_smallest_that_works() -> None:
    with pytest.raises(ConfigError, match=r"one epoch of each stage \(search, tune, retrain\) does not fit") as raised:
        decide(config(budget="20s"), STAGES, spent=10)
    assert "\n" not in str(raised.value)
    smallest = str(raised.value).split()[-1]
    assert set(decide(config(budget=smallest), STAGES, spent=10).epochs) == set(STAGES)


def test_tuning_by_minutes_is_paid_first() -> None:
    tuned = config(budget="2m", tune={"minutes": 1.5})
    assert decide(tuned, {"retrain": StageCost(1.0, 10)}, 0).epochs == {"retrain": int(0.9 * 120) - 90}


def test_trials_that_are_measured_are_not_paid_by_the_minute_as_well() -> None:
    plain, both = (config(budget="10m", tune={"trials": 3, **more}) for more in ({}, {"minutes": 5}))
    assert decide(both, STAGES, 0).epochs == decide(plain, STAGES, 0).epochs


def test_what_was_decided_before_is_kept(tmp_path: Path) -> None:
    def epochs() -> tuple[int, int, int | None]:
        run = prepare(ToyNet, DATA, config=config(budget="10m", tune={"trials": 2}))
        run.open_folder(tmp_path / "run")
        run = budgeted(run, rewritten(run)[1])
        return run.config.search.epochs, run.config.retrain.epochs, run.config.tune.epochs

    first = epochs()
    assert first[0] > 3 and first[1] > 2 and first[2] is not None
    facts = json.loads((tmp_path / "run" / "budget.json").read_text())
    assert facts["budget"] == 600 and set(facts["measured"]) == {"search", "tune", "retrain"}
    assert epochs() == first


def test_the_plain_recipe_is_one_more_model_to_retrain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)

    def models(**changes: Any) -> float:
        run = prepare(ToyNet, DATA, config=config(**changes))
        return measured(run, rewritten(run)[1], None)["retrain"].seconds / 25

    assert models(tune={"trials": 2}) == models(tune={"minutes": 1}) == 2 and models() == 1
    assert models(tune={"trials": 2, "finalist": False}) == 1 and models(tune={"trials": 2}, control=True) == 3
    # One more training for the distilled model, with a forward pass of each of three teachers: a step in all.
    assert models(control=True, ensemble={"count": 3, "distil": True}) == 4
    assert models(control=True, ensemble={"count": 3}) == 2


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "another run beside it"])
@pytest.mark.parametrize("again", [False, True], ids=["search", "retraining"])
def test_a_refused_budget_leaves_nothing(
    before: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)
    out = tmp_path / "runs" / "run"
    if before == "an empty folder":
        out.mkdir(parents=True)
    if before == "another run beside it":
        monkeypatch.setattr("dashfx.stages.budget.measured", beside(out.parent / "other"))
    with pytest.raises(ConfigError, match="one epoch of each stage"):
        if again:
            genotype = Genotype({"conv1": Candidate(5)})
            retrain_genotype(ToyNet, DATA, genotype, config=config(budget="30s"), out=out)
        else:
            dashfx.search(ToyNet, DATA, config=config(budget="30s"), out=out)
    left = {"nothing": [], "an empty folder": ["runs", "runs/run"], "another run beside it": ["runs", "runs/other"]}
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == left[before]


def beside(folder: Path) -> Callable[..., dict[str, StageCost]]:
    """A measurement during which somebody begins another run in that folder."""

    def begun(*args: Any) -> dict[str, StageCost]:
        folder.mkdir()
        return measured(*args)

    return begun


def test_a_refused_budget_leaves_a_run_that_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)
    options, out = config(budget="30s"), tmp_path / "run"
    make_folder(out, options)
    (out / "mine.txt").write_text("notes")
    with pytest.raises(ConfigError, match="one epoch of each stage"):
        dashfx.search(ToyNet, DATA, config=options, out=out, resume=True)
    assert {"config.yaml", "env.json", "mine.txt", "checkpoints"} <= {path.name for path in out.iterdir()}


def test_a_run_in_a_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)
    result = dashfx.search(ToyNet, DATA, config=config(budget="6m", control=True), out=tmp_path / "run")
    stages = [epoch.stage for epoch in result.history]
    assert (stages.count("search"), stages.count("retrain"), stages.count("control")) == (5, 3, 3)
    assert any(note.startswith("budget of 360 s") for note in result.notes) and "budget" in result.seconds


@pytest.mark.parametrize("epochs", [2, "auto"])
def test_a_ladder_and_a_longer_untouched_model_keep_the_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int | str
) -> None:
    """Its widest rung costs more than the mean candidate, so equal training is more than the budget has."""
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)
    changes: dict[str, Any] = {"space": {"kernels": [3, 5, 19], "dilations": [1]}, "finalists": {"longer": True}}
    changes |= {"retrain": {"epochs": epochs, "batch_size": 16}, "search": {"strategy": "ladder:multiscale=false"}}
    options = config(budget="50m", control=True, **changes)
    result = dashfx.search(ToyNet, DATA, config=options, out=tmp_path / "run")
    assert 0.5 * 3000 < 25 * len(result.history) < 3000
    assert any("control-longer: equal training is" in note for note in result.notes)
    searched, longer = result.finalist("searched"), result.finalist("longer")
    assert searched and longer and searched.cost and longer.cost and 1 < longer.cost < searched.cost
    assert f"{searched.cost:.2f} and {longer.cost:.2f} times" in result.verdict


@pytest.mark.parametrize("last", ["refit", "distil"])
def test_the_last_training_of_a_longer_model_that_is_kept_is_paid_for(
    monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)

    def models(longer: bool, wanted: bool) -> float:
        more = {"finalists": {"longer": longer, "refit": wanted and last == "refit"}}
        more |= {"ensemble": {"count": 3, "distil": wanted and last == "distil"}}
        run = prepare(ToyNet, DATA, config=config(control=True, **more))
        return measured(run, rewritten(run)[1], None)["retrain"].seconds / 25

    of_longer, passes = models(True, False) - models(False, False), 2 if last == "distil" else 1
    assert of_longer > 1 and models(False, True) - models(False, False) == pytest.approx(passes)
    assert models(True, True) - models(True, False) == pytest.approx(passes * of_longer)


def test_a_retraining_that_validation_ends_has_at_most_what_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The search keeps one epoch of 25 s, as 500 are reckoned with for retraining; the rest is 5 epochs of 50 s."""
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 25.0)
    wider = {"kernels": [5, 7], "dilations": [1], "keep_original": False}  # so that there is a control
    options = config(budget="6m", control=True, retrain={"batch_size": 16}, space=wider)
    result = dashfx.search(ToyNet, DATA, config=options, out=tmp_path / "run")
    for name in ("retrain", "control"):
        epochs = [epoch for epoch in result.history if epoch.stage == name]
        assert len(epochs) == 5 and epochs[-1].lr < epochs[2].lr  # a complete schedule
    assert [epoch.stage for epoch in result.history].count("search") == 1
    assert any("retrain at most 5 epochs of 50 s" in note for note in result.notes)
    kept = RunConfig.parse(yaml.safe_load((tmp_path / "run" / "retrain.yaml").read_text(encoding="utf-8"))).retrain
    assert (kept.epochs, kept.max_epochs) == ("auto", 5)


def test_a_budget_does_not_raise_what_a_user_has_set() -> None:
    decision = Decision(600.0, 1.0, {"retrain": 2.0, "search": 1.0}, {"retrain": 40, "search": 9})
    for most, kept in ((None, 40), (30, 30), (50, 40)):
        applied = decision.applied(config(retrain={"max_epochs": most}))
        assert (applied.retrain.epochs, applied.retrain.max_epochs, applied.search.epochs) == ("auto", kept, 9)
    applied = decision.applied(config(retrain={"epochs": 7}))
    assert (applied.retrain.epochs, applied.retrain.max_epochs) == (40, None)
    assert decision.said(config(retrain={"epochs": 7})).endswith("retrain 40 epochs of 2 s, search 9 epochs of 1 s")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": "0.01s"}, "--budget 0.01s: one epoch of each stage"),
        ({"budget": "soon"}, "write a wall time such as 2h"),
        ({"budget": "1h", "search": {"strategy": "evolution"}}, "set blackbox.evaluations"),
    ],
)
def test_bad_budgets(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        dashfx.search(ToyNet, DATA, config={**FAST, **changes})
    assert "\n" not in str(raised.value)


def test_every_model_is_measured_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The searched model's epoch takes 20 s here and the untouched one's 5."""

    def seconds(run: Any, make: Any, *_: Any) -> float:
        kernels = [m.kernel_size for m in make({}).model.modules() if hasattr(m, "kernel_size")]
        return 5.0 if set(kernels) == {(3,)} else 20.0

    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", seconds)
    monkeypatch.setattr("dashfx.stages.budget.RandomChoice", lambda _: Fixed())
    for control, both in ((True, 20 + 5), (False, 20)):
        run = prepare(ToyNet, DATA, config=config(control=control, budget="1h"))
        assert measured(run, rewritten(run)[1], None)["retrain"].seconds == both


class Fixed:
    def select(self, sites: Any) -> Genotype:
        return Genotype({name: Candidate(5) for name in sites})


def test_a_search_that_cannot_fit_is_refused_before_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def seconds(*_: Any) -> float:
        asked.append("epoch")
        return 500.0

    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", seconds)
    run = prepare(ToyNet, DATA, config=config(budget="180s", control=True))
    with pytest.raises(ConfigError, match=r"one of search takes 500 s, .*give at least 1\d{3}s") as raised:
        measured(run, rewritten(run)[1], None)
    assert asked == ["epoch"] and "\n" not in str(raised.value)


@pytest.mark.parametrize(("limit", "steps"), [(1e9, [1, 6]), (30.0, [1, 3]), (5.0, [1])])
def test_a_measurement_takes_as_many_steps_as_its_share_allows(
    limit: float, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def timed(run: Any, make: Any, options: Any, steps: int) -> _Times:
        seen.append(steps)
        return _Times(3.0, 30.0)

    monkeypatch.setattr("dashfx.stages.budget._timed", timed)
    run = prepare(ToyNet, DATA, config=config())
    assert epoch_seconds(run, lambda _: None, run.config.retrain, limit) == 30 and seen == steps  # type: ignore[arg-type,return-value]


def test_every_search_of_several_seeds_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.budget.epoch_seconds", lambda *_: 2.0)

    def seconds(seeds: int) -> float:
        run = prepare(ToyNet, DATA, config=config(search={**FAST["search"], "seeds": seeds, "autotune": False}))
        return measured(run, rewritten(run)[1], None)["search"].seconds

    assert seconds(3) == 3 * seconds(1) == 6.0
