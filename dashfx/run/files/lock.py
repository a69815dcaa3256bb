"""File lock of a run's folder: one process writes at a time, and what a killed one held is free at once.

The system holds the lock (flock, LockFileEx) for as long as the process lives. On file systems that do not pass locks
on to other machines, as some NFS do not, it tells processes of one machine apart only.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from filelock import FileLock, Timeout

from dashfx.errors import RunFolderError

P = ParamSpec("P")
T = TypeVar("T")

LOCK, HOLDER = ".lock", ".lock.json"  # in a run's folder; the second says who holds the first
PATIENCE = 5.0  # seconds; others only look whether the lock is free

_held: dict[Path, FileLock] = {}  # of this process


def hold(root: Path) -> bool:
    """Take the folder for this process until `releasing`; whether it was not this process's before.

    Raises:
        RunFolderError: another process writes there.
        OSError: the folder cannot be written.
    """
    if root.resolve() in _held:
        return False
    _held[root.resolve()] = _acquired(root, timeout=0)
    (root / HOLDER).write_text(json.dumps([socket.gethostname(), os.getpid()]), encoding="utf-8")
    return True


def check_free(root: Path) -> None:
    """Whether no other process holds the folder at this moment; several may ask at once.

    Raises:
        RunFolderError: one does.
    """
    if root.resolve() not in _held:
        _acquired(root, PATIENCE).release()


def release() -> None:
    """Let go of all folders that this process holds."""
    while _held:
        root, lock = _held.popitem()
        with contextlib.suppress(OSError):
            (root / HOLDER).unlink(missing_ok=True)
        lock.release()


def releasing(function: Callable[P, T]) -> Callable[P, T]:
    """The function, after which this process holds no folder any more, however it has ended."""

    @wraps(function)
    def released(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            release()

    return released


def _acquired(root: Path, timeout: float) -> FileLock:
    lock = FileLock(str(root / LOCK))
    try:
        lock.acquire(timeout=timeout, poll_interval=0.05)
    except Timeout:
        raise RunFolderError(
            f"{root}: {_holder(root)} writes there now; wait for its end, stop it, or give another --out"
        ) from None
    return lock


def _holder(root: Path) -> str:
    try:
        host, pid = json.loads((root / HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):  # it has only just begun
        return "another process"
    return f"process {pid} on {host}"
