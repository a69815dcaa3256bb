"""A folder with files by class goes in, maybe one folder a part; the files of each part and their labels come out."""

from __future__ import annotations

from pathlib import Path

from dashfx.errors import DataError

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}


def roots_of(folder: Path, suffix: str) -> dict[str, Path]:
    """The folder of each part: `folder` itself is the train part unless its folders are named after parts.

    Raises:
        DataError: folders of parts without `train`.
    """
    children = _folders(folder)
    if not children or not {child.name for child in children} <= set(SPLITS):
        return {"train": folder}
    roots = {SPLITS[child.name]: child for child in children}
    if "train" not in roots:
        raise DataError(
            f"{folder}: no class folders; expected {folder}/CLASS/*.{suffix}, or {folder}/train/CLASS/*.{suffix}"
        )
    return roots


def labelled_files(root: Path, suffixes: set[str], what: str) -> list[tuple[Path, str]]:
    """Every file of these types below a class's folder, and the class's name.

    Raises:
        DataError: no class folders, or a class without such files.
    """
    pairs: list[tuple[Path, str]] = []
    for folder in _folders(root):
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        if not found:
            raise DataError(f"{folder}: the class has no {what} ({', '.join(sorted(suffixes))}); add some or remove it")
        pairs += [(path, folder.name) for path in found]
    if not pairs:
        raise DataError(f"{root}: no class folders; expected {root}/CLASS/ with {what} ({', '.join(sorted(suffixes))})")
    return pairs


def has(folder: Path, suffixes: set[str]) -> bool:
    """Whether a file of these types lies anywhere below the folder."""
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*"))


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
