"""Trials and evaluations in batches: the same at workers as in the run's own process, whoever is killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import toys
from jobs_done import workers_here
from optuna.trial import TrialState
from toys import FAST

import dashfx
from dashfx.run.prepare import prepare
from dashfx.stages.jobs.trials import RUNG, pruner_of, rehearsal, rungs_before, rungs_of
from dashfx.stages.jobs.values import trained_values
from dashfx.stages.tune import _asked, _study, check_space, tune_run
from dashfx.train.fit import fit
from dashfx.train.progress import Epoch, Observer
from dashfx.tune import Tuned
from dashfx.tune.study import end_trial

MODEL = f"{toys.__file__}:ToyNet"
GENOTYPE = dashfx.Genotype({"conv1": dashfx.Candidate(3), "conv2": dashfx.Candidate(5)})
OTHER = dashfx.Genotype({"conv1": dashfx.Candidate(5, 2), "conv2": dashfx.Candidate(3)})


@pytest.fixture
def waves(tmp_path: Path) -> str:
    np.savez(tmp_path / "waves.npz", **toys.arrays())
    return str(tmp_path / "waves.npz")


def options(**tune: Any) -> dict[str, Any]:
    retrain = {"epochs": 3, "batch_size": 16, "weights": "fresh"}
    space = {"lr": [0.02, 1e-12, 0.01, 1e-9], "augment": [None, "jitter"], "model_args.width": [4, 6]}
    study = {"trials": 6, "epochs": 3, "halving": 3, "sampler": "random", "space": space, **tune}
    return {**FAST, "retrain": retrain, "tune": study}


def tuned(waves: str, out: Path, at_workers: bool, **tune: Any) -> tuple[Tuned, list[Any]]:
    workers, jobs = workers_here()
    theirs = workers if at_workers else None
    run = prepare(MODEL, waves, config=options(**tune), out=out, workers=theirs, resume=out.exists())
    run.open_folder(out)

    def start(tried: Any) -> Any:
        return dashfx.stages.retrain.specialised(tried.silent().for_retraining(), GENOTYPE)

    found = tune_run(run, GENOTYPE, start)
    assert [path for path in (out / "checkpoints").iterdir()] == []
    return replace(found, trials=tuple(replace(trial, seconds=0.0) for trial in found.trials)), jobs


def test_workers_come_to_the_same_study(waves: str, tmp_path: Path) -> None:
    expected, _ = tuned(waves, tmp_path / "own", False, together=3)
    found, jobs = tuned(waves, tmp_path / "theirs", True, together=3)
    assert found == expected and len(jobs) == 6
    assert {trial.state for trial in found.trials} == {"complete", "pruned"}
    assert [trial.state for trial in found.trials[:3]] == ["complete"] * 3  # none of a batch sees another of it


def test_one_at_a_time_is_the_same_at_a_worker_too(waves: str, tmp_path: Path) -> None:
    expected, _ = tuned(waves, tmp_path / "own", False)
    found, jobs = tuned(waves, tmp_path / "theirs", True)
    assert found == expected and len(jobs) == 6 and "pruned" in {trial.state for trial in found.trials}


def test_a_batch_is_drawn_before_any_of_it_has_ended_and_ends_where_it_would_have(waves: str, tmp_path: Path) -> None:
    run = prepare(MODEL, waves, config=options(together=4, trials=7), out=tmp_path / "run")
    run.open_folder(tmp_path / "run")
    space = check_space(run)
    study = _study(run, GENOTYPE, space)
    batch = _asked(study, space, run)
    assert [trial.number for trial, _ in batch] == [0, 1, 2, 3]
    for trial, _ in batch[:2]:
        end_trial(study, trial, 0.5, 1.0)
    again = _asked(study, space, run)  # of a run that was killed here
    assert [trial.number for trial, _ in again] == [2, 3]
    assert [values for _, values in again] == [values for _, values in batch[2:]]
    for trial, _ in again:
        end_trial(study, trial, 0.5, 1.0)
    assert [trial.number for trial, _ in _asked(study, space, run)] == [4, 5, 6]


def test_a_rehearsal_decides_as_the_study_would() -> None:
    """Optuna's own rule, over trials that are over."""
    generator = np.random.default_rng(0)
    study = optuna.create_study(direction="maximize", pruner=pruner_of(3, 9), sampler=optuna.samplers.RandomSampler(0))
    stopped = 0
    for _ in range(30):
        trial = study.ask()
        earlier = [rungs_of(each) for each in study.get_trials() if each.number < trial.number]
        other = rehearsal(earlier, 3, 9, True)
        state = TrialState.COMPLETE
        for step, value in enumerate(generator.random(9), 1):
            trial.report(value, step)
            other.report(value, step)
            expected = trial.should_prune()
            assert other.should_prune() == expected
            if expected:
                state, stopped = TrialState.PRUNED, stopped + 1
                break
        assert rungs_of(other.storage.get_trial(other._trial_id)) == rungs_of(study.get_trials()[trial.number])
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    assert 5 < stopped < 30


