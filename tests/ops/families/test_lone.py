"""A lone candidate is computed by several algorithms: all give what a native conv does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dashfx.ops.algorithms.polyphase import phases_of
from dashfx.ops.autotune.estimate import choose_alone
from dashfx.ops.families.alone import alone
from dashfx.ops.families.lone import lone
from dashfx.ops.geometry import ConvSpec, dilated_lattices
from dashfx.space import Candidate

WAYS = ("auto", "mixed_weights", "polyphase", "fourier")


def spec_of(
    kernel: int, dilation: int, groups: int = 1, stride: int = 1, mode: str = "zeros", left: int = 0
) -> ConvSpec:
    side = dilation * (kernel - 1) // 2
    return ConvSpec(
        (Candidate((kernel,) * 2, (dilation,) * 2),), (((side + left, side),) * 2,), (stride,) * 2, groups, mode
    )


SPECS = [spec_of(5, 15), spec_of(9, 7), spec_of(3, 3, groups=2, left=1), spec_of(5, 4, 4), spec_of(9, 1)]
SPECS += [spec_of(4, 3, stride=2), spec_of(3, 2, mode="circular"), spec_of(3, 5, groups=4)]


def results(spec: ConvSpec, way: str, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 11, 10), (4, 4 // spec.groups, *spec.candidates[0].kernel), (4,)
    x, kernel, bias = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)
    inputs = [t.to(dtype).requires_grad_() for t in (x, kernel, bias)]
    y = alone(inputs[0], inputs[1], spec, inputs[2]) if not way else lone(inputs[0], inputs[1], spec, inputs[2], way)
    grad = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return [y, *torch.autograd.grad(y, inputs, grad.to(dtype))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_way_is_the_conv(spec: ConvSpec, dtype: torch.dtype, tolerance: float, way: str) -> None:
    for found, exact in zip(results(spec, way, dtype), results(spec, "", torch.float64), strict=True):
        assert found.dtype == dtype and found.shape == exact.shape
        scale = max(1.0, float(exact.detach().abs().max()))
        assert float((found - exact).detach().abs().max()) <= tolerance * scale


def test_phases_are_taken_and_read_no_padding_that_every_phase_has() -> None:
    """15 apart on 32 places are 3 inputs and outputs a phase, whatever the taps; a stride is left to a native conv."""
    for kernel in (3, 9):
        spec = spec_of(kernel, 15)
        (lattice,) = dilated_lattices(spec, (32, 32))
        phases = phases_of(lattice.points, spec, (32, 32))
        assert phases is not None and phases.inputs == phases.outputs == (3, 3)
    strided = spec_of(3, 15, stride=2)
    assert phases_of(dilated_lattices(strided, (32, 32))[0].points, strided, (32, 32)) is None


def test_the_rule_has_a_use_for_each() -> None:
    names = [choose_alone(spec_of(*facts), (64, 16, 32, 32), 16) for facts in ((3, 1), (9, 1), (9, 15))]
    assert names == ["grouped_dilation", "fourier", "polyphase"]


@pytest.mark.parametrize("way", ["mixed_weights", "polyphase"])
def test_what_is_no_transform_has_a_second_derivative(way: str) -> None:
    spec, generator = spec_of(3, 2), torch.Generator().manual_seed(0)
    x, kernel = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((1, 1, 4, 3), (1, 1, 3, 3)))
    run = lambda a, b: lone(a, b, spec, algorithm=way)  # noqa: E731
    inputs = (x.requires_grad_(), kernel.requires_grad_())
    if way == "mixed_weights":
        assert torch.autograd.gradgradcheck(run, inputs)
    assert torch.autograd.gradcheck(run, inputs)
