"""Convs some of whose numbers are not free: shares of zeros, two values, blocks, and gradients that pass straight."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnxruntime.quantization.quant_utils import quantize_data
from torch import Tensor, nn

from dashfx.cost.bits import Bits
from dashfx.cost.select import select_under
from dashfx.ops import AggConv
from dashfx.ops.families import conv_of, family_named, fill
from dashfx.ops.families.masked.quantised import in_steps
from dashfx.ops.families.masked.rounded import straight
from dashfx.ops.families.masked.sparse import largest
from dashfx.space import Candidate

F64 = torch.float64


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def built(*candidates: Candidate, groups: int = 1) -> AggConv:
    agg = AggConv(8, 8, candidates, groups=groups, dtype=F64)
    agg.reset_parameters(torch.Generator().manual_seed(0))
    return agg


def lowered(agg: AggConv, index: int) -> nn.Module:
    module = conv_of(agg.facts, agg.candidates[index], torch.device("cpu"), F64)
    return fill(module, agg.plain_weights(index), agg.bias)


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_the_lowered_kernel_has_the_share_of_numbers(share: float) -> None:
    agg = built(Candidate((3, 3)), Candidate((3, 3), 1, f"sparse:share={share}"))
    weight = lowered(agg, 1).weight
    kept = weight != 0
    assert int(kept.sum()) == round(share * weight.numel())
    (own,) = agg.theta(1)
    assert (
        torch.equal(weight[kept], own[kept]) and (own[~kept].abs().max() if share < 1 else 0) <= own[kept].abs().min()
    )
    assert int((largest(torch.ones(3), 0.01) != 0).sum()) == 1


def test_a_binary_kernel_has_two_values_an_output_channel() -> None:
    agg = built(Candidate(5), Candidate(5, 1, "binary"))
    weight, (own,) = lowered(agg, 1).weight.detach(), agg.theta(1)
    for row, free in zip(weight, own, strict=True):
        assert len(row.unique()) == 2 and torch.equal(row > 0, free >= 0)
        size = float(row.abs().max())  # the nearest modulus in the sum of squares
        far = [float((free - m * free.sign()).square().sum()) for m in (0.9 * size, size, 1.1 * size)]
        assert far[1] == min(far) and size == pytest.approx(float(free.abs().mean()))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_quantised_kernel_has_whole_steps(bits: int) -> None:
    agg = built(Candidate(5), Candidate(5, 1, f"quantised:bits={bits}"))
    weight, (own,) = lowered(agg, 1).weight.detach(), agg.theta(1)
    for row, free in zip(weight, own, strict=True):
        step = float(free.abs().max()) / (2 ** (bits - 1) - 1)
        assert torch.allclose(row / step, (row / step).round(), atol=1e-9) and len(row.unique()) < 2**bits
        assert float((row - free).abs().max()) <= step / 2 * (1 + 1e-9) and float(row.abs().max()) <= (
            float(free.abs().max()) * (1 + 1e-9)
        )
    assert torch.equal(in_steps(torch.zeros(2, 3), bits), torch.zeros(2, 3))


def test_eight_bits_are_those_of_onnx_runtime_but_for_two_steps() -> None:
    weight = seeded(6, 4, 3).float()
    found = in_steps(weight, 8)
    for row, ours in zip(weight.numpy(), found.numpy(), strict=True):
        zero, step, whole = quantize_data(row, onnx.TensorProto.INT8, True)
        assert zero == 0 and abs(whole * step - ours).max() <= 2 * step


def test_fewer_bits_cost_less() -> None:
    site = built(Candidate(3)).facts
    names = ["dense", "quantised:bits=8", "quantised:bits=4"]
    dense, eight, four = (Bits().at(site, Candidate(3, 1, name)) for name in names)
    weights = 8 * 8 * 3
    assert dense - eight == 24 * weights and eight - four == 4 * weights and dense >= 32 * weights


def test_a_smaller_budget_of_bits_chooses_no_more_of_them() -> None:
    names, site = ["dense", "quantised:bits=8", "quantised:bits=4"], built(Candidate(3)).facts
    costs = {place: [Bits().at(site, Candidate(3, 1, name)) for name in names] for place in "ab"}
    scores = {"a": [0.9, 0.5, 0.1], "b": [0.5, 0.4, 0.0]}
    most, spent = 2 * costs["a"][0], list[float]()
    for share in (1.0, 0.7, 0.5, 0.3, 0.2):
        found = select_under(scores, [costs], [share * most])
        assert found is not None
        spent.append(sum(costs[place][option] for place, option in found.items()))
    assert spent == sorted(spent, reverse=True) and spent[0] == most and len(set(spent)) > 3


@pytest.mark.parametrize("name", ["sparse", "binary", "quantised:bits=3"])
def test_gradients_pass_straight_to_all_numbers(name: str) -> None:
    site, family, candidate = built(Candidate(3)).facts, family_named(name), Candidate(3, 1, name)
    theta, slope = [seeded(8, 8, 3).requires_grad_()], seeded(8, 8, 3, seed=1)
    (family.kernel(theta, site, candidate, theta[0]) * slope).sum().backward()
    assert torch.equal(theta[0].grad, slope)
    value = seeded(2)
    assert torch.equal(straight(torch.full((2,), 0.1, dtype=F64), value), value)


def test_one_part_is_the_plain_conv_and_four_are_a_block() -> None:
    whole = built(Candidate(3, 1, "partial:parts=1"))
    (own,) = whole.theta(0)
    assert torch.equal(whole.kernel(torch.ones(1, dtype=F64)), own) and own.shape == (8, 8, 3)
    agg = built(Candidate(5, 1, "partial"), groups=2)
    kernel, x = agg.own_kernels()[0], seeded(2, 8, 11)
    assert kernel.shape == (8, 4, 5) and (kernel[:, :1] != 0).all() and not kernel[:, 1:, [0, 1, 3, 4]].any()
    dense = built(Candidate(5), groups=2)
    with torch.no_grad():
        dense.weights[0].copy_(kernel)
        assert dense.bias is not None and agg.bias is not None
        dense.bias.copy_(agg.bias)
    one = torch.ones(1, dtype=F64)
    torch.testing.assert_close(agg.mix(x, one), dense.mix(x, one))
