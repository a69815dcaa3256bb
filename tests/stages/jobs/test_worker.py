"""A job at its worker: what it goes on with, what it refuses, and whom it gives way to."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from jobs_done import workers_here
from toys import FAST

from dashfx.errors import DataError, RunFolderError, TrainingError
from dashfx.genotype import Genotype
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.space import Candidate
from dashfx.stages.jobs.claim import GivenUpError, claimed
from dashfx.stages.jobs.finalists import Training, train_finalist, trained_by_workers
from dashfx.stages.jobs.hand_out import swept
from dashfx.stages.jobs.job import Answer, Job, job_of
from dashfx.stages.jobs.worker import Task, done
from dashfx.stages.retrain import retrain
from dashfx.train.checkpoints import read_state
from dashfx.train.progress import Epoch, Observer, Observers

GENOTYPE = Genotype({"conv1": Candidate(5), "conv2": Candidate(3, 2)})
MODEL = f"{toys.__file__}:ToyNet"


@pytest.fixture(autouse=True)
def _modules_of_other_tests() -> Iterator[None]:
    """A worker imports changed code anew, the toys among it, whose classes other tests know by their names."""
    before = dict(sys.modules)
    yield
    sys.modules.update(before)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that has begun, whose options name its data as seen from where it was started."""
    np.savez(tmp_path / "waves.npz", **toys.arrays())
    monkeypatch.chdir(tmp_path)
    begun = prepare(MODEL, "waves.npz", config=FAST, out="run", workers=workers_here()[0])
    begun.open_folder("run")
    return begun


def job(run: Run, **changes: Any) -> Job:
    model = run.inputs.start_model()
    return replace(job_of(run, "retrain", run.config, None, model), **changes)


def nothing(_: Task) -> Answer:
    return Answer(0.5)


def test_a_job_is_made_of_plain_values(run: Run) -> None:
    made = job(run)
    assert pickle.loads(pickle.dumps(made)) == made
    values = [getattr(made, field.name) for field in fields(made)]
    assert {type(value) for value in values} <= {str, int, tuple, type(None)}
    assert b"dashfx.stages.jobs.job" in pickle.dumps(made) and b"torch" not in pickle.dumps(replace(made, versions=()))


def test_jobs_of_other_options_have_other_folders(run: Run) -> None:
    lower = run.config.model_copy(update={"retrain": run.config.retrain.model_copy(update={"lr": 1e-4})})
    model = run.inputs.start_model()
    made = [
        job_of(run, "trial-3", options, genotype, model, more=more).scratch
        for options in (run.config, lower)
        for genotype in (None, GENOTYPE)
        for more in ("", "{}")
    ]
    assert len(set(made)) == 8 and job_of(run, "trial-3", lower, None, model).scratch in made


