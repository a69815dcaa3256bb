"""A training step of whole supernets beside the same backbone's own step: times, memory, and their ratios.

    python tests/bench/bench_supernets.py [--models WRN-16-1 TCN] [--ways auto grouped_dilation] [--repeats 5]

Forward + backward of all parameters with the paper's K x D for the model's dimension. Steps of the backbone and of its
supernets take turns, so that whatever else the machine does slows all of them; the ratio is the median over turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dashfx.backbones import TCN, WRN, ConvNeXt, WRN1d
from dashfx.ops import sites_of
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.memory import in_words
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import Step, in_turns, peak_bytes
from dashfx.space import SearchSpace
from dashfx.supernet import rewrite


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int

    def space(self) -> SearchSpace:
        return SearchSpace.preset("dash1d" if len(self.shape) == 2 else "dash2d")


CASES = {
    "WRN-16-1": Case(lambda: WRN(16, 1), (3, 32, 32), 64),
    "WRN 1-D": Case(lambda: WRN1d(width=16), (1, 1000), 32),
    "TCN": Case(lambda: TCN(num_classes=10, in_channels=1), (1, 1000), 32),
    "ConvNeXt": Case(lambda: ConvNeXt(), (3, 64, 64), 16),
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--ways", nargs="+", default=["auto"], help="algorithms of the supernet; auto is tuned")
    options = parser.parse_args(arguments)
    print(headline(options.repeats))
    print(
        f"{'':10} {'way':18} {'backbone':>12} {'supernet':>12} {'ratio':>7} {'spread':>7} {'memory':>18} {'ratio':>7}"
    )
    for name in options.models:
        compare(name, CASES[name], options.ways, options.batch or CASES[name].batch, options.repeats)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """What all benchmarks of these models are asked."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    return parser


def headline(repeats: int) -> str:
    return f"{machine(DEVICE)}; {repeats} turns, spread is half the distance of the quartiles"


def compare(name: str, case: Case, ways: Sequence[str], batch: int, repeats: int) -> None:
    torch.manual_seed(0)
    plain = case.build().to(DEVICE).train()
    x = torch.randn(batch, *case.shape, device=DEVICE)
    steps = {"": training_step(plain, x)}
    for way in ways:
        supernet = rewrite(plain, x[:2], case.space(), "fresh", algorithm=way).train()
        if way == "auto":
            tuning = tune(supernet, x)
            print(f"{name}: {len(sites_of(supernet))} sites, {tuning}")
        steps[way] = training_step(supernet, x)
    times = dict(zip(steps, in_turns(list(steps.values()), DEVICE, repeats), strict=True))
    peaks = {way: peak_bytes(step, DEVICE) for way, step in steps.items()}
    for way in ways:
        ratios = times[way].over(times[""])
        medians = [1e3 * times[key].median for key in ("", way)]
        memory = f"{in_words(peaks[''])} {in_words(peaks[way])}"
        print(
            f"{name:10} {way:18} {medians[0]:9.1f} ms {medians[1]:9.1f} ms {ratios.median:7.2f} {ratios.spread:7.1%} "
            f"{memory:>18} {peaks[way] / peaks['']:7.2f}",
            flush=True,
        )


def training_step(model: nn.Module, x: torch.Tensor) -> Step:
    """Forward and backward for all parameters that get a gradient."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return lambda: torch.autograd.grad(model(x).square().mean(), parameters, allow_unused=True)


if __name__ == "__main__":
    main()
