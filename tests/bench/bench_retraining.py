"""A training step of networks with large kernels by PyTorch's own convs, and by the Fourier path where that pays.

    python tests/bench/bench_retraining.py [--models WRN-16-1 'WRN 1-D'] [--seeds 0 1] [--repeats 7]

Networks are the backbones of `bench_supernets.py` with a random candidate of the paper's K x D at every conv, one for
each seed. Forward + backward of all parameters; both ways take turns, the ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import torch
from bench_supernets import CASES, DEVICE, Case, training_step
from torch import nn

from dashfx import specialise
from dashfx.genotype import Genotype
from dashfx.ops.fourierconv import computed_by, faster_convs
from dashfx.ops.measure import Timing, in_turns
from dashfx.ops.tuningtable import machine
from dashfx.space import SearchSpace
from dashfx.tracing import trace


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    print(f"{machine(DEVICE)}; {options.repeats} turns, spread is half the distance of the quartiles")
    print(
        f"{'':10} {'seed':>4} {'PyTorch':>12} {'Fourier':>12} {'times':>6} {'spread':>7}  convs by Fourier, measured in"
    )
    for name in options.models:
        for seed in options.seeds:
            compare(name, CASES[name], seed, options.batch or CASES[name].batch, options.repeats)


def compare(name: str, case: Case, seed: int, batch: int, repeats: int) -> None:
    x = torch.randn(batch, *case.shape, device=DEVICE)
    model = drawn(case, x[:2], seed).to(DEVICE).train()
    chosen, tuning = faster_convs(model, x)
    step = training_step(model, x)

    def by_fourier() -> object:
        with computed_by(model, chosen):
            return step()

    plain, fast = in_turns([step, by_fourier], DEVICE, repeats)
    ratio = Timing(tuple(a / b for a, b in zip(plain.runs, fast.runs, strict=False)))
    times = f"{1e3 * plain.median:9.1f} ms {1e3 * fast.median:9.1f} ms {ratio.median:6.2f} {ratio.spread:7.1%}"
    print(f"{name:10} {seed:4} {times}  {len(chosen)}, {tuning.seconds if tuning else 0:.1f} s", flush=True)


def drawn(case: Case, x: torch.Tensor, seed: int) -> nn.Module:
    """The backbone with a random candidate at every conv."""
    torch.manual_seed(seed)
    model, rng = case.build(), random.Random(seed)
    space = SearchSpace.preset("dash1d" if len(case.shape) == 2 else "dash2d")
    sites = trace(model, x).sites.values()
    return specialise(
        model, x, Genotype({s.name: rng.choice(space.for_site(s.name, s.original)) for s in sites}), "fresh"
    )


if __name__ == "__main__":
    main()
