"""Segmentation masks beside images: pairs by name become uint8 rows, and a class number for every position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dashfx.data.base import IGNORED
from dashfx.data.parts import by_part
from dashfx.data.readers.border import border, check_room
from dashfx.data.readers.folders import folders, visible
from dashfx.data.readers.groups import grouped
from dashfx.data.readers.pictures.decode import READABLE, SUFFIXES, Form, common_form, resized
from dashfx.data.readers.pictures.folder import CHANNELS, ImageFiles
from dashfx.data.readers.rows import held
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError

IMAGES = {"images", "image", "imgs", "img", "inputs"}
MASKS = {"masks", "mask", "labels", "annotations", "segmentations", "segmentation", "targets", "gt"}
TAIL = re.compile(r"[-_. ]?(mask|masks|label|labels|labelids|gt|seg|segmentation|image|img)$", re.IGNORECASE)
NAMES = "classes.txt"  # beside the folders: a class's name a line, from number 0
VOID = 255  # in uint8 masks, the number that counts nowhere

Roots = dict[str, tuple[Path, Path]]  # of each part, the folders of images and of masks


def mask_roots(folder: Path) -> Roots:
    """The folders of images and masks of each part; none where there are no such folders.

    `images` and `masks` in each part's folder, or each part's folder in `images` and `masks`, or these two alone.
    """
    if (pair := _pair(folder)) is not None:
        images, masks = (by_part([each.name for each in folders(root)], str(root)) for root in pair)
        if not images:
            return {"train": pair}
        return {part: (pair[0] / name, pair[1] / masks[part]) for part, name in images.items() if part in masks}
    parts = by_part([each.name for each in folders(folder)], str(folder))
    found = {part: _pair(folder / name) for part, name in parts.items()}
    return {part: pair for part, pair in found.items() if pair is not None}


def read_masks(folder: Path, roots: Roots, reading: Reading) -> Source:
    """Masks of grey or palette images: class numbers from 0 up, or 0 and 255 for two classes.

    Raises:
        DataError: an image without its mask or the reverse, a mask of another size, or one that holds no class numbers.
    """
    pairs = {part: _pairs(images, masks) for part, (images, masks) in roots.items()}
    form = common_form(((path, str(path)) for each in pairs.values() for path, _ in each), reading)
    masks = {part: _masks(each, form, reading, str(folder)) for part, each in pairs.items()}
    masks, note = _numbered(masks, reading, str(folder))
    paths = {part: [path for path, _ in each] for part, each in pairs.items()}
    parts = {part: (held(ImageFiles(paths[part], form, reading)), masks[part]) for part in pairs}
    notes = (*form.notes, *note, *_hidden(roots))
    names = _class_names(folder / NAMES)
    source = Source(folder.name, parts, notes, labels=names, channels=CHANNELS[form.mode], kind="dense-classes")
    source = replace(source, images=True, outside=form.outside(reading))
    return grouped(source, paths, {part: images for part, (images, _) in roots.items()}, reading)


def _pair(folder: Path) -> tuple[Path, Path] | None:
    by_name = {each.name.lower(): each for each in folders(folder)}
    images, masks = ([by_name[name] for name in by_name if name in known] for known in (IMAGES, MASKS))
    return (images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    ours, theirs = _by_name(images), _by_name(masks)
    for one, other, where, what in ((ours, theirs, masks, "mask"), (theirs, ours, images, "image")):
        alone = sorted(set(one) - set(other))
        if alone:
            raise DataError(
                f"{one[alone[0]]} has no {what} in {where} ({len(alone)} have none); name both alike, or remove them"
            )
    if not ours:
        raise DataError(f"{images}: no images in it ({', '.join(sorted(SUFFIXES))}); add some with their masks")
    return [(ours[name], theirs[name]) for name in sorted(ours)]


def _by_name(root: Path) -> dict[str, Path]:
    """The files by their path below the root, without ending and without `_mask` and the like."""
    found: dict[str, Path] = {}
    for path in visible(root):
        if path.suffix.lower() not in SUFFIXES:
            continue
        below = path.relative_to(root).with_suffix("")
        name = str(below.with_name(TAIL.sub("", below.name) or below.name))
        if name in found:
            raise DataError(f"{path} and {found[name]} both belong to {name!r}; keep one of the two")
        found[name] = path
    return found


def _masks(pairs: list[tuple[Path, Path]], form: Form, reading: Reading, where: str) -> np.ndarray:
    """(N, H, W) as they are stored."""
    check_room(2 * len(pairs) * form.size[0] * form.size[1], f"{where}: masks")
    first = _mask(*pairs[0], form, reading)
    values = np.empty((len(pairs), *form.size), np.int16)
    values[0] = first
    for row, (image, mask) in enumerate(pairs[1:], 1):
        values[row] = _mask(image, mask, form, reading)
    return values


def _mask(image: Path, mask: Path, form: Form, reading: Reading) -> np.ndarray:
    with border(mask, "not a readable mask", READABLE), Image.open(image) as shown, Image.open(mask) as opened:
        want, upright = ImageOps.exif_transpose(shown).size, ImageOps.exif_transpose(opened)
        if upright.size != want:
            raise DataError(f"{mask} is {upright.size}, its image {image} is {want}; a mask has its image's size")
        if upright.mode == "1":
            upright = upright.convert("L").point(lambda value: value // VOID)
        if upright.mode not in ("L", "P"):
            upright = _grey(upright, mask)
        values = np.asarray(resized(upright, reading, Image.Resampling.NEAREST, fill=VOID))
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.int16).max):
        raise DataError(f"{mask} holds {values.max()}; a mask has class numbers from 0 up")
    return values.astype(np.int16)


def _grey(mask: Image.Image, path: Path) -> Image.Image:
    """A mask of colours whose channels are all the same."""
    if mask.mode.startswith("I"):
        return mask.convert("I")
    if mask.mode == "LA":
        return mask.getchannel(0)
    colours = np.asarray(mask.convert("RGB"))
    if not (colours == colours[..., :1]).all():
        raise DataError(f"{path}: a mask in colours; save class numbers as a grey or palette image")
    return Image.fromarray(np.ascontiguousarray(colours[..., 0]))


def _numbered(masks: Mapping[str, np.ndarray], reading: Reading, where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Masks with class numbers from 0 up and `IGNORED` where nothing counts."""
    if reading.ignore is not None:
        masks = {part: np.where(each == reading.ignore, IGNORED, each) for part, each in masks.items()}
    # What padding brought in is no class of two.
    values = sorted({int(value) for each in masks.values() for value in np.unique(each)} - {IGNORED})
    said = f"; {reading.ignore} is ignored" if reading.ignore is not None else ""
    if values == [0, VOID] and reading.fit != "pad":
        return {part: np.where(each == VOID, 1, each) for part, each in masks.items()}, [
            f"masks: 0 and {VOID} are classes 0 and 1{said}"
        ]
    masks = {part: np.where(each == VOID, IGNORED, each) for part, each in masks.items()}
    counted = [value for value in values if value != VOID]
    if counted and len(counted) * 4 <= counted[-1]:
        raise DataError(
            f"{where}: masks hold {_some(counted)}, which look like grey levels; save class numbers 0, 1, 2, ..."
        )
    void = f"; {VOID} is ignored" if VOID in values else ""
    return dict(masks), [f"masks: class numbers {_some(counted)}{said}{void}"]


def _some(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (f", ... {values[-1]}" if len(values) > 8 else "")


def _class_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    with border(path, "not a text file", "write a class's name a line"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _hidden(roots: Roots) -> Iterable[str]:
    left = [p for pair in roots.values() for root in pair for p in visible(root) if p.suffix.lower() not in SUFFIXES]
    return [f"left unread: {len(left)} files that are no images (first: {left[0].name})"] if left else []
