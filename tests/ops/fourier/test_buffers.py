"""The memory that all convs of a thread share on a CPU: who uses it in turns with others computes as if alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from dashfx.ops.aggconv import AggConv
from dashfx.ops.fourier import buffers
from dashfx.ops.fourier.buffers import release
from dashfx.space import SearchSpace

SIZES = [(40,), (300,), (9, 9), (20, 20), (5, 6, 7), (3, 700)]  # direct, in two steps, staged, by FFT


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    release()
    yield
    release()


def conv(size: tuple[int, ...], algorithm: str = "fourier") -> tuple[AggConv, Tensor]:
    space = SearchSpace.product((3, 5), (1, 3))
    original = ((3,) * len(size), (1,) * len(size))
    module = AggConv(4, 6, space, padding=1, original=original, groups=2, algorithm=algorithm, dtype=torch.float64)
    module.reset_parameters(torch.Generator().manual_seed(0))
    x = torch.randn(3, 4, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return module, x.requires_grad_()


def step(module: AggConv, x: Tensor) -> list[Tensor]:
    y = module(x)
    return [y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_steps_of_several_convs_may_overlap() -> None:
    made = [conv(size) for size in SIZES]
    outputs = [module(x) for module, x in made]
    for (module, x), y, size in zip(made, outputs, SIZES, strict=True):
        found = [y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])]
        assert_close(found, step(*conv(size, "mixed_results")))


def test_outputs_and_gradients_are_not_in_shared_memory() -> None:
    first = step(*conv((20, 20)))
    before = [t.clone() for t in first]
    step(*conv((20, 20)))
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


def test_threads_do_not_share() -> None:
    expected = step(*conv((20, 20), "mixed_results"))
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: step(*conv((20, 20))), range(16)):
            assert_close(found, expected)


def test_what_inference_mode_leaves_serves_a_training_step() -> None:
    with torch.inference_mode():
        module, x = conv((20, 20))
        module(x.detach())
    assert_close(step(*conv((20, 20))), step(*conv((20, 20), "mixed_results")))


def test_memory_is_shared_and_given_back() -> None:
    kept = buffers._kept
    for size in ((20, 20), (9, 9)):
        step(*conv(size))
    (large, small) = kept.pools.values()
    assert large.scratch.data_ptr() == small.scratch.data_ptr() == kept.memory.data_ptr()
    step(*conv((40, 40)))  # a larger one takes a new piece, and the others follow
    assert len(kept.pools) == 1
    step(*conv((9, 9)))
    assert {pool.scratch.data_ptr() for pool in kept.pools.values()} == {kept.memory.data_ptr()}
    release()
    assert not kept.pools and not len(kept.memory)


def test_partial_spectra_that_are_too_large_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "MOST_KEPT", 0)
    assert_close(step(*conv((20, 20))), step(*conv((20, 20), "mixed_results")))
    (pool,) = buffers._kept.pools.values()
    assert not len(pool.storage)


def test_plans_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "PLANS", 2)
    for n in (10, 9, 8, 7):  # a larger one would take new memory, and forget the others for that
        assert_close(step(*conv((n,))), step(*conv((n,), "mixed_results")))
        assert len(buffers._kept.pools) <= 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", ["x", "weights.0", "bias", "alpha"])
def test_a_single_gradient(size: tuple[int, ...], wanted: str) -> None:
    grads = []
    for algorithm in ("fourier", "mixed_results"):
        module, x = conv(size, algorithm)
        module.requires_grad_(False)
        x = x.detach()
        own = x if wanted == "x" else module.get_parameter(wanted)
        own.requires_grad_()
        grads.append(torch.autograd.grad(module(x).square().sum(), [own]))
    assert_close(*map(list, grads))
