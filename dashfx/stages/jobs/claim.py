"""Claim of a job: the last worker to begin it is the one that writes; one that was taken for dead gives up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dashfx.errors import TrainingError
from dashfx.train.progress import Observer

LOOK = 1.0  # seconds between two looks at whose job it is
PATIENCE = 120.0  # seconds in which an earlier worker has to have seen that it is no longer its job


class GivenUpError(Exception):
    """Another worker has this job by now; nobody waits for what this one finds."""


@contextmanager
def claimed(scratch: Path) -> Iterator[Observer]:
    """Inside, this worker alone writes the job's files; its observer has the training end once another has the job.

    A scheduler gives a job to another worker where it has lost one from sight, and a resumed run gives it out anew:
    the first one may still be at it.

    Raises:
        TrainingError: the earlier worker does not let go.
    """
    claim, owner = _Claim(scratch / "owner"), FileLock(str(scratch / "lock"))
    try:
        owner.acquire(timeout=PATIENCE, poll_interval=0.1)
    except Timeout:
        raise TrainingError(
            f"{scratch}: an earlier worker has held this job for {PATIENCE:.0f} s and does not let go; stop it, and go "
            "on with --resume"
        ) from None
    try:
        claim.look()
        yield claim
    finally:
        owner.release()


class _Claim(Observer):
    def __init__(self, owner: Path) -> None:
        self._owner, self._own, self._looked = owner, secrets.token_hex(8), time.monotonic()
        owner.write_text(self._own, encoding="utf-8")

    def look(self) -> None:
        """Raise GivenUpError where the job is another's, or done."""
        self._looked = time.monotonic()
        try:
            mine = self._owner.read_text(encoding="utf-8") == self._own
        except FileNotFoundError:
            mine = False
        if not mine:
            raise GivenUpError

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        if time.monotonic() - self._looked >= LOOK:
            self.look()
