"""One process writes into a run's folder at a time; a killed one's lock is free, and the refused learn who holds it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ranks import started

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.run.files.lock import check_free, hold, release, releasing
from dashfx.run.folder import check_folder, make_folder
from dashfx.run.session import Session
from dashfx.train.progress import QUIET

CONFIG = RunConfig.parse({"model": "net.py:Net", "data": "digits", "device": "cpu"})


def holding(root: Path) -> None:
    hold(root)
    (root / "held").touch()
    time.sleep(60)


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """Another process that holds the folder."""
    process = started(holding, tmp_path)
    end = time.monotonic() + 60
    while not (tmp_path / "held").exists() and time.monotonic() < end:
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()
    release()


def test_a_second_process_is_refused_and_told_by_whom(other: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("dashfx.run.files.lock.PATIENCE", 0.1)
    for ask in (hold, check_free):
        with pytest.raises(RunFolderError, match=rf"process {other.pid} on .* writes there now") as raised:
            ask(tmp_path)
        assert "\n" not in str(raised.value)


def test_the_lock_of_a_killed_process_is_free(other: Any, tmp_path: Path) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert hold(tmp_path) and not hold(tmp_path)  # the same process may ask again


def test_a_run_that_has_ended_lets_go(tmp_path: Path) -> None:
    @releasing
    def fails() -> None:
        hold(tmp_path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    process = started(holding, tmp_path)
    end = time.monotonic() + 60
    while not (tmp_path / "held").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert (tmp_path / "held").exists()


def test_a_run_is_not_begun_in_a_folder_that_another_has_taken_in_the_meantime(tmp_path: Path) -> None:
    check_folder(tmp_path / "run", CONFIG, resume=False)
    make_folder(tmp_path / "run", CONFIG)  # the other one, which has ended by now
    with pytest.raises(RunFolderError, match="exists and is not empty"):
        Session(CONFIG, QUIET, False, 0.0).open(tmp_path / "run", CONFIG)
    assert hold(tmp_path / "run")
    release()


def test_a_resumed_run_is_refused_while_the_first_is_alive(other: Any, tmp_path: Path) -> None:
    make_folder(tmp_path, CONFIG)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(RunFolderError, match="writes there now"):
        Session(CONFIG, QUIET, True, 0.0).open(tmp_path, CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
