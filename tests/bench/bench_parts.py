"""Where a training step of the Fourier path spends its time, layer by layer of the suite.

    python tests/bench/bench_parts.py [--layers '2-D*'] [--repeats 9]

The transforms and the products of a plan are replaced by ones that read the clock around each call. What is left,
"rest", is the mixing of kernels, windows, and Python.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from unittest import mock

import torch

from dashfx.ops.autotune.suite import SUITE, Layer, training_step
from dashfx.ops.autotune.table import machine
from dashfx.ops.fourier import algorithm
from dashfx.ops.fourier.plan import FourierPlan
from dashfx.ops.fourier.products import Channels
from dashfx.ops.fourier.transforms import Transform

PARTS = ("partial spectra", "slices", "products", "kernels", "rest")


class Timed:
    """Another object, of which the calls named in `parts` are timed and added to `spent`."""

    def __init__(self, inner: Any, parts: dict[str, str], spent: Counter[str]) -> None:
        self._inner, self._parts, self._spent = inner, parts, spent

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._around(found, self._parts[name]) if name in self._parts else found

    def _around(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **more: Any) -> Any:
            started = time.perf_counter()
            result = call(*args, **more)
            self._spent[part] += time.perf_counter() - started
            return result

        return timed


class TimedTransform(Timed):
    """A transform whose slices are timed as well."""

    def __init__(self, inner: Transform, spent: Counter[str], whole: str, sliced: str) -> None:
        super().__init__(inner, dict.fromkeys(("begin", "finish", "blank", "chunks"), whole), spent)
        self._sliced = sliced

    def at(self, *facts: Any) -> Timed:
        return Timed(self._inner.at(*facts), dict.fromkeys(("analyse", "adjoint"), self._sliced), self._spent)


def timed_plan(plan: FourierPlan, spent: Counter[str]) -> FourierPlan:
    def images(transform: Transform) -> TimedTransform:
        return TimedTransform(transform, spent, "partial spectra", "slices")

    phases = tuple(
        dataclasses.replace(phase, taps=TimedTransform(phase.taps, spent, "kernels", "kernels"))
        for phase in plan.phases
    )
    return dataclasses.replace(plan, phases=phases, inputs=images(plan.inputs), outputs=images(plan.outputs))


def profile(layer: Layer, repeats: int) -> dict[str, float]:
    """Milliseconds of each part of a step, the median over repeats; `step` is their sum."""
    spent: Counter[str] = Counter()
    products = dict.fromkeys(("output", "grad_input", "grad_kernel", "load", "unload"), "products")
    product, plan = Channels.product, algorithm.plan_for
    timed = cache(lambda *facts: timed_plan(plan(*facts), spent))
    with (
        mock.patch.object(algorithm, "plan_for", timed),
        mock.patch.object(Channels, "product", lambda *facts: Timed(product(*facts), products, spent)),
    ):
        step = training_step(layer.aggconv("fourier"), layer.input())
        step()
        turns = []
        for _ in range(repeats):
            spent.clear()
            started = time.perf_counter()
            step()
            whole = time.perf_counter() - started
            turns.append({**spent, "rest": whole - spent.total(), "step": whole})
    return {part: 1e3 * statistics.median(turn[part] for turn in turns) for part in ("step", *PARTS)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="*", metavar="GLOB")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    print(f"{machine(torch.device('cpu'))}; median of {options.repeats}, ms")
    print("| layer | step |", " | ".join(PARTS), "|")
    for layer in SUITE:
        if fnmatchcase(layer.name, options.layers):
            print(f"| {layer.name} |", " | ".join(f"{ms:.1f}" for ms in profile(layer, options.repeats).values()), "|")


if __name__ == "__main__":
    main()
