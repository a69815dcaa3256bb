"""Tuning as part of a run and after it: what it draws, keeps, stops, tries again and refuses."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import TrialState
from toys import FAST, ToyNet, arrays, toy_data

import dashfx
from dashfx.cli.main import run as cli
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.tuning import RangeConfig, TuneConfig
from dashfx.data import Data
from dashfx.errors import ConfigError, DataError, RunFolderError
from dashfx.report.tuning import tuning
from dashfx.run.folder import existing_folder
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.run.run import Run
from dashfx.stages.reopen import tune_folder
from dashfx.stages.tune import trial_run, tune_run
from dashfx.train.fit import Fitted, Learner
from dashfx.train.progress import Observer
from dashfx.tune import Tuned
from dashfx.tune.space import suggest
from dashfx.tune.study import ATTEMPTS, next_trial, open_study

DATA = toy_data()
GENOTYPE = dashfx.Genotype({"conv1": dashfx.Candidate(3), "conv2": dashfx.Candidate(5)})


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds


def options(**changes: Any) -> dict[str, Any]:
    tune = {"trials": 3, "epochs": 2, "halving": 0, **changes}
    return {**FAST, "tune": tune, "retrain": {"epochs": 3, "batch_size": 16, "weights": "fresh"}}


def tuned(folder: Path | None = None, **changes: Any) -> Tuned:
    run = prepare(ToyNet, DATA, config=options(**changes))
    if folder is not None:
        run.open_folder(folder)
    return tune_run(run, GENOTYPE, lambda tried: tried.inputs.for_retraining().start_model())


@pytest.mark.parametrize(
    ("retrain", "tune", "expected"),
    [
        ({"epochs": 20}, None, (8, "auto")),
        ({"epochs": 20}, 3, (3, "auto")),
        ({"epochs": 1}, None, (1, "auto")),
        ({}, None, (200, "warmup-stable-decay")),  # 1,500 steps, three an epoch, are reckoned with
        ({}, 4, (4, "warmup-stable-decay")),
        ({"max_epochs": 10}, None, (4, "warmup-stable-decay")),
    ],
)
def test_a_trial_has_a_given_length_and_a_complete_schedule(
    retrain: dict[str, Any], tune: int | None, expected: tuple[int, str]
) -> None:
    config = {**FAST, "tune": {"trials": 2, "epochs": tune}, "retrain": {"batch_size": 16, **retrain}}
    made = trial_run(prepare(ToyNet, DATA, config=config), {"lr": 0.5}).config.retrain
    assert (made.epochs, made.schedule) == expected and made.lr == 0.5


def drawn(found: Tuned) -> list[tuple[Any, ...]]:
    return [(*trial.values.values(), trial.metric) for trial in found.trials if trial.state != "failed"]


class Kill(Observer):
    """Ends the process's work in a trial, as Ctrl-C does."""

    def __init__(self, trial: int) -> None:
        self.left = trial

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        if stage == "tune" and (epoch, step) == (0, 1):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt


def test_a_run_is_tuned_and_trained_with_the_best_options(tmp_path: Path) -> None:
    space = {"lr": [0.02, 1e-9], "model_args.width": [6], "rule": ["argmax", "energy"], "ema": [0, 0.5]}
    result: Result = dashfx.search(
        ToyNet, DATA, config=options(space=space, trials=3, finalist=False), out=tmp_path / "run"
    )
    found = result.tuned
    assert found is not None and len(found.trials) == 3
    best = max(trial.metric or 0 for trial in found.trials)
    assert found.metric == best == found.trials[found.number].metric
    assert result.model.conv1.out_channels == 6 and result.genotype.rule == found.values["rule"]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"tuned.json", "study.journal", "retrain.yaml"} <= names
    used = (tmp_path / "run" / "retrain.yaml").read_text()
    assert RunConfig.parse(yaml.safe_load(used)).retrain.lr == found.values["lr"]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["tuned"] == dict(found.values)
    assert Tuned.load(tmp_path / "run" / "tuned.json") == found
    page = tuning(found, result.task)
    assert "3 trials" in str(page) and "model_args.width" in str(page) and not str(tuning(None, result.task))


