"""A training step of the sampled mode beside one of the mixture, layer by layer of the suite, in one run.

    python tests/bench/bench_sampled.py [--layers '2-D*'] [--repeats 9] [--cpu-time]

A step is forward and backward for the input, the layer's parameters and its logits. The mixture is computed by the
algorithm that is measured to be the fastest; the sampled mode computes each candidate once, and the mean over them
counts, as where all are drawn alike. All take turns. The spread is half the distance of the quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch

from dashfx.ops import AggConv
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.suite import SUITE, Layer, training_step
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import Clock, Step, in_turns
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


def measured(layer: Layer, repeats: int, clock: Clock) -> tuple[float, float, float, float]:
    """Seconds of the mixture, of one candidate alone, and of the plain conv of 3 taps, medians; the ratio's spread."""
    device, x, conv = torch.device("cpu"), layer.input(), layer.aggconv()
    tune(conv, x)
    steps = [mixture_step(conv, x), sampled_step(conv, x), training_step(layer.plain(), x)]
    mixture, sampled, plain = in_turns(steps, device, repeats, clock=clock)
    return mixture.median, sampled.median / len(conv.candidates), plain.median, mixture.over(sampled).spread


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="*", help="a glob over the layers' names")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true", help="of the processor, for one that others use too")
    options = parser.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    print(machine(torch.device("cpu")))
    print(f"{'layer':<48} {'mixture':>9} {'sampled':>9} {'plain':>9}  ratio   (ms)")
    ratios = []
    for layer in SUITE:
        if not fnmatchcase(layer.name, options.layers):
            continue
        mixture, sampled, plain, spread = measured(layer, options.repeats, clock)
        ratios.append(mixture / sampled)
        columns = " ".join(f"{1e3 * seconds:9.1f}" for seconds in (mixture, sampled, plain))
        print(f"{layer.name:<48} {columns}  {ratios[-1]:5.2f} ± {spread:.0%}")
    if ratios:
        print(f"geometric mean of mixture / sampled over {len(ratios)} layers: {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
