"""What `--workers` takes, and what it refuses in a line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dashfx.errors import ConfigError
from dashfx.workers import Workers, closing, workers_of
from dashfx.workers.processes import Processes
from dashfx.workers.scheduler import address_of


def test_numbers_are_processes_and_one_is_this_one() -> None:
    assert workers_of(None) is workers_of(1) is workers_of("1") is None
    for wanted in (2, "2", " 2 "):
        found = workers_of(wanted)
        assert isinstance(found, Processes) and found.name == "2 processes"
        assert workers_of(found) is found
        found.close()


@pytest.mark.parametrize("wanted", ["0", "-1", "+2000", "two", "", "2.5", "dask:127.0.0.1:8786"])
def test_what_is_no_worker_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="--workers") as raised:
        workers_of(wanted)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wanted", ["dask://", "dask://host", "dask://host:port", "http://host:80"])
def test_an_address_has_a_host_and_a_port(wanted: str) -> None:
    with pytest.raises(ConfigError, match=r"write dask://HOST:PORT"):
        workers_of(wanted)


@pytest.mark.parametrize("content", [None, b"{}", b"[1]", b"\xff", b"{"])
def test_a_file_that_is_none_of_a_scheduler_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"no scheduler's file \(.*\); dask scheduler --scheduler-file") as raised:
        workers_of(str(path))
    assert "\n" not in str(raised.value)


def test_a_schedulers_file_names_its_address(tmp_path: Path) -> None:
    (tmp_path / "scheduler.json").write_text('{"type": "Scheduler", "address": "tcp://10.0.0.7:8786", "workers": {}}')
    assert address_of(str(tmp_path / "scheduler.json")) == "tcp://10.0.0.7:8786"
    assert address_of("tls://node:1") == "tls://node:1"


@pytest.mark.skipif(importlib.util.find_spec("distributed") is not None, reason="dask is installed")
def test_without_dask_a_scheduler_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'pip install "dashfx\[dask\]"'):
        workers_of("dask://127.0.0.1:8786")


def test_workers_that_were_made_for_a_call_leave_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Workers] = []
    monkeypatch.setattr(Workers, "close", lambda self: left.append(self))

    @closing
    def call(fails: bool, *, workers: int | Workers | None = None) -> Workers | None:
        assert workers is None or isinstance(workers, Workers)
        if fails:
            raise ValueError
        return workers

    made = call(False, workers=2)
    assert left == [made]
    with pytest.raises(ValueError):
        call(True, workers=3)
    assert len(left) == 2
    assert call(False, workers=made) is made and call(False) is None and len(left) == 2  # whoever made them ends them
