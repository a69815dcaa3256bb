"""Workers by name: what `--workers` takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from dashfx.errors import ConfigError
from dashfx.workers.base import Workers
from dashfx.workers.processes import Processes
from dashfx.workers.scheduler import Scheduler

P = ParamSpec("P")
T = TypeVar("T")

MOST = 1024  # processes; more is a slip of the finger


def workers_of(wanted: int | str | Workers | None) -> Workers | None:
    """Workers that are ready to be asked; None where this process does all by itself.

    Args:
        wanted: a number of processes, `dask://HOST:PORT`, or the name of a scheduler's file. 1 is this process.

    Raises:
        ConfigError: none of these, or a scheduler that does not answer.
    """
    if wanted is None or isinstance(wanted, Workers):
        return wanted
    text = str(wanted).strip()
    if text.lstrip("+-").isdigit():
        count = int(text)
        if not 1 <= count <= MOST:
            raise ConfigError(f"--workers {text}: give 1 (this process) to {MOST} processes")
        return Processes(count) if count > 1 else None
    if "://" in text or text.endswith(".json"):
        return Scheduler(text)
    raise ConfigError(
        f"--workers {text}: give a number of processes, dask://HOST:PORT, or a scheduler's file such as scheduler.json"
    )


def closing(function: Callable[P, T]) -> Callable[P, T]:
    """The function, whose keyword `workers` may name them; at its end those that were made for it leave."""

    @wraps(function)
    def closed(*args: P.args, **kwargs: P.kwargs) -> T:
        wanted: object = kwargs.get("workers")
        if wanted is None or isinstance(wanted, Workers):
            return function(*args, **kwargs)
        found = workers_of(wanted)  # type: ignore[arg-type]
        kwargs["workers"] = found
        try:
            return function(*args, **kwargs)
        finally:
            if found is not None:
                found.close()

    return closed