def test_a_trial_is_judged_by_earlier_batches_only() -> None:
    study = optuna.create_study()
    for number in range(7):
        study.add_trial(optuna.trial.create_trial(state=TrialState.PRUNED, system_attrs={f"{RUNG}0": float(number)}))
    assert [each[f"{RUNG}0"] for each in rungs_before(study, 5, 3)] == [0.0, 1.0, 2.0]
    assert [each[f"{RUNG}0"] for each in rungs_before(study, 6, 3)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert rungs_before(study, 2, 3) == [] and len(rungs_before(study, 5, 1)) == 5


class Killed(BaseException):
    """The end of a worker, in the middle of a training."""


def test_a_trial_goes_on_where_a_dead_worker_has_left_it(
    waves: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = tuned(waves, tmp_path / "own", False, together=3, halving=0)
    fitting, first_epochs, left = fit, list[int](), 4

    class Deadly(Observer):
        def __init__(self, inner: Observer) -> None:
            self.inner = inner

        def epoch(self, facts: Epoch) -> None:
            nonlocal left
            first_epochs.append(facts.epoch)
            self.inner.epoch(facts)
            left -= 1
            if left == 0:
                raise Killed

    def watched(*args: Any, observer: Observer, **more: Any) -> Any:
        return fitting(*args, observer=Deadly(observer), **more)

    monkeypatch.setattr("dashfx.stages.jobs.trials.fit", watched)
    with pytest.raises(Killed):
        tuned(waves, tmp_path / "theirs", True, together=3, halving=0)
    assert first_epochs == [0, 1, 2, 0]
    first_epochs.clear()
    found, _ = tuned(waves, tmp_path / "theirs", True, together=3, halving=0)
    assert found == expected
    assert first_epochs[:2] == [1, 2]  # the first trial is at its end, the second goes on


def test_workers_value_genotypes_alike(waves: str, tmp_path: Path) -> None:
    workers, jobs = workers_here()
    own = prepare(MODEL, waves, config=FAST)
    run = prepare(MODEL, waves, config=FAST, out=tmp_path / "run", workers=workers)
    run.open_folder(tmp_path / "run")
    short = run.config.retrain.model_copy(update={"epochs": 2, "lr": 0.02})
    wild = short.model_copy(update={"lr": 1e30, "optimizer": "sgd", "clip": 0.0, "schedule": "constant"})
    values = trained_values(run, [GENOTYPE, OTHER], short)
    assert values == trained_values(own, [GENOTYPE, OTHER], short) and len(jobs) == 2
    assert np.isnan(trained_values(run, [GENOTYPE], wild)).all() and np.isnan(trained_values(own, [OTHER], wild)).all()
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert any("blackbox.together=1" in note for note in run.ledger.notes)
