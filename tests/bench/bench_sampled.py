"""A training step of the sampled mode beside one of the mixture, layer by layer of the suite, in one run.

    python tests/bench/bench_sampled.py [--layers '2-D*'] [--repeats 9]

A step is forward and backward for the input, the layer's parameters and its logits. The mixture is computed by the
algorithm that is measured to be the fastest; the sampled mode computes each candidate once, and the mean over them
counts, as where all are drawn alike. All take turns.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch

from dashfx.ops import AggConv
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.suite import SUITE, Layer, training_step
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import Step, in_turns
from dashfx.ops.mixture import Sampled


def mixture_step(conv: AggConv, x: torch.Tensor) -> Step:
    """Forward and backward with coefficients that have a gradient."""
    return _step(conv, x, lambda inputs: [conv.mix(inputs, conv.coefficients())])


def sampled_step(conv: AggConv, x: torch.Tensor) -> Step:
    """The same for each candidate alone, one after another."""

    def run(inputs: torch.Tensor) -> Iterator[torch.Tensor]:
        for index in range(len(conv.candidates)):
            yield conv.alone(inputs, Sampled.of(conv.coefficients(), index))

    return _step(conv, x, run)


def _step(conv: AggConv, x: torch.Tensor, run: Callable[[torch.Tensor], Iterable[torch.Tensor]]) -> Step:
    inputs, wanted = x.detach().requires_grad_(), list(conv.parameters())
    with torch.no_grad():
        grad = torch.randn_like(conv.mix(x, conv.coefficients()))

    def step() -> None:
        for y in run(inputs):
            torch.autograd.grad(y, [inputs, *wanted], grad, allow_unused=True)

    return step


def measured(layer: Layer, repeats: int) -> tuple[float, float, float]:
    """Seconds of the mixture, of one candidate alone, and of the plain conv of 3 taps: medians."""
    device, x, conv = torch.device("cpu"), layer.input(), layer.aggconv()
    tune(conv, x)
    steps = [mixture_step(conv, x), sampled_step(conv, x), training_step(layer.plain(), x)]
    mixture, sampled, plain = (timing.median for timing in in_turns(steps, device, repeats))
    return mixture, sampled / len(conv.candidates), plain


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="*", help="a glob over the layers' names")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    print(machine(torch.device("cpu")))
    print(f"{'layer':<48} {'mixture':>9} {'sampled':>9} {'plain':>9}  ratio   (ms)")
    ratios = []
    for layer in SUITE:
        if not fnmatchcase(layer.name, options.layers):
            continue
        mixture, sampled, plain = measured(layer, options.repeats)
        ratios.append(mixture / sampled)
        print(f"{layer.name:<48} {1e3 * mixture:9.1f} {1e3 * sampled:9.1f} {1e3 * plain:9.1f}  {ratios[-1]:5.2f}")
    if ratios:
        print(f"geometric mean of mixture / sampled over {len(ratios)} layers: {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
