"""Stopwatch: wall time by what it went into."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by name; on a GPU the host's, so that what it has started there counts where it waits for it.

    Args:
        seconds: those so far, which are added to.
    """

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds = {} if seconds is None else seconds

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Inside, time goes into `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def waiting(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; what each takes to come goes into `name`."""
        started, source = time.perf_counter(), iter(items)
        for item in source:
            self.add(name, time.perf_counter() - started)
            yield item
            started = time.perf_counter()
        self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