def test_a_worker_finds_the_files_from_where_the_run_was_started(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(run)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert done(made, nothing).value == 0.5


def test_what_a_worker_trains_is_what_the_run_would_train(run: Run) -> None:
    """From the weights that it is given, by the recipe that it is given, with the Fourier path as decided."""
    threads = torch.get_num_threads()
    recipe = run.config.model_copy(update={"retrain": run.config.retrain.model_copy(update={"epochs": 3, "lr": 0.02})})
    expected = retrain(prepare(MODEL, "waves.npz", config=recipe), run.inputs.with_config(recipe).fresh_model())
    model = run.inputs.fresh_model()
    told: list[Epoch] = []

    class Listener(Observer):
        def epoch(self, facts: Epoch) -> None:
            told.append(facts)

    run.session.observer = Observers([Listener(), run.session.observer])
    after = trained_by_workers(run, [Training("retrain", recipe, None, lambda: model)])
    assert after.session.resume and not run.session.resume and torch.get_num_threads() == threads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashfx.train.fit._epoch", None)  # nothing is left to train
        found = retrain(after.with_config(recipe), run.inputs.fresh_model())
    assert (found.valid, found.judged, found.loss) == (expected.valid, expected.judged, expected.loss)
    for name, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name
    assert [(epoch.stage, epoch.epoch) for epoch in told] == [("retrain", epoch) for epoch in range(3)]
    assert run.session.checkpoints is not None
    assert [path.name for path in run.session.checkpoints.iterdir()] == ["retrain-last.pt"]
    assert "workers" in run.ledger.seconds


def test_epochs_that_a_dead_worker_has_not_told_of_are_told(run: Run) -> None:
    """A checkpoint is written before its epoch is told; and what the run's log has is not told again."""
    training = Training("retrain", run.config, None, run.inputs.fresh_model)
    trained_by_workers(run, [training])
    assert run.session.folder is not None
    lines = run.session.folder.log.read_text().splitlines(keepends=True)
    epochs = [line for line in lines if '"event": "epoch"' in line]
    assert len(epochs) == 2
    run.session.folder.log.write_text("".join(line for line in lines if line is not epochs[-1]))
    told: list[int] = []

    class Listener(Observer):
        def epoch(self, facts: Epoch) -> None:
            told.append(facts.epoch)

    again = replace(run, session=run.session.resuming())
    again.session.observer = Listener()
    after = trained_by_workers(again, [training])
    assert told == []
    retrain(after, run.inputs.fresh_model())
    assert told == [1]


def test_the_number_of_threads_is_the_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    done(job(run, threads=3), nothing)
    assert set_to == [3]


def test_a_worker_that_does_not_see_the_folder_says_so(run: Run) -> None:
    made = job(run)
    made.start.unlink()
    kind, text = done(made, nothing).error or ("", "")
    assert kind == RunFolderError.__name__ and "does not see" in text and "file system that all workers share" in text
    assert "\n" not in text


def test_a_worker_with_other_versions_says_so(run: Run) -> None:
    kind, text = done(job(run, versions=(("dashfx", "0.0.9"), ("torch", "1.0"))), nothing).error or ("", "")
    assert kind == TrainingError.__name__ and "dashfx 0.0.9 there" in text and "torch 1.0 there" in text


def test_a_worker_that_has_read_other_data_says_so(run: Run, tmp_path: Path) -> None:
    made = job(run)
    np.savez(tmp_path / "waves.npz", **toys.arrays(seed=1))
    kind, text = done(made, nothing).error or ("", "")
    assert kind == DataError.__name__ and "other data than the run (part train, valid)" in text


def test_a_worker_that_outlives_a_run_takes_files_as_they_are_now(run: Run, tmp_path: Path) -> None:
    """The same names, other data and another model: as for a user who starts over, and keeps the workers."""
    widths: list[int] = []

    def wide(task: Task) -> Answer:
        widths.append(task.model(task.run).conv1.out_channels)
        return Answer(0.5)

    source = "from neighbour import MORE\nfrom toys import ToyNet\n\ndef make(): return ToyNet({} + MORE)\n"
    for seed, width, rows in ((0, 4, 0), (1, 4, 1), (1, 6, 1), (2, 8, 2), (2, 8, 3)):
        Path("net.py").write_text(source.format(width))
        Path("neighbour.py").write_text(f"MORE = {seed}\n")
        np.savez(tmp_path / "waves.npz", **toys.arrays(seed=rows))
        theirs = dict(sys.modules)
        for name in [name for name in theirs if name == "neighbour" or name.startswith("_user_net")]:
            del sys.modules[name]  # the run is in another process than the worker
        again = prepare("net.py:make", "waves.npz", config=FAST)
        again.session.folder = run.session.folder
        made = job(again)
        sys.modules.clear()
        sys.modules.update(theirs)
        assert done(made, wide).error is None
    assert widths == [4, 5, 7, 10, 10]


def test_what_a_users_code_raises_is_one_line(run: Run) -> None:
    def fails(_: Task) -> Answer:
        raise ZeroDivisionError("in a\nmodel")

    kind, text = done(job(run), fails).error or ("", "")
    assert kind == TrainingError.__name__ and "retrain, at a worker on " in text and "ZeroDivisionError: in a;" in text


def test_an_error_of_a_training_ends_the_run_unless_it_diverges(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise DataError("no rows")

    with monkeypatch.context() as patch:
        patch.setattr("dashfx.stages.jobs.finalists.retrain", fails)
        with pytest.raises(DataError, match="no rows"):
            trained_by_workers(run, [Training("retrain", run.config, None, run.inputs.fresh_model)])
    wild = {"lr": 1e30, "optimizer": "sgd", "clip": 0, "schedule": "constant"}
    recipe = run.config.model_copy(update={"retrain": run.config.retrain.model_copy(update=wild)})
    after = trained_by_workers(run, [Training("wild", recipe, None, run.inputs.fresh_model)])
    assert after.session.resume  # and the run finds for itself that it diverges


def test_who_begins_a_job_last_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.jobs.claim.LOOK", 0.0)
    with claimed(tmp_path) as first:
        first.step("retrain", 0, 1, 9)
        (tmp_path / "owner").write_text("another worker")
        with pytest.raises(GivenUpError):
            first.step("retrain", 0, 2, 9)
    with claimed(tmp_path) as second:
        second.step("retrain", 0, 1, 9)
        (tmp_path / "owner").unlink()  # the job is done, and its folder removed
        with pytest.raises(GivenUpError):
            second.step("retrain", 0, 2, 9)


def test_a_worker_waits_for_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.jobs.claim.PATIENCE", 0.1)
    with claimed(tmp_path), pytest.raises(TrainingError, match="does not let go"), claimed(tmp_path):
        pass


def test_a_claim_is_looked_at_while_a_job_is_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.jobs.claim.LOOK", 0.0)

    def superseded(task: Task) -> Answer:
        (Path(task.job.scratch) / "owner").write_text("another worker")
        return Answer(retrain(task.run, task.model(task.run)).valid)

    answer = done(job(run), superseded)
    assert answer.value is None and answer.error is not None
    assert run.session.checkpoints is not None and not (run.session.checkpoints / "retrain-last.pt").exists()


def test_what_an_earlier_start_has_left_is_swept(run: Run) -> None:
    made = job(run)
    train_finalist(made)
    assert run.session.folder is not None and made.start.is_file()
    swept(run.session.folder)
    left = list(run.session.folder.checkpoints.iterdir())
    assert [path.name for path in left] == ["retrain-last.pt"] and len(read_state(left[0])["history"]) == 2
