"""Runs that are killed, stopped, or out of disk: the folder stays whole, a resumed run ends bit for bit the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
import yaml
from alike import assert_same, files
from ranks import command, started
from toys import SPACE, arrays

from dashfx.train.progress import read_log

# Every stage that trains or writes: probe, search, one-by-one, tune, retrain, control, export.
CONFIG: dict[str, Any] = {
    "space": {**SPACE, "sites": "auto", "share": 1.0, "probe": 3},
    "search": {
        "init": "grow",
        "epochs": 4,
        "batch_size": 16,
        "discretise": "one-by-one",
        "recovery": 0.6,
        "autotune": False,
    },
    "tune": {"trials": 3, "epochs": 2, "sampler": "random"},
    "retrain": {"epochs": 4, "batch_size": 16},
    "device": "cpu",
}
LIMIT = 240.0  # seconds that a process of a test may take


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    np.savez(folder / "waves.npz", **arrays())
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture(scope="module")
def straight(user: Path) -> Path:
    process = started(command, arguments(user, user / "straight"), str(user / "errors"))
    process.join(LIMIT)
    assert process.exitcode == 0, (user / "errors").read_text()
    return user / "straight"


@pytest.fixture(scope="module")
def retrained(user: Path, straight: Path) -> Path:
    process = started(command, arguments(user, user / "again", straight), str(user / "errors"))
    process.join(LIMIT)
    assert process.exitcode == 0, (user / "errors").read_text()
    return user / "again"


def arguments(user: Path, out: Path, of: Path | None = None) -> list[str]:
    """What starts a run in `out`, or continues it where it has begun; a retraining of the run `of`."""
    if of is not None:
        resume = ["--resume"] if (out / "config.yaml").exists() else []
        return ["retrain", str(of), "--out", str(out), "--quiet", *resume]
    if (out / "config.yaml").exists():
        return ["search", "--resume", "--out", str(out), "--quiet"]
    data, config = str(user / "waves.npz"), str(user / "config.yaml")
    return ["search", f"{toys.__file__}:ToyNet", "--data", data, "--config", config, "--out", str(out), "--quiet"]


def lines(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def stopped(
    user: Path,
    out: Path,
    when: Callable[[], bool],
    how: signal.Signals,
    delay: float = 0.0,
    of: Path | None = None,
) -> int | None:
    """The exit code of a run that gets the signal `delay` seconds after `when`; it may be faster than that."""
    process = started(command, arguments(user, out, of), str(user / "errors"))
    end = time.monotonic() + LIMIT
    while process.is_alive() and not when() and time.monotonic() < end:
        time.sleep(0.002)
    process.join(delay)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, how)
    process.join(LIMIT)
    return process.exitcode


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = (-signal.SIGKILL, -signal.SIGTERM, 130)


def survives(
    user: Path, straight: Path, kills: int, seed: int, signals: tuple[signal.Signals, ...], of: Path | None = None
) -> None:
    """Stop runs at random moments so many times in all, continuing each until it has come to its end."""
    rng, whole, run = np.random.default_rng(seed), lines(straight), 0
    while kills > 0:
        run, out = run + 1, user / f"killed-{seed}-{straight.name}-{run}"
        code: int | None = -signal.SIGKILL
        while code in STOPPED:
            least = (lines(out) + int(rng.integers(1, whole))) if kills > 0 else sys.maxsize
            how, delay = signals[int(rng.integers(len(signals)))], rng.uniform(0, 0.5)
            code = stopped(user, out, lambda out=out, least=least: lines(out) >= least, how, delay, of)
            assert "Traceback" not in (user / "errors").read_text(), (user / "errors").read_text()
            kills -= code in STOPPED
        assert code == 0, (user / "errors").read_text()
        assert_same(out, straight)


def test_a_run_survives_two_kills(user: Path, straight: Path) -> None:
    survives(user, straight, kills=2, seed=1, signals=SIGNALS[:1])


@pytest.mark.slow
def test_a_run_survives_forty_signals(user: Path, straight: Path) -> None:
    survives(user, straight, kills=40, seed=0, signals=SIGNALS)


@pytest.mark.slow
def test_a_retraining_survives_six_signals(user: Path, straight: Path, retrained: Path) -> None:
    survives(user, retrained, kills=6, seed=2, signals=SIGNALS, of=straight)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_says_how_to_go_on(how: signal.Signals, user: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = stopped(user, out, lambda: (out / "checkpoints" / "search-last.pt").exists(), how)
    errors = (user / "errors").read_text()
    assert code == 130 and "Traceback" not in errors
    assert f"interrupted: continue with: dashfx search --resume --out {out}" in errors
    assert not [name for name in files(out) if name.endswith(".part")] and read_log(out / "log.jsonl")


def test_a_full_disk_is_said_in_a_line(user: Path, straight: Path, tmp_path: Path) -> None:
    # the curve grows with every epoch, so that the checkpoint of the last one is too large
    limit = (straight / "checkpoints" / "search-last.pt").stat().st_size - 500
    process = started(command, arguments(user, tmp_path / "run"), str(user / "errors"), limit)
    process.join(LIMIT)
    errors = (user / "errors").read_text()
    assert process.exitcode == 2 and "Traceback" not in errors
    assert "File too large" in errors and "--resume" in errors and len(errors.splitlines()) == 1
    assert not [name for name in files(tmp_path) if name.endswith(".part")]
    state = torch.load(tmp_path / "run" / "checkpoints" / "search-last.pt", weights_only=True)
    assert 1 <= len(state["history"]) < CONFIG["search"]["epochs"]  # those that there was room for


@pytest.mark.slow
def test_two_processes_are_interrupted_together_and_go_on(user: Path) -> None:
    def launched(out: Path) -> subprocess.Popen[bytes]:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        whole = [*launch, "-m", "dashfx", *arguments(user, out)]
        return subprocess.Popen(whole, start_new_session=True, stderr=subprocess.DEVNULL)

    expected, out = user / "two", user / "two-interrupted"
    assert launched(expected).wait(LIMIT) == 0
    process, end = launched(out), time.monotonic() + LIMIT
    while not (out / "checkpoints" / "search-last.pt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(LIMIT) != 0 and not (out / "result.json").exists()
    assert launched(out).wait(LIMIT) == 0
    assert_same(out, expected)
