"""Folders of files by class, maybe one folder a part: the files of each part, their labels, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashfx.data.parts import by_part, part_of
from dashfx.errors import DataError

RUBBISH = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Listing:
    """The files of each part with their classes.

    Attributes:
        roots: the folder of each part.
        notes: what else lies there, and is left unread.
    """

    files: dict[str, list[tuple[Path, str]]]
    roots: dict[str, Path]
    notes: tuple[str, ...]

    @property
    def paths(self) -> dict[str, list[Path]]:
        return {part: [path for path, _ in files] for part, files in self.files.items()}


def labelled_files(folder: Path, suffixes: set[str], what: str) -> Listing:
    """Every file of these types below a class's folder, and the class's name, part by part.

    Raises:
        DataError: no class folders, a class without such files, or folders of parts beside classes.
    """
    roots, notes = roots_of(folder)
    files = {part: _labelled(root, suffixes, what) for part, root in roots.items()}
    used = {path for pairs in files.values() for path, _ in pairs}
    others = Counter(
        path.suffix.lower() or "no ending" for root in roots.values() for path in visible(root) if path not in used
    )
    if others:
        kinds = ", ".join(f"{number} of {suffix}" for suffix, number in others.most_common(5))
        notes.append(f"left unread: files that are no {what}: {kinds}")
    if hidden := sum(1 for path in folder.rglob("*") if path.is_file() and not _shown(path, folder)):
        notes.append(f"left unread: {hidden} hidden files, such as .ipynb_checkpoints and ._ files")
    return Listing(files, roots, tuple(notes))


def roots_of(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each part, and a note on folders beside them.

    Folders are parts where they are called so (`dashfx.data.parts`) and hold folders themselves, as a class of that
    name would not; without any, `folder` itself is the train part.

    Raises:
        DataError: two folders for one part, or parts without train beside folders that look like classes.
    """
    children = folders(folder)
    named = [child for child in children if part_of(child.name) and folders(child)]
    if not named:
        return {"train": folder}, []
    roots = {part: folder / name for part, name in by_part([child.name for child in named], str(folder)).items()}
    others = [child.name for child in children if child not in named]
    if "train" not in roots and others:
        raise DataError(
            f"{folder}: {named[0].name} holds a part, and {', '.join(others[:5])} stand beside it as classes would; "
            f"put these into {folder}/train"
        )
    return roots, [f"left unread: the folders {', '.join(others)}"] if others else []


def has(folder: Path, suffixes: set[str]) -> bool:
    """Whether a file of these types lies anywhere below the folder."""
    return any(path.suffix.lower() in suffixes for path in visible(folder))


def folders(folder: Path) -> list[Path]:
    """Those in it that are not hidden, in order."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and _shown(child, folder))


def visible(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden, nor in a hidden folder, in order."""
    return (path for path in sorted(folder.rglob("*")) if _shown(path, folder) and path.is_file())


def _shown(path: Path, root: Path) -> bool:
    return not any(name.startswith(".") or name in RUBBISH for name in path.relative_to(root).parts)


def _labelled(root: Path, suffixes: set[str], what: str) -> list[tuple[Path, str]]:
    pairs: list[tuple[Path, str]] = []
    known = ", ".join(sorted(suffixes))
    for folder in folders(root):
        found = [path for path in visible(folder) if path.suffix.lower() in suffixes]
        if not found:
            raise DataError(f"{folder}: the class has no {what} ({known}); add some or remove it")
        pairs += [(path, folder.name) for path in found]
    if not pairs:
        raise DataError(f"{root}: no class folders; expected {root}/CLASS/ with {what} ({known})")
    return pairs
