"""Path checks of a run's folder, before anything is trained: lengths, permissions, what stands in the way."""

from __future__ import annotations

import os
from pathlib import Path

from dashfx.errors import RunFolderError

LONGEST = "tensorboard/events.out.tfevents.0000000000.host-with-a-name-of-up-to-64-characters----------.0000000.0.v2"
NAME, PATH = 255, 4096  # bytes, where a system does not say


def check_place(path: str | Path) -> None:
    """Whether a folder can be made at `path` and written, as far as that can be told without making it.

    Raises:
        RunFolderError: a name or path that is too long or no text, a file in the way, or no permission.
    """
    root = Path(path)
    try:
        os.fspath(root).encode("utf-8")
    except UnicodeEncodeError:
        raise RunFolderError(f"--out {os.fspath(root)!r}: the path is no UTF-8, as files of weights need") from None
    if "\0" in str(root):
        raise RunFolderError(f"--out {os.fspath(root)!r}: a path has no zero byte")
    try:
        _check_lengths(root)
        base = next(p for p in (root.absolute(), *root.absolute().parents) if p.exists() or p.is_symlink())
        if not base.is_dir() and base != root.absolute():
            raise RunFolderError(f"--out {path}: cannot be written ({base} is a file); give another folder")
        if base.is_dir() and not os.access(base, os.W_OK | os.X_OK):
            raise RunFolderError(f"--out {path}: cannot be written (no permission in {base}); give another folder")
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot be written ({error.strerror or error})") from None


def _check_lengths(root: Path) -> None:
    long = next((part for part in root.parts if len(os.fsencode(part)) > NAME), None)
    if long is not None:
        raise RunFolderError(f"--out: the name {long[:40]}... is longer than {NAME} bytes; give a shorter one")
    longest = len(os.fsencode(root.absolute() / LONGEST))
    if longest >= PATH:
        raise RunFolderError(
            f"--out {str(root)[:40]}...: paths in it would have {longest} bytes, {PATH - 1} at most; give another"
        )
