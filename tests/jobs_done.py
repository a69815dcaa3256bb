"""Jobs for worker processes, and an executor that does them in this one."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NoReturn

from dashfx.errors import DataError
from dashfx.workers import Workers


def squared(number: int) -> tuple[int, int]:
    """The square, later for smaller numbers, and whose it is."""
    print("a model that prints")
    time.sleep(0.3 / (number + 1))
    return number**2, os.getpid()


def refused(place: str) -> NoReturn:
    raise DataError(f"{place}: no rows")


class Private(Exception):
    """Does not come back from a pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def broken(_: int) -> NoReturn:
    raise Private("of", "its own")


def killed_once(path: str) -> str:
    """Kills its process the first time."""
    if path and not Path(path).exists():
        Path(path).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def asleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


class Here(Executor):
    """Does each job at once, on copies that were pickled, as if it had come from elsewhere."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs += args
        try:
            future.set_result(pickle.loads(pickle.dumps(fn(*pickle.loads(pickle.dumps(args)), **kwargs))))
        except Exception as error:
            future.set_exception(error)
        return future


def workers_here() -> tuple[Workers, list[Any]]:
    """Workers that are this process, and the jobs that they were given so far."""
    executor = Here()
    return Workers(executor, "this process"), executor.jobs
