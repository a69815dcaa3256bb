"""A training step of networks with large kernels by PyTorch's own convs, and by the Fourier path where that pays.

    python tests/bench/bench_retraining.py [--models WRN-16-1 'WRN 1-D'] [--seeds 0 1] [--repeats 5]

Networks are the backbones of `bench_supernets.py` with a random candidate of the paper's K x D at every conv, one for
each seed. Forward + backward of all parameters; both ways take turns, the ratio is the median over turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from bench_supernets import CASES, DEVICE, Case, headline, parser_of, training_step
from torch import nn

from dashfx import lower, rewrite
from dashfx.ops import sites_of
from dashfx.ops.autotune.timing import in_turns
from dashfx.ops.fourier.plain_convs import computed_by, faster_convs
from dashfx.strategies.rules import RandomChoice


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    options = parser.parse_args(arguments)
    print(headline(options.repeats))
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
    ratio = plain.over(fast)
    times = f"{1e3 * plain.median:9.1f} ms {1e3 * fast.median:9.1f} ms {ratio.median:6.2f} {ratio.spread:7.1%}"
    print(f"{name:10} {seed:4} {times}  {len(chosen)}, {tuning.seconds if tuning else 0:.1f} s", flush=True)


def drawn(case: Case, x: torch.Tensor, seed: int) -> nn.Module:
    """The backbone with a random candidate at every conv."""
    torch.manual_seed(seed)
    supernet = rewrite(case.build(), x, case.space(), "fresh")
    return lower(supernet, RandomChoice(seed).select(sites_of(supernet)))


if __name__ == "__main__":
    main()
