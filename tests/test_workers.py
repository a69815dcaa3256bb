"""Whole runs by worker processes or a dask scheduler: killed, interrupted or lost, they end bit for bit the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import slow_net
import toys
from alike import assert_same
from toys import FAST

import dashfx
from dashfx.errors import ConfigError, DashfxError, TrainingError
from dashfx.run.result import Result
from dashfx.train.progress import Epoch, Observer, read_log

MODEL = f"{slow_net.__file__}:Net"
LIMIT = 300.0  # seconds
# Everything that workers do: evaluations, trials, and finalists.
CONFIG: dict[str, Any] = {
    **FAST,
    "search": {**FAST["search"], "strategy": "random-search", "autotune": False},
    "blackbox": {"evaluator": "train", "evaluations": 4, "epochs": 1, "together": 2},
    "tune": {"trials": 3, "epochs": 2, "sampler": "random", "together": 2},
    "retrain": {"epochs": 5, "batch_size": 16, "weights": "fresh"},
    "control": True,
    "random_control": True,
}


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))  # exporting takes seconds


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("user")
    np.savez(folder / "waves.npz", **toys.arrays())
    (folder / "pause").write_text("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(slow_net.PAUSE, str(folder / "pause"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield folder


def search(user: Path, out: Path, observer: Observer | None = None, **more: Any) -> Result:
    data = str(user / "waves.npz")
    return dashfx.search(MODEL, data, config=CONFIG, out=out, observer=observer or Observer(), **more)


@pytest.fixture(scope="module")
def straight(user: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
        search(user, user / "straight")
    return user / "straight"


class At(Observer):
    """Does something once, when the second epoch of the control's training is told, which workers then make slow.

    Attributes:
        logs: stage -> its epochs, as the workers' own logs had them last.
    """

    def __init__(self, user: Path, out: Path) -> None:
        self._pause, self._out, self._done = user / "pause", out, False
        self.logs: dict[str, list[int]] = {}

    def stage(self, name: str, detail: str = "") -> None:
        slow = name == "workers" and detail.startswith("2 trainings")  # the controls; their model comes alone before
        self._pause.write_text("0.4" if slow else "0")

    def epoch(self, facts: Epoch) -> None:
        for log in self._out.glob("checkpoints/*-*/log.jsonl"):
            epochs = [event["epoch"] for event in read_log(log) if event["event"] == "epoch"]
            self.logs[log.parent.name.rpartition("-")[0]] = epochs
        if (facts.stage, facts.epoch) == ("control", 1) and not self._done:
            self._done = True
            self.act()

    def act(self) -> None: ...


def servers() -> list[psutil.Process]:
    """The worker processes of this one."""
    return [child for child in psutil.Process().children() if "dashfx.workers.serve" in " ".join(child.cmdline())]


def assert_told_once(out: Path) -> None:
    """Every epoch of every finalist stands in the run's log, and none of them twice."""
    events = [event for event in read_log(out / "log.jsonl") if event["event"] == "epoch"]
    told = Counter((event["stage"], event["epoch"]) for event in events)
    finalists = {stage for stage, _ in told}
    assert {"retrain", "control", "random"} <= finalists and set(told.values()) == {1}
    assert set(told) == {(stage, epoch) for stage in finalists for epoch in range(5)}


def test_two_processes_of_which_one_is_killed_come_to_the_same(user: Path, straight: Path) -> None:
    out, pids = user / "killed", list[int]()

    class Killing(At):
        def act(self) -> None:
            pids.extend(process.pid for process in servers())
            os.kill(pids[0], signal.SIGKILL)

    killing = Killing(user, out)
    search(user, out, killing, workers=2)
    assert len(pids) == 2 and not servers()
    assert_same(out, straight)
    assert evaluations(out) == evaluations(straight)
    assert_told_once(out)
    assert_went_on(killing.logs)


def assert_went_on(logs: dict[str, list[int]]) -> None:
    """No epoch was trained twice; one that a worker died in the middle of telling of may be missing."""
    for epochs in (logs["control"], logs["random"]):
        assert sorted(set(epochs)) == epochs and epochs[0] == 0 and epochs[-1] == 4 and len(epochs) >= 4


