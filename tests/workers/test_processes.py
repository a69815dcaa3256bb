"""Worker processes: answers in order, a dead process replaced, nothing left behind, and errors as they were raised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from jobs_done import Private, asleep, broken, killed, killed_once, refused, squared

from dashfx.errors import DataError, TrainingError
from dashfx.workers.processes import ATTEMPTS, Processes

LIMIT = 120.0  # seconds


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # else each process asks torch, whose import takes seconds


def waited(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid_in(path: Path) -> int:
    waited(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_answers_come_in_the_order_of_the_jobs_from_other_processes() -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    with Processes(2) as workers:
        answers = list(workers.map(squared, range(5), look))
        again = list(workers.map(squared, [7]))
    assert [answer for answer, _ in answers] == [0, 1, 4, 9, 16] and again[0][0] == 49
    pids = {pid for _, pid in answers}
    assert os.getpid() not in pids and len(pids) <= 2 and again[0][1] in pids and looks
    assert all(map(gone, pids))


def test_a_process_that_is_killed_is_replaced_and_its_job_is_done_again(tmp_path: Path) -> None:
    paths = [str(tmp_path / "first"), "", str(tmp_path / "third")]
    with Processes(2) as workers:
        assert list(workers.map(killed_once, paths)) == paths


def test_a_job_that_kills_every_process_is_one_line() -> None:
    with Processes(1) as workers, pytest.raises(TrainingError, match=f"{ATTEMPTS} worker processes in a row") as raised:
        list(workers.map(killed, [1]))
    assert "--resume" in str(raised.value) and "\n" not in str(raised.value)


def test_an_error_comes_back_as_it_was_raised() -> None:
    with Processes(1) as workers:
        with pytest.raises(DataError, match="waves: no rows"):
            list(workers.map(refused, ["waves"]))
        assert next(iter(workers.map(squared, [3])))[0] == 9  # the process has survived it


def test_an_error_that_no_pickle_brings_back_is_told() -> None:
    with Processes(1) as workers, pytest.raises(TrainingError, match=f"{Private.__name__}: of its own"):
        list(workers.map(broken, [1]))


def test_who_is_interrupted_ends_its_processes_in_the_middle_of_a_job(tmp_path: Path) -> None:
    pids = []

    def look() -> None:
        pids.append(pid_in(tmp_path / "pid"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Processes(2) as workers:
        list(workers.map(asleep, [str(tmp_path / "pid")] * 3, look))
    assert pids and gone(pids[0])


PROGRAM = """
from jobs_done import asleep
from dashfx.workers.processes import Processes
Processes(1).map(asleep, [{path!r}])
"""


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # a program without a guard: it must not run again in its workers
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM.format(path=str(path))], env=environment)
    worker = pid_in(path)
    assert not gone(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait(LIMIT)
    waited(lambda: gone(worker))
