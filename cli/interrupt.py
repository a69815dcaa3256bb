"""Ctrl-C during a long stage goes in; an Interrupted that says how to go on comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """The user stopped the run; the message says how to continue. A KeyboardInterrupt would lose it inside typer."""


@contextmanager
def interruptible(how_to_continue: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(how_to_continue) from None