def test_every_trial_has_its_own_augmentation_and_the_model_that_of_the_best(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[str, bool]] = []
    fitting = dashfx.train.fit.fit

    def watched(learner: Learner, data: Data, **more: Any) -> Fitted:
        seen.append((more["stage"], data.augment is not None))
        return fitting(learner, data, **more)

    monkeypatch.setattr("dashfx.stages.jobs.trials.fit", watched)
    monkeypatch.setattr("dashfx.stages.retrain.fit", watched)
    space = {"augment": [None, "jitter"]}
    chosen = options(space=space, trials=2, sampler="grid", finalist=False)
    result = dashfx.search(ToyNet, DATA, config=chosen, out=tmp_path / "run")
    assert result.tuned is not None and seen[0] == ("search", False)
    trials = [trial.values["augment"] == "jitter" for trial in result.tuned.trials]
    assert sorted(trials) == [False, True] and seen[1:3] == [("tune", augmented) for augmented in trials]
    assert seen[3] == ("retrain", result.tuned.values["augment"] == "jitter")


def test_an_augmentation_that_is_not_there_is_refused_before_the_first_trial() -> None:
    with pytest.raises(DataError, match=r"no augmentation 'jiter'.*did you mean 'jitter'"):
        tuned(space={"augment": ["jiter"]})


def test_the_test_part_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare(ToyNet, DATA, config=options(trials=2))
    object.__setattr__(run.inputs.data, "test", None)
    assert len(tune_run(run, GENOTYPE, lambda tried: tried.inputs.start_model()).trials) == 2


def test_the_first_trial_is_the_run_as_it_is_and_the_others_are_drawn_by_the_seed() -> None:
    first, again = tuned(), tuned()
    assert first.trials[0].values["lr"] == 3e-3 and first.trials[0].values["dropout"] == 0.1
    assert drawn(first) == drawn(again) and len({trial.values["lr"] for trial in first.trials}) == 3


