"""Predictions of the model in this folder on raw arrays or images, with numpy and onnxruntime alone.

A run's folder holds a copy of this file: python predict.py x.npy|x.npz|image.png ... [--model model.onnx] [--out y.npy]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
BATCH = 64
MOST = 16  # numbers of a row that are printed
MESSAGE = 200  # characters of a library's message
OF_FILES = ("window", "log_mel", "rate", "length")  # readings of records and sounds, which arrays do not go through


def stop(why: str) -> NoReturn:
    sys.stderr.write(f"{why}\n")
    raise SystemExit(2)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Inside, a file is read; whatever a library makes of foreign bytes is one line."""
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        stop(f"{path}: cannot be read as {what} ({why[:MESSAGE]})")


def load(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """The rows in a file: (N, C, *size), in the units that normalisation expects."""
    if path.suffix not in (".npy", ".npz"):
        return rows(picture(path, facts), {**facts, "reading": {}}, path)
    with reading(path, "an array of numbers"):
        x = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with x as arrays:
                name = "x" if "x" in arrays.files or len(arrays.files) != 1 else arrays.files[0]
                if name not in arrays.files:
                    stop(f"{path}: it holds {', '.join(arrays.files)}; name the array of rows x")
                x = arrays[name]
        kind, count = x.dtype.kind, len(x)
    if kind not in "buif" or not count:
        stop(f"{path}: it holds {x.dtype}, not numbers" if count else f"{path}: it holds no rows")
    return rows(x, facts, path)


def rows(x: np.ndarray, facts: dict[str, Any], path: Path) -> np.ndarray:
    """The layouts that `dashfx` reads; uint8 is scaled from [0, 255] to [0, 1]."""
    shape, layout = tuple(facts["input_shape"]), facts["reading"].get("layout")
    for name in OF_FILES:
        if facts["reading"].get(name):
            stop(f"{path}: the model's rows were made with reading.{name}, which this file cannot do; use dashfx eval")
    scale = 1 / 255 if x.dtype == np.uint8 else 1.0
    if x.ndim == len(shape) - (layout == "none") and layout != "last" and x.shape == shape[layout == "none" :]:
        x = x[None]  # one row
    if layout == "last" or (layout is None and last(x)):
        x = np.moveaxis(x, -1, 1)
    elif layout == "none" or (layout is None and x.ndim == len(shape) and shape[0] == 1):
        x = x[:, None]
    if x.ndim != len(shape) + 1 or x.shape[1] != shape[0]:
        stop(f"{path}: rows of {x.shape[1:]} do not fit the model, which takes {shape}")
    return x * scale


def last(x: np.ndarray) -> bool:
    """Whether the channels stand behind the other axes."""
    return x.ndim >= 4 and x.shape[-1] in (1, 3, 4) and x.shape[-1] < min(x.shape[1:-1])


def picture(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """uint8 (1, C, H, W) of an image, upright and of the size of the training's."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        stop(f"{path}: images need Pillow (pip install pillow); arrays (.npy, .npz) do not")
    channels, *size = facts["input_shape"]
    if len(size) != 2 or channels not in (1, 3):
        stop(f"{path}: the model takes rows of {tuple(facts['input_shape'])}, not images")
    with reading(path, "an image"), Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    height, width = size
    if image.size != (width, height) and facts["reading"].get("size") is None:
        stop(f"{path}: it is {image.width}x{image.height}, the model was trained on {width}x{height}; resize it")
    fit = facts["reading"].get("fit")
    if image.size != (width, height):
        ratios = (width / image.width, height / image.height)
        ratio = max(ratios) if fit == "crop" else min(ratios)
        whole = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        scaled = image.resize(whole if fit in ("crop", "pad") else (width, height), Image.Resampling.BILINEAR)
        image = Image.new(image.mode, (width, height))
        image.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    values = np.asarray(image)
    return values[None, None] if channels == 1 else values.transpose(2, 0, 1)[None]


def normalised(x: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    told = facts["normalisation"]
    size = told.get("size") or (1,) * (x.ndim - 2)
    mean, std = (np.array(told[name], np.float64).reshape(1, -1, *size) for name in ("mean", "std"))
    answer: np.ndarray = ((x - mean) / std).astype(np.float32)
    return answer


def answers(x: np.ndarray, model: Path) -> np.ndarray:
    """The model's outputs for normalised rows, a batch at a time."""
    with reading(model, "an ONNX file"):
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    size = given.shape[0] if isinstance(given.shape[0], int) else min(BATCH, len(x))
    filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % size, 0)])
    found = [session.run(None, {given.name: filled[i : i + size]})[0] for i in range(0, len(filled), size)]
    return np.concatenate(found)[: len(x)]


def said(output: np.ndarray, facts: dict[str, Any]) -> str:
    """What a row's output means: a label, those labels that hold, or numbers."""
    names = facts["labels"] or [str(number) for number in range(len(output))]
    if facts["kind"] == "classes":
        return str(names[int(output.argmax())])
    if facts["kind"] == "multilabel" and output.ndim == 1:
        return ", ".join(str(name) for name, score in zip(names, output, strict=True) if score > 0) or "none"
    if output.size <= MOST:
        return " ".join(f"{value:.6g}" for value in output.flatten())
    return f"{'x'.join(map(str, output.shape))} numbers: --out FILE.npy keeps them"


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict with the model of this folder, one line a row.")
    parser.add_argument("files", nargs="+", type=Path, help=".npy, .npz (array x) or images")
    parser.add_argument("--model", type=Path, default=HERE / "model.onnx")
    parser.add_argument("--out", type=Path, help="keep the model's outputs in this .npy file")
    asked = parser.parse_args()
    with reading(HERE / "data.json", "the facts of the training data, which stand beside this file"):
        facts = json.loads((HERE / "data.json").read_text(encoding="utf-8"))
    outputs = []
    for path in asked.files:
        if not path.is_file():
            stop(f"{path}: no such file")
        outputs.append(answers(normalised(load(path, facts), facts), asked.model))
        lines = [f"{path}: {said(output, facts)}" for output in outputs[-1]]
        sys.stdout.write("\n".join(lines) + "\n")
    if asked.out:
        np.save(asked.out, np.concatenate(outputs))


if __name__ == "__main__":
    main()
