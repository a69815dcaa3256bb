"""The suite's layers: what they are called, and that mixture and plain conv give the same shape."""

from __future__ import annotations

import pytest
import torch

from dashfx.ops.autotune.suite import SUITE, Layer
from dashfx.ops.autotune.timing import Timing, in_turns, timing


@pytest.mark.parametrize("layer", SUITE, ids=lambda layer: layer.name)
def test_the_mixture_stands_for_the_plain_conv(layer: Layer) -> None:
    aggconv, plain = layer.aggconv(), layer.plain()
    assert len(aggconv.candidates) == (20 if layer.ndim == 1 else 16)
    assert aggconv.spec.output_size(layer.size) == tuple(
        (n + 2 - plain.dilation[0] * (plain.kernel_size[0] - 1) - 1) // layer.stride + 1 for n in layer.size
    )
    assert aggconv.weights[0].shape == plain.weight.shape and aggconv.groups == plain.groups


def test_names() -> None:
    names = [layer.name for layer in SUITE]
    assert len(set(names)) == len(names) and "2-D 16->32 /2 at 32x32, batch 64" in names
    assert "2-D depthwise 96 at 56x56, batch 8" in names and "2-D 64->64 in 8 groups at 28x28, batch 8" in names


def test_median_and_spread() -> None:
    assert Timing((5.0,)).spread == 0 and Timing((1.0, 3.0, 2.0, 5.0, 4.0)).median == 3
    assert Timing((1.0, 3.0, 2.0, 5.0, 4.0)).spread == pytest.approx(1 / 3)


def test_the_warm_up_is_not_timed_and_a_limit_ends_the_runs() -> None:
    calls: list[int] = []
    assert len(timing(lambda: calls.append(1), torch.device("cpu"), 4).runs) == 4 and len(calls) == 5
    assert len(timing(lambda: calls.append(1), torch.device("cpu"), 4, limit=0).runs) == 1


def test_steps_take_turns_until_one_has_run_for_long_enough() -> None:
    calls: list[str] = []
    clock = iter(range(100)).__next__  # a second between two looks
    steps = [lambda: calls.append("a"), lambda: calls.append("b")]
    first, second = in_turns(steps, torch.device("cpu"), 3, limit=2, clock=clock)
    assert calls == [*"aabb", *"bbaa"] and first.runs == second.runs == (1, 1)
