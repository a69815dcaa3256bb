"""Speed and metric of eight small models' ONNX files: by torch.onnx.export, by dashfx, in int8 by dashfx and others.

    python -m benchmarks.deploy --out runs/deploy
    python -m benchmarks.deploy --out runs/deploy --models TCN ResNet-18 --seconds 1

Each model is trained for a few epochs on a small task, from seed 0 on one thread, so that it has a metric to lose. Its
files are written once, see `files.py`: dashfx's with all sizes fixed but the batch, plain ones with all of them fixed.
All files of a model are then called in turn, with one row, on the threads that are named, in several repeats with new
sessions; a ratio is of medians within a repeat, and what is printed is its median over the repeats with the least and
the largest. A drop is the metric on the test part of the float file less that of the int8 one, beside one standard
error of the former. A model whose line is in OUT/rows.jsonl is not measured again, nor is a model trained again whose
weights are there, so an interrupted call can simply be repeated. On two cores that nobody else uses all of it takes
about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.deploy.files import written
from benchmarks.deploy.models import MODELS, Model
from benchmarks.deploy.table import table
from benchmarks.deploy.tasks import Task, fit, measured
from dashfx.deploy.runtime import OnnxModel
from dashfx.deploy.targets.machine import this_machine
from dashfx.deploy.timing import call_of, in_turn
from dashfx.train.progress import end_last_line, read_log

CALLS = 1000  # of a file in a repeat, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a repeat, for all files of a model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = options.out / "rows.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    there = {row["model"]: row for row in read_log(rows) if "model" in row}
    for name in options.models:
        if name not in there:
            there[name] = row_of(name, MODELS[name], options.out / name, options.repeats, options.seconds)
            end_last_line(rows)
            with rows.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(there[name]) + "\n")
    print(table([there[name] for name in MODELS if name in there]))


def row_of(name: str, model: Model, folder: Path, repeats: int, seconds: float) -> dict[str, Any]:
    """All that is known of a model's files, as JSON takes it."""
    started, task = time.perf_counter(), model.task()
    folder.mkdir(exist_ok=True)
    net = trained(model, task, folder / "weights.safetensors")
    paths, said = written(net, task, folder)
    metrics = {file: measured(OnnxModel(path).rows, task, task.test) for file, path in paths.items()}
    times = timed(paths, task.train[0][:1], repeats, seconds)
    row = {"model": name, "sequence": len(model.shape) == 2, "said": said, "threads": 1, "times": times}
    row |= {"metrics": metrics, "bytes": {file: path.stat().st_size for file, path in paths.items()}}
    row |= {"machine": this_machine(), "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
    print(f"{name}: {time.perf_counter() - started:.0f} s; {said}", flush=True)
    return row


def trained(model: Model, task: Task, weights: Path) -> nn.Module:
    torch.manual_seed(0)
    net = model.make()
    if weights.is_file():
        net.load_state_dict(load_file(weights))
        return net.eval().requires_grad_(False)
    net = fit(net, task, model.epochs)
    save_file(net.state_dict(), weights)
    return net


def timed(paths: Mapping[str, Path], row: Tensor, repeats: int, seconds: float) -> dict[str, list[float]]:
    """File -> the median seconds of a call in each repeat.

    Each repeat has sessions of its own, in another order: where a session's memory lies makes some percent too.
    """
    found: dict[str, list[float]] = {file: [] for file in paths}
    for repeat in range(repeats):
        order = [*paths][repeat % len(paths) :] + [*paths][: repeat % len(paths)]
        times = in_turn([call_of(paths[file], [row]) for file in order], seconds, CALLS)
        for file, spent in zip(order, times, strict=True):
            found[file].append(median(spent))
    return found


if __name__ == "__main__":
    main()
