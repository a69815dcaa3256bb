"""The laws of AggConv: one-hot, growth, the aggregated kernel; and that it behaves as a module."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dashfx.errors import SpaceError
from dashfx.ops import AggConv, SoftGumbel
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.algorithms.base import CONVS, pad
from dashfx.ops.checks import PADDING_MODES
from dashfx.space import Candidate, SearchSpace

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
F64 = torch.float64


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def build(*args, seed=0, **options):
    agg = AggConv(*args, dtype=F64, **options)
    agg.reset_parameters(torch.Generator().manual_seed(seed))
    return agg


def one_hot(agg, index):
    return F.one_hot(torch.tensor(index), len(agg.candidates)).to(F64)


def plain(agg, index, x):
    candidate, padding = agg.candidates[index], agg.spec.paddings[index]
    x = pad(x, padding, agg.padding_mode)
    return CONVS[agg.ndim](x, agg.weights[index], agg.bias, agg.stride, 0, candidate.dilation, agg.groups)


def assert_close(a, b, tolerance=1e-10):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= tolerance * max(1.0, float(b.detach().abs().max()))


SETTINGS = {
    "same": {},
    "causal": {"causal": True},
    "strided": {"stride": 2, "padding": 1, "original": (3, 1)},
    "valid": {"padding": 0, "original": (5, 1)},  # smaller candidates crop the input
    "lopsided": {"padding": [(2, 0)], "original": (2, 2)},
    "grouped": {"groups": 2},
    "without bias": {"bias": False},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_one_hot_is_the_plain_conv(algorithm, mode, setting):
    choices = [Candidate(3), Candidate(4, 2), Candidate(5, 3), Candidate(1)]
    agg = build(4, 2, choices, algorithm=algorithm, padding_mode=mode, **SETTINGS[setting])
    x = seeded(2, 4, 13)
    for i in range(len(choices)):
        expected = plain(agg, i, x)
        assert_close(agg.mix(x, one_hot(agg, i)), expected)
        agg.fix(i)
        assert torch.equal(agg.coefficients(), one_hot(agg, i))
        assert_close(agg(x), expected)
        agg.free()


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_zero_padded_same_equals_the_torch_module(ndim):
    agg = build(3, 5, [Candidate((3,) * ndim), Candidate((5,) * ndim, 2)], stride=(2,) * ndim)
    conv = CONV[ndim](3, 5, 5, 2, 4, 2, dtype=F64)
    conv.load_state_dict({"weight": agg.weights[1], "bias": agg.bias})
    x = seeded(2, 3, *(7, 6, 5)[:ndim])
    assert_close(agg.mix(x, one_hot(agg, 1)), conv(x))


@pytest.mark.parametrize("causal", [False, True])
def test_the_aggregated_kernel_is_the_conv(causal):
    agg = build(2, 3, SearchSpace.product([3, 4], [1, 2]), causal=causal, bias=False)
    coef, x = seeded(4), seeded(2, 2, 11)
    kernel = agg.kernel(coef)
    lo = min(offsets.start for term in range(4) for offsets in agg.spec.offsets(term))
    right = kernel.shape[-1] - 1 + lo
    assert_close(F.conv1d(F.pad(x, (-lo, right)), kernel), agg.mix(x, coef))
    assert causal == (right == 0)


def test_only_the_past_is_seen_when_causal():
    agg = build(1, 1, SearchSpace.preset("dash1d"), causal=True)
    x = seeded(1, 1, 40).requires_grad_()
    agg(x)[0, 0, 20].backward()
    assert (x.grad[..., 21:].abs() < 1e-12).all() and x.grad[..., :21].abs().sum() > 0


GROWTH = {
    "narrower and dilated": [Candidate(3), Candidate(3, 2), Candidate(1)],
    "even": [Candidate(2), Candidate(4, 3)],
    "all cover": [Candidate(5), Candidate(7)],
}


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("choices", GROWTH)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_growth_law(mode, choices, algorithm):
    conv = nn.Conv2d(4, 6, 5, 2, 2, groups=2, padding_mode=mode, dtype=F64)
    agg = build(
        4, 6, GROWTH[choices], stride=(2, 2), padding=2, original=(5, 1), groups=2, padding_mode=mode,
        algorithm=algorithm,
    )  # fmt: skip
    agg.grow_from(conv.weight, conv.bias)
    x = seeded(2, 4, 9, 10)
    for seed in range(2):
        coef = seeded(len(agg.candidates), seed=seed).softmax(0)
        assert_close(agg.mix(x, coef), conv(x))
    assert (agg.residual is None) == (choices == "all cover")
    agg.fade.zero_()
    mixture = sum(c * plain(agg, i, x) for i, c in enumerate(coef))
    assert_close(agg.mix(x, coef), mixture)


def test_growth_gradients_reach_weights_and_alpha():
    agg = build(1, 1, [Candidate(3), Candidate(3, 2)], padding=2, original=(5, 1))
    agg.grow_from(seeded(1, 1, 5))
    agg.fade.fill_(0.5)
    agg(seeded(1, 1, 9)).square().sum().backward()
    assert agg.alpha.grad.abs().min() > 0 and all(w.grad.abs().sum() > 0 for w in agg.weights)
    assert torch.equal(agg.bias, torch.zeros(1, dtype=F64))


def test_restricted_reads_the_mixture_at_the_taps_of_one_candidate():
    agg = build(2, 2, [Candidate(3), Candidate(3, 2), Candidate(5)])
    for i in range(3):
        assert torch.equal(agg.restricted(i, one_hot(agg, i)), agg.weights[i])
    coef = seeded(3)
    expected = agg.kernel(coef)[..., ::2]  # the frame spans -2..2, candidate 1 sits at -2, 0, 2
    assert_close(agg.restricted(1, coef), expected)
    agg = build(2, 2, [Candidate(3), Candidate(5)], padding=3, original=(7, 1))
    agg.grow_from(seeded(2, 2, 7))
    assert_close(agg.restricted(1, one_hot(agg, 1)), agg.residual[..., 1:6])


def test_noise_is_drawn_in_training_only_and_from_the_generator():
    agg, x = build(1, 1, [Candidate(3), Candidate(5)]), seeded(1, 1, 8)
    quiet = agg.mix(x, agg.coefficients())
    assert torch.equal(agg(x), quiet)  # no generator, no noise
    agg.generator = torch.Generator().manual_seed(0)
    assert not torch.equal(agg(x), agg(x))
    agg.eval()
    assert torch.equal(agg(x), quiet)


def test_given_coefficients_are_used():
    agg, x = build(1, 1, [Candidate(3), Candidate(5)]), seeded(1, 1, 8)
    agg.given = one_hot(agg, 1)
    assert_close(agg(x), plain(agg, 1, x))
    assert "given" not in agg.state_dict()


def test_unbatched_input_and_auto():
    agg, x = build(2, 3, [Candidate(3), Candidate(5)]), seeded(2, 8)
    assert_close(agg(x), agg(x[None])[0])
    assert agg(x[None, :, :1]).shape == (1, 3, 1)


def test_axes_come_from_candidates_stride_or_original():
    assert AggConv(1, 1, [Candidate(3)]).ndim == 1
    assert AggConv(1, 1, [Candidate(3)], stride=(1, 2)).candidates == (Candidate((3, 3)),)
    assert AggConv(1, 1, [Candidate(3)], padding=1, original=Candidate((3, 3, 3))).ndim == 3
    assert AggConv(1, 1, [Candidate((1, 7))]).weights[0].shape == (1, 1, 1, 7)


def test_state_round_trips_with_and_without_residual():
    def fresh():
        return build(2, 2, [Candidate(3), Candidate(3, 2)], padding=2, original=(5, 1), seed=1)

    grown, x = fresh(), seeded(1, 2, 9)
    grown.grow_from(seeded(2, 2, 5), seeded(2))
    grown.fade.fill_(0.25)
    grown.fix(1)
    copied = fresh()
    copied.load_state_dict(grown.state_dict())
    assert torch.equal(copied(x), grown(x))
    grown.load_state_dict(fresh().state_dict())
    assert grown.residual is None and torch.equal(grown(x), fresh()(x))


def test_deepcopy_and_dtype():
    agg, x = build(2, 2, [Candidate(3), Candidate(1)], padding=2, original=(5, 1)), seeded(1, 2, 9)
    agg.grow_from(seeded(2, 2, 5))
    agg.generator = torch.Generator().manual_seed(0)
    agg.given = agg.relaxation(agg.alpha, agg.mask, None)
    twin = copy.deepcopy(agg)
    assert twin.given is None and twin.generator is not agg.generator
    agg.given = None
    assert torch.equal(twin(x), agg(x))  # the same noise, from a generator of its own
    assert twin.float()(x.float()).dtype == torch.float32


def test_initialisation_follows_each_fan_in():
    agg = AggConv(8, 64, [Candidate(3), Candidate(27)], padding=1, original=(3, 1))
    for weight, taps in zip(agg.weights, (3, 27), strict=True):
        assert 0.95 < weight.abs().max() * (8 * taps) ** 0.5 <= 1
    assert agg.bias.abs().max() <= 24**-0.5
    assert torch.equal(agg.alpha, torch.zeros(2)) and isinstance(agg.relaxation, SoftGumbel)


def test_the_fan_in_of_a_grouped_conv_is_that_of_a_group():
    agg = AggConv(64, 64, [Candidate(3)], padding=1, original=(3, 1), groups=8)
    bound = (8 * 3) ** -0.5  # 64 / 8 inputs of 3 taps, as nn.Conv has it
    for values in (agg.weights[0], agg.bias):
        assert 0.8 * bound < values.abs().max() <= bound


def test_the_bias_is_drawn_by_the_fan_in_of_the_original():
    agg = AggConv(8, 256, [Candidate(3)], padding=4, original=(9, 1))
    bound = (8 * 9) ** -0.5
    assert 0.8 * bound < agg.bias.abs().max() <= bound


def test_a_residual_leaves_with_the_last_candidate_that_needed_it():
    agg, x = build(2, 2, [Candidate(3), Candidate(5)], padding=2, original=(5, 1)), seeded(1, 2, 9)
    agg.grow_from(seeded(2, 2, 5))
    expected = agg(x)
    assert agg.residual is not None
    agg.keep([1])  # which has all of the original's taps
    assert agg.residual is None
    assert_close(agg(x), expected)


MISTAKES = {
    "original": {"padding": 1},
    "give at least one": {"candidates": []},
    "did you mean 'reflect'": {"padding_mode": "reflct"},
    "did you mean 'fourier'": {"algorithm": "furier"},
    "3 groups": {"groups": 3},
    "has 2 axes, the conv has 3": {"stride": (1, 1, 1), "candidates": [Candidate((3, 3))]},
    "stride": {"stride": 0},
    "per axis": {"padding": [(1, 1, 1)], "original": (3, 1)},
}


@pytest.mark.parametrize("words", MISTAKES)
def test_settings_that_cannot_hold(words):
    with pytest.raises(SpaceError, match=words) as raised:
        AggConv(**{"in_channels": 4, "out_channels": 4, "candidates": [Candidate(3)], **MISTAKES[words]})
    assert "\n" not in str(raised.value)


def test_inputs_that_do_not_fit():
    agg = AggConv(3, 4, [Candidate((3, 3)), Candidate((9, 9), 2)], padding_mode="reflect", padding=1, original=(3, 1))
    agg.name = "layer2.0.conv1"
    with pytest.raises(SpaceError, match=r"^Site 'layer2.0.conv1': input \(2, 4, 8, 8\)"):
        agg(torch.zeros(2, 4, 8, 8))
    with pytest.raises(SpaceError, match=r"needs pad < size \(8 >= 6\); drop candidates wider than 11 "):
        agg(torch.zeros(2, 3, 20, 6))
    assert agg(torch.zeros(2, 3, 9, 9)).shape == (2, 4, 9, 9)
    with pytest.raises(SpaceError, match="smaller than the kernel"):
        AggConv(1, 1, [Candidate(3)], padding=0, original=(5, 1))(torch.zeros(1, 1, 4))


def test_the_widest_candidate_that_the_message_names_does_fit():
    for mode, size in (("reflect", 6), ("circular", 6)):
        agg = AggConv(1, 1, [Candidate(31)], padding=1, original=(3, 1), padding_mode=mode)
        with pytest.raises(SpaceError) as raised:
            agg(torch.zeros(1, 1, size))
        widest = int(str(raised.value).split("wider than ")[1].split()[0])
        for kernel, fits in ((widest, True), (widest + 2, False)):
            agg = AggConv(1, 1, [Candidate(kernel)], padding=1, original=(3, 1), padding_mode=mode)
            if fits:
                agg(torch.zeros(1, 1, size))
                continue
            with pytest.raises(SpaceError):
                agg(torch.zeros(1, 1, size))


def test_growing_from_the_wrong_conv():
    agg = AggConv(2, 2, [Candidate(3)], padding=2, original=(5, 1), bias=False)
    with pytest.raises(SpaceError, match=r"\(2, 2, 5\) are needed"):
        agg.grow_from(torch.zeros(2, 2, 3))
    with pytest.raises(SpaceError, match="bias=True"):
        agg.grow_from(torch.zeros(2, 2, 5), torch.zeros(2))


def test_repr_names_the_candidates():
    assert "[k3 d1, k5 d2]" in repr(AggConv(1, 1, [Candidate(3), Candidate(5, 2)]))
