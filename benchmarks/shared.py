"""Times of a conv of several kernels: its parts one by one, as dashfx lowers it, beside one conv of the widest span.

    python -m benchmarks.shared

In place of parts one kernel can be packed at each call, with zeros where a part has no tap: fewer calls, more
multiply-adds. Both are timed in turns, forward and backward by PyTorch and forward by ONNX Runtime, on one thread; what
is printed are ratios of medians, below 1 where the packed conv is faster.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dashfx
from dashfx import Candidate, Genotype, Shared

CONVS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}
LAYERS = (  # name, channels, size, batch, choice
    ("series, width 8", 8, (140,), 16, Shared(map(Candidate, (5, 11, 19)))),
    ("series, width 64", 64, (140,), 16, Shared(map(Candidate, (5, 11, 19)))),
    ("series, width 64, sum", 64, (140,), 16, Shared((Candidate(3), Candidate(7, 3)), "sum")),
    ("images, width 16", 16, (32, 32), 16, Shared([Candidate((k, k)) for k in (3, 5, 7)])),
    ("images, width 64", 64, (16, 16), 16, Shared([Candidate((k, k)) for k in (3, 5, 7)])),
    ("images, width 64, sum", 64, (16, 16), 16, Shared((Candidate((3, 3)), Candidate((3, 3), (3, 3))), "sum")),
)


class One(nn.Module):
    """The conv of a small model."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        kind = nn.Conv1d if axes == 1 else nn.Conv2d
        self.conv: Any = kind(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Packed(nn.Module):
    """The same parts as one dense conv, whose kernel is put together at each call."""

    def __init__(self, parts: nn.Module, choice: Shared) -> None:
        super().__init__()
        self.parts: Any = parts
        self.span = [max(spans) for spans in zip(*(part.span for part in choice.parts), strict=True)]
        self.total = choice.how == "sum"

    def forward(self, x: Tensor) -> Tensor:
        kernels, biases = [], [part.bias for part in self.parts.parts if part.bias is not None]
        for part in self.parts.parts:
            spread = part.weight
            for axis, dilation in enumerate(part.dilation):
                spread = _spread(spread, 2 + axis, dilation)
            gaps = [full - own for full, own in zip(self.span, spread.shape[2:], strict=True)]
            kernels.append(F.pad(spread, [side for gap in reversed(gaps) for side in (gap // 2, gap - gap // 2)]))
        kernel = sum(kernels[1:], kernels[0]) if self.total else torch.cat(kernels)
        same = [span // 2 for span in self.span]
        conv: Tensor = CONVS[len(self.span)](x, kernel, torch.cat(biases), padding=same)
        return conv


def _spread(weight: Tensor, axis: int, dilation: int) -> Tensor:
    """Zeros between the taps of one axis."""
    if dilation == 1:
        return weight
    zeros = torch.zeros_like(weight)
    both = torch.stack([weight, *[zeros] * (dilation - 1)], axis + 1).flatten(axis, axis + 1)
    return both.narrow(axis, 0, both.shape[axis] - dilation + 1)


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median seconds of the processor that each takes, in turns so that what else runs meets all of them."""
    for call in calls:
        call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            taken.append(time.process_time() - start)
    return [median(taken) for taken in times]


def trained(model: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(model(x).sum(), tuple(model.parameters()))


def session(model: nn.Module, x: Tensor, path: Path) -> Callable[[], object]:
    torch.onnx.export(model.eval(), (x,), str(path), dynamo=True, optimize=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = found.get_inputs()[0].name
    return lambda: found.run(None, {name: x.numpy()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{'layer':24} {'training':>9} {'ONNX Runtime':>13}   packed over parts")
    with tempfile.TemporaryDirectory() as folder:
        for name, channels, size, batch, choice in LAYERS:
            x = torch.randn(batch, channels, *size)
            parts: Any = dashfx.specialise(One(channels, len(size)), x, Genotype({"conv": choice}), "fresh")
            packed = Packed(parts.conv, choice)
            torch.testing.assert_close(packed(x), parts(x), rtol=1e-3, atol=1e-4)
            old, new = in_turns([trained(parts, x), trained(packed, x)], rounds)
            paths = [Path(folder, f"{kind}.onnx") for kind in ("parts", "packed")]
            calls = [session(model, x[:1], path) for model, path in zip((parts, packed), paths, strict=True)]
            slow, fast = in_turns(calls, rounds)
            print(f"{name:24} {new / old:9.2f} {fast / slow:13.2f}", flush=True)


if __name__ == "__main__":
    main()
