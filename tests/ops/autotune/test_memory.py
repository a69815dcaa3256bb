"""The formulas for a step's memory against what a step really holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dashfx.ops.autotune.memory import free_bytes, in_words, step_bytes
from dashfx.ops.autotune.suite import SUITE, Layer, training_step
from dashfx.ops.autotune.timing import peak_bytes

CPU = torch.device("cpu")
SMALL = [
    Layer(16, 16, (12, 12), 8),
    Layer(8, 12, (40,), 16, stride=2),
    Layer(64, 64, (6, 6), 2),
    Layer(16, 16, (1000,), 4),
    Layer(64, 64, (46,), 16),
    Layer(16, 16, (28, 28), 2, groups=4),
    Layer(32, 32, (300,), 2, groups=32),
]


def measured(layer: Layer, algorithm: str) -> tuple[int, int]:
    """(estimate, measurement)"""
    aggconv, x = layer.aggconv(algorithm), layer.input()
    estimate = step_bytes(algorithm, aggconv.terms, tuple(x.shape), layer.out_channels)
    assert estimate.kept <= estimate.peak
    step = training_step(aggconv, x)
    step()
    return estimate.peak, peak_bytes(step, CPU)


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
@pytest.mark.parametrize("algorithm", ["fourier", "fourier_recompute", "mixed_results"])
def test_the_estimate_is_within_a_factor_of_two(layer: Layer, algorithm: str) -> None:
    estimate, peak = measured(layer, algorithm)
    assert peak / 2 < estimate < 2 * peak


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
@pytest.mark.parametrize("algorithm", ["grouped_dilation", "mixed_weights"])
def test_the_estimate_bounds_native_convs(layer: Layer, algorithm: str) -> None:
    estimate, peak = measured(layer, algorithm)
    assert peak < 1.5 * estimate


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
@pytest.mark.parametrize("algorithm", ["fourier", "fourier_recompute"])
def test_what_is_kept_for_the_backward_pass(layer: Layer, algorithm: str) -> None:
    aggconv, x = layer.aggconv(algorithm), layer.input()
    kept = step_bytes(algorithm, aggconv.terms, tuple(x.shape), layer.out_channels).kept
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = aggconv(x)
    for own in (x, *aggconv.parameters()):
        saved.pop(own.untyped_storage().data_ptr(), None)
    assert y.grad_fn is not None and kept / 2 < sum(saved.values()) < 2 * kept


@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_padded_inputs_are_counted(mode: str) -> None:
    layer = Layer(4, 4, (64,), 16)
    zeros, padded = layer.aggconv().spec, replace(layer.aggconv().spec, padding_mode=mode)
    for name in ("grouped_dilation", "mixed_weights"):
        assert step_bytes(name, zeros, (16, 4, 64), 4).kept < step_bytes(name, padded, (16, 4, 64), 4).kept


def test_half_precision_takes_half_but_not_for_spectra() -> None:
    layer = SUITE[0]
    facts = layer.aggconv().spec, (layer.batch, layer.in_channels, *layer.size), layer.out_channels
    assert step_bytes("fourier", *facts, 2) == step_bytes("fourier", *facts, 4)
    assert 2 * step_bytes("grouped_dilation", *facts, 2).peak == step_bytes("grouped_dilation", *facts, 4).peak


def test_peak_bytes_of_known_tensors() -> None:
    x = torch.ones(1000)  # 4000 bytes

    def step() -> None:
        a = x + 1
        b = a + a
        del a
        c = b + b
        del b, c

    assert 8000 <= peak_bytes(step, CPU) < 8100


def test_free_memory_is_some() -> None:
    free = free_bytes(CPU)
    assert free is None or free > 2**20
    assert in_words(999) == "999 B" and in_words(70_400_000) == "70.4 MB"


def test_estimates_follow_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = SUITE[4]
    facts = layer.aggconv().spec, (layer.batch, layer.in_channels, *layer.size), layer.out_channels
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append([step_bytes(name, *facts).peak for name in ("fourier", "grouped_dilation")])
    assert all(alone < shared for alone, shared in zip(*found, strict=True))