def test_a_killed_trial_is_taken_up_and_all_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    config = options()
    run = prepare(ToyNet, DATA, config=config, observer=Kill(1))
    run.open_folder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        tune_run(run, GENOTYPE, lambda tried: tried.inputs.start_model())
    journal = tmp_path / "run" / "study.journal"
    journal.write_bytes(journal.read_bytes() + b'{"half a')
    continued = tuned(tmp_path / "run")
    assert [replace(t, seconds=0.0) for t in continued.trials] == [replace(t, seconds=0.0) for t in tuned().trials]


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("moment", ["claim", "values", "trained"])
def test_a_kill_at_any_moment_of_a_trial_changes_nothing(
    moment: str, together: int, sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainings are stand-ins, which give a number for the rate: the study is what is looked at."""
    space: dict[str, Any] = {"space": {"lr": [0.1, 0.2, 0.3], "momentum": [0.5]}} if sampler == "grid" else {}
    space["together"] = together
    left = 99

    def trained(tried: Run, model: Any, trial: optuna.Trial) -> float:
        return tried.config.retrain.lr + tried.config.retrain.momentum

    def killing(function: Any) -> Any:
        def killed(*args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise SystemExit("killed")
            return function(*args, **more)

        return killed

    monkeypatch.setattr("dashfx.stages.tune.trial_value", trained)
    straight = tuned(tmp_path / "straight", sampler=sampler, **space)
    place = {"claim": "next_trial", "values": "suggest", "trained": "end_trial"}[moment]
    monkeypatch.setattr(f"dashfx.stages.tune.{place}", killing(getattr(dashfx.stages.tune, place)))
    if moment == "claim":
        monkeypatch.setattr("dashfx.tune.study._this_process", killing(dashfx.tune.study._this_process))
    left, killed = (4 if moment == "claim" else 2), 0
    while killed < 3:
        try:
            found = tuned(tmp_path / "run", sampler=sampler, **space)
            break
        except SystemExit:
            killed, left = killed + 1, 99
    assert killed == 1
    assert [replace(t, seconds=0.0) for t in found.trials] == [replace(t, seconds=0.0) for t in straight.trials]


NOBODY = 2**22 + 1  # beyond the numbers of processes


@pytest.mark.parametrize(
    ("worker", "dead"),
    [
        (["elsewhere", NOBODY], False),
        ([socket.gethostname(), NOBODY], True),
        ([socket.gethostname(), NOBODY, 1.0], True),
        ([socket.gethostname(), os.getppid()], False),
        ([socket.gethostname(), os.getppid(), 1.0], True),  # another process has the number by now
        (None, True),  # killed before it was claimed, in an earlier version
    ],
)
def test_a_trial_of_a_dead_process_is_taken_up_and_that_of_another_machine_is_not(
    worker: list[Any] | None, dead: bool, tmp_path: Path
) -> None:
    tune, space = TuneConfig(trials=3, sampler="random"), {"lr": RangeConfig(low=0.1, high=1.0)}
    study = open_study(tune, "s", tmp_path / "study.journal", {"space": 1}, True)
    trial = study.ask()
    drawn = trial.suggest_float("lr", 0.1, 1.0)
    if worker:
        trial.set_user_attr("worker", worker)
    again = next_trial(study, tune, space, 0, None)
    assert again is not None and (again.number == 0) == dead
    assert not dead or suggest(again, space) == {"lr": drawn}


def test_a_trial_that_is_killed_again_and_again_is_given_up(tmp_path: Path) -> None:
    tune, space = TuneConfig(trials=2, sampler="random"), {"lr": RangeConfig(low=0.1, high=1.0)}
    study = open_study(tune, "s", tmp_path / "study.journal", {"space": 1}, True)
    taken = [next_trial(study, tune, space, 0, None) for _ in range(ATTEMPTS + 1)]
    assert [trial.number for trial in taken if trial] == [0] * ATTEMPTS + [1]
    assert study.trials[0].state == TrialState.FAIL


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    for content in (b"\xff\xfe\n", b'{"op_code": 99}\n{}\n', b"[]\n[1]\n", b"[" * 9999 + b"\n\n"):
        (tmp_path / "study.journal").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"study\.journal is damaged .*; remove it to tune anew") as raised:
            open_study(TuneConfig(trials=2), "s", tmp_path / "study.journal", {"space": 1}, True)
        assert "\n" not in str(raised.value)


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"SQLite format 3\0" + b"\1" * 4000)
    with pytest.raises(ConfigError, match=r"cannot be opened: .*; check tune\.storage") as raised:
        open_study(TuneConfig(trials=2, storage=f"sqlite:///{tmp_path / 's.db'}"), "s", None, {"space": 1}, True)
    assert "\n" not in str(raised.value)


def test_a_study_of_another_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    tuned(tmp_path / "run", trials=1)
    assert len(tuned(tmp_path / "run", trials=2).trials) == 2  # carried on
    with pytest.raises(RunFolderError, match=r"space.lr: .* there, \[0.1\] now") as raised:
        tuned(tmp_path / "run", trials=2, space={"lr": [0.1]})
    assert "\n" not in str(raised.value)
    with pytest.raises(RunFolderError, match=r"retrain.epochs: 2 there, 1 now"):
        tuned(tmp_path / "run", epochs=1)


def test_a_grid_tries_every_combination_once(tmp_path: Path) -> None:
    space = {"lr": [0.1, 0.01], "momentum": [0.5, 0.9]}
    found = tuned(sampler="grid", trials=9, space=space, epochs=1)
    assert len(found.trials) == 4 and len({tuple(trial.values.values()) for trial in found.trials}) == 4
    own = RetrainConfig()  # the options as they are, which are first elsewhere, are in this grid
    found = tuned(sampler="grid", trials=9, space={"momentum": [own.momentum, 0.5], "clip": [0.5, own.clip]}, epochs=1)
    assert len(found.trials) == 4 and len({tuple(trial.values.values()) for trial in found.trials}) == 4


def test_hopeless_trials_stop_early_and_diverged_ones_do_not_win() -> None:
    space = {"lr": [0.02, 1e-12], "optimizer": ["adamw"]}
    found = tuned(trials=5, epochs=9, halving=3, sampler="random", space=space)
    stopped = [trial for trial in found.trials if trial.state == "pruned"]
    assert stopped and all(trial.epochs in (1, 3) for trial in stopped)
    wild: dict[str, Any] = {"lr": [1e30, 0.01], "optimizer": ["sgd"], "clip": [0]}
    found = tuned(trials=4, sampler="grid", space=wild)
    assert found.values["lr"] == 0.01 and sorted(trial.state for trial in found.trials) == ["complete", "pruned"]


def test_minutes_are_a_limit_too() -> None:
    assert len(tuned(trials=0, minutes=1e-6).trials) == 1


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    source = Path(__file__).parents[1] / "toys.py"
    (folder / "toy_models.py").write_text(source.read_text())
    np.savez(folder / "waves.npz", **arrays())
    config = {**FAST, "retrain": {"epochs": 2, "batch_size": 16}}
    model, data = f"{folder / 'toy_models.py'}:ToyNet", str(folder / "waves.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
        dashfx.search(model, data, config=config, out=folder / "run")
    return folder / "run"


def test_an_earlier_run_is_tuned_and_retrained(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = 'tune.space={"lr": [0.01, 0.02]}'
    assert cli(["tune", str(searched), "--trials", "2", "--set", space, "tune.epochs=1"]) == 0
    said = capsys.readouterr().out
    assert "best, on the validation part: lr" in said and "dashfx retrain" in said
    best = Tuned.load(searched / "tuned.json").values["lr"]
    assert cli(["retrain", str(searched), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert f"lr: {best}" in (tmp_path / "again" / "config.yaml").read_text()
    assert cli(["show", str(searched)]) == 0 and "trials, by the metric" in capsys.readouterr().out
    assert cli(["tune", str(searched), "--trials", "3"]) == 2
    assert "holds a study of something else" in capsys.readouterr().err
    assert cli(["tune", str(searched), "--storage", "nosuch://x"]) == 2
    assert "cannot be opened" in capsys.readouterr().err
    assert cli(["tune", str(searched), "--set", 'tune.space={"rule": ["energy"]}']) == 2
    assert "give it to dashfx search --tune" in capsys.readouterr().err


def test_a_recipe_that_lost_to_the_plain_one_is_not_taken(searched: Path, tmp_path: Path) -> None:
    _, before = existing_folder(searched)
    lost = Tuned({"lr": 0.5}, 0.9, 0, (), {"tuned": 0.4, "plain": 0.6, "kept": "plain"})
    folder = shutil.copytree(searched, tmp_path / "run")
    (folder / "tuned.json").write_text(lost.to_json())
    (folder / "study.journal").unlink(missing_ok=True)  # of another test
    assert cli(["retrain", str(folder), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert f"  lr: {before.retrain.lr}" in (tmp_path / "again" / "config.yaml").read_text()
    tune = TuneConfig(trials=1, epochs=1, space={"lr": (0.5,)}, sampler="grid")
    found = tune_folder(folder, before.model_copy(update={"tune": tune}))
    assert found.finals == lost.finals == Tuned.load(folder / "tuned.json").finals  # the best still is what lost
    (folder / "study.journal").unlink()
    tune = tune.model_copy(update={"space": {"lr": (0.25,)}})
    assert tune_folder(folder, before.model_copy(update={"tune": tune})).finals is None


@pytest.mark.slow
def test_a_database_keeps_a_study_too(searched: Path, tmp_path: Path) -> None:
    _, before = existing_folder(searched)
    tune = {"trials": 1, "epochs": 1, "storage": f"sqlite:///{tmp_path / 'studies.db'}"}
    found = tune_folder(searched, before.model_copy(update={"tune": TuneConfig(**tune)}))
    assert len(found.trials) == 1 and (tmp_path / "studies.db").is_file()
