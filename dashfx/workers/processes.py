"""Processes of this machine as an executor: one that dies is replaced, and its job is done again by the next.

`concurrent.futures.ProcessPoolExecutor` gives all its jobs up when one of its processes is killed, and has no way to
end them early.
"""

from __future__ import annotations

import pickle
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

from dashfx.errors import TrainingError
from dashfx.workers.base import Workers
from dashfx.workers.serve import command, receive, send

ATTEMPTS = 5  # processes that a job may lose


class Processes(Workers):
    """So many processes of this machine, started when the first jobs come, each for one job at a time."""

    def __init__(self, count: int) -> None:
        super().__init__(ReplacingExecutor(count), f"{count} process{'es' * (count > 1)}")


class ReplacingExecutor(Executor):
    """An executor over processes, of which each that dies is replaced.

    A job is pickled for its process and the answer for the way back; what the job raises comes back as it was raised.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, "worker")
        self._idle: SimpleQueue[_Slot] = SimpleQueue()
        self._slots = [_Slot(number) for number in range(count)]
        for slot in self._slots:
            self._idle.put(slot)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Executor.submit`; the future raises TrainingError where the job has lost `ATTEMPTS` processes."""
        return self._threads.submit(self._done, pickle.dumps((fn, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`; without `wait` the processes are ended in the middle of what they do."""
        if not wait:
            self._end()
        self._threads.shutdown(wait=True, cancel_futures=cancel_futures)
        self._end()

    def _end(self) -> None:
        for slot in self._slots:
            slot.close()

    def _done(self, job: bytes) -> Any:
        slot = self._idle.get()
        try:
            return slot.done(job)
        finally:
            self._idle.put(slot)


class _Slot:
    """The place of one process, which others take one after the other."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = threading.Lock()  # of starting and ending a process
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def done(self, job: bytes) -> Any:
        for _ in range(ATTEMPTS):
            process = self._running()
            try:
                send(cast(BinaryIO, process.stdin), job)
                answer = receive(cast(BinaryIO, process.stdout))
            except OSError:
                answer = None
            if answer is not None:
                good, value = pickle.loads(answer)
                if good:
                    return value
                raise value
            self._replace(process)
        raise TrainingError(
            f"{ATTEMPTS} worker processes in a row have died over one job: killed, or out of memory; use fewer "
            "--workers or smaller batches, and go on with --resume"
        )

    def close(self) -> None:
        with self._lock:
            self._closed = True
        if self._process is not None:
            self._replace(self._process)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, started where there is none.

        Raises:
            TrainingError: the executor has been shut down.
        """
        with self._lock:
            if self._closed:
                raise TrainingError("the workers have been ended")
            if self._process is None:
                # In a session of its own it does not hear the Ctrl-C of a terminal: the run decides, and ends it.
                self._process = subprocess.Popen(
                    command(self._number), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
                )
            return self._process

    def _replace(self, process: subprocess.Popen[bytes]) -> None:
        """End a process, whatever it does; the next job starts another."""
        process.kill()
        process.wait()
        with self._lock:
            if self._process is process:
                self._process = None
