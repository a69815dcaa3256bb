"""Latency of ONNX files, called in turn on one CPU thread, so that what else the machine does slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import onnxruntime
from torch import Tensor

from dashfx.deploy.runtime import CPU

Call = Callable[[], object]

REPEATS, WARM_UP = 30, 3
SECONDS = 2.0  # for all calls together; a slow one is called less often
LEAST = 5  # calls of each, whatever they take


def in_turn(calls: Sequence[Call], seconds: float = SECONDS, repeats: int = REPEATS) -> list[list[float]]:
    """The seconds of each call of each of `calls`, after a warm-up."""
    for call in [*calls] * WARM_UP:
        call()
    spent: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for turn in range(repeats):
        if turn >= LEAST and time.perf_counter() > end:
            break
        for call, times in zip(calls, spent, strict=True):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return spent


def medians(paths: Sequence[Path], inputs: Sequence[Tensor], seconds: float = SECONDS) -> list[float]:
    """The median seconds of a call of each file.

    Args:
        inputs: those of one call, in the order of the files' inputs.
    """
    return [median(times) for times in in_turn([call_of(path, inputs) for path in paths], seconds)]


def call_of(path: Path, inputs: Sequence[Tensor], threads: int = 1, provider: str = CPU) -> Call:
    """A call of the file in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=[provider])
    names = [output.name for output in session.get_outputs()]
    feed = {given.name: x.numpy() for given, x in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(names, feed)