def evaluations(out: Path) -> list[Any]:
    rows = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_a_run_that_is_interrupted_ends_its_workers_and_goes_on_without_them(user: Path, straight: Path) -> None:
    out = user / "interrupted"

    class Interrupting(At):
        def act(self) -> None:
            assert len(servers()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(user, out, Interrupting(user, out), workers="2")
    assert not servers() and list(out.glob("checkpoints/control-*/start.safetensors"))
    (user / "pause").write_text("0")
    search(user, out, resume=True)
    assert_same(out, straight)
    assert_told_once(out)


@pytest.fixture
def cluster(user: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The file of a dask scheduler with two workers, and the scheduler's process."""
    pytest.importorskip("distributed")
    file, limit = tmp_path / "scheduler.json", time.monotonic() + LIMIT
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    own = ["--scheduler-file", str(file), "--no-dashboard"]

    def started(program: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *own, *more]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path)

    scheduler = started("dask_scheduler", "--port", "0", "--host", "127.0.0.1")
    while not file.exists():
        assert time.monotonic() < limit
        time.sleep(0.1)
    workers = [started("dask_worker", "--nthreads", "1") for _ in range(2)]
    yield str(file), scheduler
    for process in (*workers, scheduler):
        process.terminate()
    for process in (*workers, scheduler):
        process.wait(LIMIT)


@pytest.mark.slow
def test_a_schedulers_workers_of_which_one_is_killed_come_to_the_same(
    user: Path, straight: Path, cluster: tuple[str, subprocess.Popen[bytes]]
) -> None:
    from distributed import Client

    out, killed = user / "dask", list[int]()
    with Client(scheduler_file=cluster[0], set_as_default=False) as client:
        client.wait_for_workers(2, LIMIT)

        class Killing(At):
            def act(self) -> None:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        killing = Killing(user, out)
        search(user, out, killing, workers=cluster[0])
        assert killed and not psutil.pid_exists(killed[0])
    assert_same(out, straight)
    assert_told_once(out)
    assert_went_on(killing.logs)


@pytest.mark.slow
def test_a_run_whose_scheduler_is_lost_can_be_resumed(
    user: Path, straight: Path, cluster: tuple[str, subprocess.Popen[bytes]]
) -> None:
    out = user / "lost"

    class Losing(At):
        def act(self) -> None:
            cluster[1].kill()

    with pytest.raises(TrainingError, match=r"scheduler at tcp://127.0.0.1:\d+ cannot be reached.*--resume") as raised:
        search(user, out, Losing(user, out), workers=cluster[0])
    assert "\n" not in str(raised.value) and (out / "checkpoints" / "control-last.pt").is_file()
    (user / "pause").write_text("0")
    search(user, out, resume=True)
    assert_same(out, straight)
    assert_told_once(out)


def test_a_scheduler_that_does_not_answer_is_one_line_before_anything_is_read(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from dashfx.workers.scheduler import Scheduler

    with pytest.raises(ConfigError, match=r"--workers dask://127.0.0.1:9: the scheduler does not answer") as raised:
        Scheduler("dask://127.0.0.1:9", timeout=1)
    assert "\n" not in str(raised.value)
    (tmp_path / "s.json").write_text('{"address": "smoke://127.0.0.1:9"}')
    with pytest.raises(ConfigError, match="does not answer"):
        Scheduler(str(tmp_path / "s.json"), timeout=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": toys.ToyNet}, "model came as Python objects"),
        ({"data": (np.zeros((30, 2, 24)), np.arange(30) % 3)}, "data came as Python objects"),
        ({"model": toys.ToyNet(), "data": {"x": [[0.0]], "y": [0]}}, "model and data came as Python objects"),
        ({"task": object()}, "task came as Python objects"),
        ({"out": None}, "give --out"),
    ],
)
def test_what_workers_cannot_make_again_is_refused_in_a_line(
    changes: dict[str, Any], said: str, user: Path, tmp_path: Path
) -> None:
    given = {"model": MODEL, "data": str(user / "waves.npz"), "out": tmp_path / "run", **changes}
    with pytest.raises(DashfxError, match=said) as raised:
        dashfx.search(**given, config=CONFIG, workers=2)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


def test_ranks_and_workers_do_not_go_together(user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes train each model together"):
        search(user, tmp_path / "run", workers=2)
