"""Ctrl-C, SIGTERM or a full disk during a long stage goes in; an error that says how to go on comes out."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dashfx.errors import DashfxError, RunFolderError, TrainingError, first_line

# A disk or a quota is full, or a file has reached its limit. Libraries that write on their own only quote the system.
FULL = {errno.ENOSPC: "No space left", errno.EDQUOT: "quota exceeded", errno.EFBIG: "File too large"}


# What gloo and NCCL say where a process at the other end has gone.
LOST = (
    *("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe", "Gloo connect"),
    *("Socket Timeout", "Timed out waiting", "recvValue failed", "sendBytes failed", "failed to recv", "NCCL"),
)


class Interrupted(Exception):
    """The user stopped the run; the message says how to continue. A KeyboardInterrupt would lose it inside typer."""


@contextmanager
def interruptible(how_to_continue: str) -> Iterator[None]:
    """Stop where the run stands: its folder holds every finished epoch, and a resumed run begins with the next.

    Raises:
        Interrupted: by SIGINT or SIGTERM.
        RunFolderError: the disk is full.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(how_to_continue) from None
    except DashfxError:
        raise
    except Exception as error:
        if _is_alone(error):
            raise TrainingError(
                "another process of this run has ended, so this one cannot go on; its own error says why; "
                f"{how_to_continue}"
            ) from None
        if not _is_full(error):
            raise
        raise RunFolderError(
            f"{first_line(error)}; what was complete is kept; free some space and {how_to_continue}"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_alone(error: Exception) -> bool:
    """Whether the connection to the run's other processes is gone, as torch says it."""
    from dashfx.train.processes import launched  # which waits for torch

    return launched() > 1 and isinstance(error, RuntimeError) and any(words in str(error) for words in LOST)


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in FULL or any(words in str(error) for words in FULL.values())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
