"""Predictions of the model in this folder on raw arrays, images or sounds, with numpy and onnxruntime alone.

A run's folder holds a copy of this file: python predict.py x.npy|x.npz|image.png|sound.wav ... [--model model.onnx]
[--out y.npy]. Where the model's file is complete, it takes rows as they are, and says itself what its answers mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import wave
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
    """The rows in a file: (N, C, *size), as numbers of their own units; of sounds (N, C, samples)."""
    if path.suffix.lower() == ".wav":
        return sound(path, facts)[None]
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
    """The layouts that `dashfx` reads, channels first."""
    raw = facts.get("raw") or {}
    shape, layout = tuple(raw["shape"] if raw.get("bands") else facts["input_shape"]), facts["reading"].get("layout")
    for name in () if raw else OF_FILES:
        if facts["reading"].get(name):
            stop(f"{path}: the model's rows were made with reading.{name}, which this file cannot do; use dashfx eval")
    if x.ndim == len(shape) - (layout == "none") and layout != "last" and x.shape == shape[layout == "none" :]:
        x = x[None]  # one row
    if layout == "last" or (layout is None and last(x)):
        x = np.moveaxis(x, -1, 1)
    elif layout == "none" or (layout is None and x.ndim == len(shape) and shape[0] == 1):
        x = x[:, None]
    if x.ndim != len(shape) + 1 or x.shape[1] != shape[0]:
        stop(f"{path}: rows of {x.shape[1:]} do not fit the model, which takes {shape}")
    if raw.get("bands") and x.shape[2] != shape[1]:
        stop(f"{path}: waves of {x.shape[2]} samples, the model takes {shape[1]}; cut or fill them")
    return x


def sound(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """float32 (C, samples) of a .wav file of whole numbers, of the length of the training's."""
    raw, how = facts.get("raw") or {}, facts["reading"]
    if not raw.get("rate"):
        stop(f"{path}: the model was not trained on log-mel spectrograms of sounds; use dashfx eval")
    with reading(path, "a .wav file of whole numbers (PCM)"), wave.open(str(path)) as opened:
        rate, channels, width = opened.getframerate(), opened.getnchannels(), opened.getsampwidth()
        data = opened.readframes(opened.getnframes())
    if rate != raw["rate"]:
        stop(f"{path}: {rate} samples a second, the model takes {raw['rate']}; resample it")
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float32) / 128 - 1
    else:  # 3 bytes a sample become the upper ones of 4
        whole = np.zeros((len(data) // width, 4), np.uint8)
        whole[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        values = (whole.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    found = values.reshape(-1, channels).T
    length, fit = raw["shape"][1], how.get("fit")
    if how.get("window") or (not fit and found.shape[1] != length):
        what = f"windows of {length} samples" if how.get("window") else f"sounds of {length} samples"
        stop(f"{path}: it has {found.shape[1]} samples, the model takes {what}; cut it and give arrays (N, C, samples)")
    start = max(0, found.shape[1] - length) // 2 if fit == "crop" else 0
    piece = found[:, start : start + length]
    fitted = np.zeros((channels + (fit == "mask"), length), np.float32)
    fitted[:channels, : piece.shape[1]] = piece
    if fit == "mask":
        fitted[-1, : piece.shape[1]] = 1
    if len(fitted) != raw["shape"][0]:
        stop(f"{path}: {channels} channels, the model takes {raw['shape'][0] - (fit == 'mask')}")
    return fitted


def spectra(x: np.ndarray, bands: int, rate: int) -> np.ndarray:
    """Log-mel spectrograms (N, C, bands, frames) of waves (N, C, samples), in decibels."""
    window, hop = int(rate * 0.03), int(rate * 0.01)
    size = 2 ** int(np.ceil(np.log2(rate * 0.03)))
    left = (size - window) // 2
    shape = np.zeros(size)
    shape[left : left + window] = np.sin(np.pi * np.arange(window) / window) ** 2
    ends = [(0, 0), (0, 0), (size // 2, size // 2)]
    mode: Any = "constant" if x.shape[2] <= size // 2 else "reflect"
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x.astype(np.float64), ends, mode=mode), size, axis=2)
    power = np.abs(np.fft.rfft(frames[:, :, ::hop] * shape)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(np.minimum(rising, falling), 0)
    decibels = 10 * np.log10(np.maximum(np.einsum("bf,nctf->ncbt", filters, power), 1e-10))
    found: np.ndarray = np.maximum(decibels, decibels.max((2, 3), keepdims=True) - 80)
    return found


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
    """Rows as the model takes them; uint8 is scaled from [0, 255] to [0, 1], waves become spectrograms."""
    raw = facts.get("raw") or {}
    x = x / 255 if x.dtype == np.uint8 else x
    x = spectra(x, raw["bands"], raw["rate"]) if raw.get("bands") else x
    told = facts["normalisation"]
    size = told.get("size") or (1,) * (x.ndim - 2)
    mean, std = (np.array(told[name], np.float64).reshape(1, -1, *size) for name in ("mean", "std"))
    answer: np.ndarray = ((x - mean) / std).astype(np.float32)
    return answer


def as_taken(x: np.ndarray, raw: dict[str, Any], path: Path) -> np.ndarray:
    """Rows (N, C, *size) as a complete file takes them, which prepares them itself."""
    if raw["dtype"] == "uint8" and x.dtype != np.uint8:
        stop(f"{path}: it holds {x.dtype}, the model's file takes whole numbers from 0 to 255 (uint8)")
    x = x / 255 if x.dtype == np.uint8 and raw["dtype"] != "uint8" else x
    x = np.moveaxis(x, 1, -1) if raw["layout"] == "last" else x[:, 0] if raw["layout"] == "none" else x
    return np.ascontiguousarray(x, raw["dtype"])


def opened(model: Path) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """The file, and what it does beside the model where it is complete."""
    with reading(model, "an ONNX file"):
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        told = json.loads(metadata.get("complete", "{}"))
    if "optimised" in metadata:
        stop(f"{model}: it was optimised for one machine, which may not be this one; give the portable file")
    return session, {"raw": told.get("raw"), "probabilities": bool(told.get("probabilities"))}


def answers(x: np.ndarray, session: onnxruntime.InferenceSession) -> np.ndarray:
    """The file's first output for rows as it takes them, a batch at a time."""
    given = session.get_inputs()[0]
    size = given.shape[0] if isinstance(given.shape[0], int) else min(BATCH, len(x))
    filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % size, 0)])
    found = [session.run(None, {given.name: filled[i : i + size]})[0] for i in range(0, len(filled), size)]
    return np.concatenate(found)[: len(x)]


def said(output: np.ndarray, facts: dict[str, Any], probabilities: bool = False) -> str:
    """What a row's output, scores or probabilities, means: a label, those labels that hold, or numbers."""
    least = 0.5 if probabilities else 0.0
    names = facts["labels"] or [str(number) for number in range(len(output))]
    if facts["kind"] == "classes":
        return str(names[int(output.argmax())])
    if facts["kind"] == "multilabel" and output.ndim == 1:
        return ", ".join(str(name) for name, score in zip(names, output, strict=True) if score > least) or "none"
    if output.size <= MOST:
        return " ".join(f"{value:.6g}" for value in output.flatten())
    return f"{'x'.join(map(str, output.shape))} numbers: --out FILE.npy keeps them"


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict with the model of this folder, one line a row.")
    parser.add_argument("files", nargs="+", type=Path, help=".npy, .npz (array x), images or .wav")
    parser.add_argument("--model", type=Path, default=HERE / "model.onnx")
    parser.add_argument("--out", type=Path, help="keep the model's outputs in this .npy file")
    asked = parser.parse_args()
    with reading(HERE / "data.json", "the facts of the training data, which stand beside this file"):
        facts = json.loads((HERE / "data.json").read_text(encoding="utf-8"))
    session, complete = opened(asked.model)
    outputs = []
    for path in asked.files:
        if not path.is_file():
            stop(f"{path}: no such file")
        x = load(path, facts)
        taken = as_taken(x, complete["raw"], path) if complete["raw"] else normalised(x, facts)
        outputs.append(answers(taken, session))
        lines = [f"{path}: {said(output, facts, complete['probabilities'])}" for output in outputs[-1]]
        sys.stdout.write("\n".join(lines) + "\n")
    if asked.out:
        np.save(asked.out, np.concatenate(outputs))


if __name__ == "__main__":
    main()
