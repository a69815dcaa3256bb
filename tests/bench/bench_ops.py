"""Prints the median milliseconds of forward + backward per layer, algorithm by algorithm, beside a plain 3-tap conv.

    python tests/bench/bench_ops.py [repeats [algorithm ...]]

K x D of 16 (2-D) or 20 (1-D) candidates, float32, on the CPU with as many threads as torch takes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dashfx.ops import AggConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune import choose
from dashfx.space import SearchSpace

# name: channels in, out, groups, stride, size, batch
LAYERS: dict[str, tuple[int, int, int, int, tuple[int, ...], int]] = {
    "2-D 16->16 at 32x32, batch 64": (16, 16, 1, 1, (32, 32), 64),
    "2-D 16->32 /2 at 32x32, batch 64": (16, 32, 1, 2, (32, 32), 64),
    "2-D 32->32 at 16x16, batch 64": (32, 32, 1, 1, (16, 16), 64),
    "2-D 64->64 at 8x8, batch 64": (64, 64, 1, 1, (8, 8), 64),
    "2-D 16->16 at 85x85, batch 10": (16, 16, 1, 1, (85, 85), 10),
    "2-D depthwise 96 at 28x28, batch 8": (96, 96, 96, 1, (28, 28), 8),
    "2-D 64 in 8 groups at 28x28, batch 8": (64, 64, 8, 1, (28, 28), 8),
    "1-D 16->16 at 1000, batch 64": (16, 16, 1, 1, (1000,), 64),
    "1-D 64->64 at 46, batch 256": (64, 64, 1, 1, (46,), 256),
    "1-D 16->32 /2 at 1000, batch 64": (16, 32, 1, 2, (1000,), 64),
    "1-D depthwise 128 at 1024, batch 8": (128, 128, 128, 1, (1024,), 8),
}


def step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        module(x).sum().backward()

    return run


def median_ms(run: Callable[[], None], repeats: int) -> float:
    run()  # warm-up: caches and the allocator
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main(repeats: int = 5, *algorithms: str) -> None:
    algorithms = algorithms or tuple(ALGORITHMS)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {repeats}, ms; * is `auto`")
    print(f"{'layer':38}" + "".join(f"{name:>17}" for name in algorithms) + f"{'plain conv':>12}")
    for title, (inside, outside, groups, stride, size, batch) in LAYERS.items():
        conv = (nn.Conv1d, nn.Conv2d)[len(size) - 1]
        space = SearchSpace.preset(f"dash{len(size)}d")
        strides = (stride,) * len(size)
        agg = AggConv(inside, outside, space, stride=strides, padding=1, original=(3, 1), groups=groups)
        x = torch.randn(batch, inside, *size, requires_grad=True)
        picked = choose(agg.spec, tuple(x.shape), outside)
        cells = []
        for name in algorithms:
            agg.algorithm = name
            cells.append(f"{median_ms(step(agg, x), repeats):.1f}{'*' if name == picked else ' '}")
        plain = median_ms(step(conv(inside, outside, 3, stride, 1, groups=groups), x), 3 * repeats)
        print(f"{title:38}" + "".join(f"{cell:>17}" for cell in cells) + f"{plain:>12.1f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
