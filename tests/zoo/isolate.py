"""Work on one model goes in; what it reported until it ended, or until a limit ended it, comes out."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Work = Callable[[], Iterable[Record]]
PAUSE = 0.05  # seconds between two looks at the children
PATIENCE = 10  # seconds on the clock per second of work, before a child that waits for something is ended
OUT_OF_MEMORY = 66  # a child's exit status

FORK = multiprocessing.get_context("fork")  # a child starts with every import that the parent has paid for


@dataclass
class Job:
    """One child, with the last record that it sent."""

    key: Any
    process: ForkProcess
    reports: Connection
    began: float = field(default_factory=time.monotonic)
    record: Record = field(default_factory=dict)

    def listen(self) -> None:
        while self.reports.poll():
            try:
                self.record = self.reports.recv()
            except EOFError:
                return


def isolated(
    work: Iterable[tuple[Any, Work]], *, seconds: float, memory: int, workers: int = 1
) -> Iterator[tuple[Any, Record]]:
    """Run each piece of work in a child of its own: (key, last record) in the order in which they end.

    A child that was ended has "ended" in its record: "time", "memory", or its exit status.

    Args:
        seconds: of work on the processor that a child may do, so that a busy machine ends no other models.
        memory: bytes that a child may have on top of its parent's.
    """
    waiting, jobs = iter(work), list[Job]()
    while True:
        while len(jobs) < workers and (piece := next(waiting, None)) is not None:
            jobs.append(_start(*piece, seconds=seconds, memory=memory))
        if not jobs:
            return
        time.sleep(PAUSE)
        for job in list(jobs):
            job.listen()
            late = time.monotonic() - job.began > seconds * PATIENCE
            if late:
                job.process.kill()
            elif job.process.is_alive():
                continue
            job.process.join()
            job.listen()
            jobs.remove(job)
            yield job.key, job.record | _ended(job, late)


def _ended(job: Job, late: bool) -> Record:
    code = job.process.exitcode
    if late or code == -signal.SIGXCPU:
        return {"ended": "time"}
    return {} if code == 0 else {"ended": "memory" if code == OUT_OF_MEMORY else f"exit status {code}"}


def _start(key: Any, work: Work, *, seconds: float, memory: int) -> Job:
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_child, args=(work, theirs, ceil(seconds), memory))
    process.start()
    theirs.close()
    return Job(key, process, ours)


def _child(work: Work, reports: Connection, seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # the harder one kills without a name
    limit = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with open(os.devnull, "wb") as nowhere:  # what models and exporters print
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        for record in work():
            reports.send(record)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    os._exit(0)  # no clean-up of what the parent still uses


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
