"""The laws of every family: its kernel is its module, fitting is exact on its own kernels, one alone is one hot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashfx.errors import ConfigError, SpaceError
from dashfx.ops import AggConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.families import FAMILIES, conv_of, families_at, family_named, fill, misfit
from dashfx.ops.mixture import Sampled
from dashfx.site import Site
from dashfx.space import Candidate, SearchSpace, candidate_padding

F64 = torch.float64
NAMES = [*(name for name in FAMILIES if name != "beside"), "grouped:groups=2"]  # see tests of BesideConv
CHANNELS = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "same": {},
    "even": {"original": (4, 1)},
    "causal": {"causal": True},
    "strided": {"stride": 2, "padding": 1, "original": (3, 1)},
    "valid": {"padding": 0, "original": (5, 1)},
    "lopsided": {"padding": [(2, 0)], "original": (2, 2)},
    "in groups": {"groups": 2},
    "wider": {"out_channels": 16},
    "without bias": {"bias": False},
}


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def place(ndim: int = 1, mode: str = "zeros", **options: Any) -> Site:
    """A site of CHANNELS channels with these settings of an AggConv."""
    out = options.pop("out_channels", CHANNELS)
    dense = AggConv(CHANNELS, out, [Candidate((3,) * ndim)], padding_mode=mode, **options)
    return dense.facts


def built(site: Site, candidates: list[Candidate], algorithm: str = "auto", seed: int = 0) -> AggConv:
    agg = AggConv(
        site.in_channels, site.out_channels, candidates, stride=site.stride, padding=site.padding, groups=site.groups,
        original=site.original, bias=site.bias, padding_mode=site.padding_mode, causal=site.causal, algorithm=algorithm,
        dtype=F64,
    )  # fmt: skip
    agg.reset_parameters(torch.Generator().manual_seed(seed))
    return agg


def lowered(agg: AggConv, index: int) -> nn.Module:
    module = conv_of(agg.facts, agg.candidates[index], torch.device("cpu"), F64)
    return fill(module, agg.plain_weights(index), agg.bias)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    assert a.shape == b.shape
    assert (a - b).detach().abs().max() <= tolerance * max(1.0, float(b.detach().abs().max()))


def candidates_of(name: str, site: Site, sizes: tuple[int, ...] = (3, 4, 5)) -> list[Candidate]:
    space = SearchSpace.product(sizes, [1, 2], families=[name])
    return [c for c in (each.for_ndim(site.ndim) for each in space) if misfit(site, c) is None]


def cases() -> Iterator[Any]:
    for name in NAMES:
        for setting, options in SETTINGS.items():
            if candidates_of(name, place(**dict(options))):
                yield pytest.param(name, options, id=f"{name}-{setting}")


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize(("name", "options"), [*cases()])
def test_one_hot_is_the_module_that_it_is_lowered_to(name: str, options: dict[str, Any], mode: str) -> None:
    site = place(mode=mode, **dict(options))
    agg = built(site, [*candidates_of(name, site), *([] if name in ("dense", "nested") else [Candidate(3)])])
    x = seeded(2, CHANNELS, 13)
    for index, candidate in enumerate(agg.candidates):
        expected = lowered(agg, index)(x)
        one = F.one_hot(torch.tensor(index), len(agg.candidates)).to(F64)
        for algorithm in ALGORITHMS:
            close(agg.mix(x, one, algorithm), expected)
        agg.given = index
        close(agg(x), expected)
        agg.given = None
        assert expected.shape == agg.mix(x, one).shape, candidate


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_one_hot_in_two_and_three_axes(name: str, ndim: int) -> None:
    site = place(ndim, stride=1)
    agg = built(site, candidates_of(name, site, (2, 3)))
    x = seeded(2, CHANNELS, *(7, 6, 5)[:ndim])
    for index in range(len(agg.candidates)):
        one = F.one_hot(torch.tensor(index), len(agg.candidates)).to(F64)
        close(agg.mix(x, one), lowered(agg, index)(x))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_fitted_to_a_kernel_of_the_family_is_that_kernel(name: str) -> None:
    for site in (place(), place(2, groups=2), place(out_channels=16)):
        choices = candidates_of(name, site)
        for seed, (family, candidate) in enumerate(zip(families_at(site, choices), choices, strict=True)):
            theta = [seeded(*shape, seed=seed + i) for i, shape in enumerate(family.shapes(site, candidate))]
            kernel = family.kernel(theta, site, candidate, seeded(1))
            assert kernel.shape == (site.out_channels, site.in_channels // site.groups, *candidate.kernel)
            again = family.fit(kernel, [torch.zeros_like(each) for each in theta], site, candidate)
            assert [each.shape for each in again] == [each.shape for each in theta]
            close(family.kernel(again, site, candidate, kernel), kernel)


@pytest.mark.parametrize("name", ["grouped", "depthwise", "separable"])
def test_what_is_fitted_is_nearest(name: str) -> None:
    """No step from it comes nearer: the distance has a minimum there."""
    site, candidate, family = place(), Candidate(3, 1, name), family_named(name)
    wanted = seeded(CHANNELS, CHANNELS, 3)

    def far(theta: list[Tensor]) -> float:
        return float((family.kernel(theta, site, candidate, wanted) - wanted).square().sum())

    found = family.fit(wanted, [], site, candidate)
    nearest = far(found)
    for seed in range(20):
        for size in (1e-3, 1e-1, 1.0):
            assert far([each + size * seeded(*each.shape, seed=seed) for each in found]) > nearest


def test_a_separable_conv_that_starts_at_zero_learns() -> None:
    site, candidate, family = place(), Candidate(3, 1, "separable"), family_named("separable")
    theta = [each.requires_grad_() for each in family.fit(torch.zeros(8, 8, 3, dtype=F64), [], site, candidate)]
    kernel = family.kernel(theta, site, candidate, theta[0])
    assert not kernel.any()
    (kernel * seeded(8, 8, 3)).sum().backward()
    assert theta[0].grad is not None and bool(theta[0].grad.any())


def gradients(call: Callable[[Tensor], Tensor], agg: AggConv, coef: Tensor) -> list[Tensor]:
    x = seeded(2, CHANNELS, 11, seed=4).requires_grad_()
    wanted = [x, *agg.weights, *([] if agg.bias is None else [agg.bias]), coef]
    y = call(x)
    found = torch.autograd.grad((y * seeded(*y.shape, seed=5)).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("fade", [1.0, 0.3])
def test_one_alone_has_the_gradients_of_one_hot(grown: bool, fade: float) -> None:
    site = place()
    mixed = [
        Candidate(3),
        Candidate(3, 2),
        *(Candidate(3, 1, n) for n in FAMILIES if n not in ("dense", "nested", "beside")),
    ]
    for agg in (built(site, mixed), built(site, mixed[:2]), built(site, candidates_of("nested", site))):
        if grown:
            agg.grow_from(seeded(8, 8, 1), seeded(8))
            agg.fade.fill_(fade)
            for weight in agg.weights:
                weight.data += 0.1 * seeded(*weight.shape, seed=7)
        for index in range(len(agg.candidates)):
            coef = F.one_hot(torch.tensor(index), len(agg.candidates)).to(F64).requires_grad_()
            one_hot = gradients(lambda x, agg=agg, coef=coef: agg.mix(x, coef, "mixed_results"), agg, coef)
            alone = gradients(lambda x, agg=agg, coef=coef, i=index: agg.alone(x, Sampled.of(coef, i)), agg, coef)
            for a, b in zip(alone[:-1], one_hot[:-1], strict=True):
                close(a, b)
            close(alone[-1][index], one_hot[-1][index])
            others = torch.arange(len(agg.candidates)) != index
            assert not alone[-1][others].any()


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"original": (5, 1), "padding": 2}], ids=str)
def test_growth_law(options: dict[str, Any], mode: str) -> None:
    site = place(mode=mode, **options)
    conv = conv_of(site, site.original, torch.device("cpu"), F64)
    torch.nn.init.normal_(conv.weight), torch.nn.init.normal_(conv.bias)
    wide = [c for n in FAMILIES if n not in ("nested", "beside") for c in candidates_of(n, site)]
    x = seeded(2, CHANNELS, 13)
    for choices in (wide, candidates_of("nested", site)):
        agg, copied = built(site, choices), built(site, choices, seed=3)
        agg.grow_from(conv.weight, conv.bias)
        for seed in range(3):
            coef = 9 * seeded(len(agg.candidates), seed=seed)  # off the simplex
            close(agg.mix(x, coef), conv(x), 1e-9)
        agg.fade.fill_(0.4)
        copied.load_state_dict(agg.state_dict())
        assert torch.equal(copied.mix(x, coef), agg.mix(x, coef))
        agg.fade.zero_()
        agg.residual, grown = None, agg.mix(x, coef)
        close(grown, agg.mix(x, coef))


def test_what_leaves_takes_its_parameters_along() -> None:
    site = place()
    agg = built(
        site, [Candidate(3), Candidate(3, 1, "separable"), Candidate(3, 1, "skip"), Candidate(5, 1, "depthwise")]
    )
    agg.grow_from(seeded(8, 8, 1), seeded(8))
    agg.fade.fill_(0.5)
    x, kernels = seeded(1, 8, 9), [each.clone() for each in agg.own_kernels()]
    coef = torch.tensor([0.0, 0.2, 0.0, 0.8], dtype=F64)
    before = agg.mix(x, coef)
    agg.keep([1, 3])
    assert [tuple(w.shape) for w in agg.weights] == [(8, 1, 3), (8, 8, 1), (8, 1, 5)]
    assert all(torch.equal(a, b) for a, b in zip(agg.own_kernels(), kernels[1::2], strict=True))
    close(agg.mix(x, coef[1::2]), before)


MISFITS = [
    ("skip", {"out_channels": 16}, "as many output as input channels, the conv 8 -> 16"),
    ("skip", {"stride": 2}, "a skip has stride 1"),
    ("skip", {"original": (3, 1), "padding": 0}, "a skip keeps the size"),
    ("skip", {"original": (4, 1), "padding": [(1, 2)]}, "moves the input"),
    ("pool", {"out_channels": 4}, "as many output as input channels, the conv 8 -> 4"),
    ("grouped:groups=3", {}, "8 -> 8 channels cannot be divided into 3 groups"),
    ("grouped:groups=1", {}, "one group is the conv as it is"),
    ("depthwise", {"out_channels": 12}, "12 output channels are no multiple of 8 input channels"),
    ("depthwise", {"groups": 8}, "reads one input channel already"),
    ("separable", {"groups": 8}, "reads one input channel already"),
]


@pytest.mark.parametrize(("name", "options", "words"), MISFITS)
def test_misfits_are_refused_with_a_reason(name: str, options: dict[str, Any], words: str) -> None:
    site = place(**dict(options))
    with pytest.raises(SpaceError, match=words):
        built(site, [Candidate(3), Candidate(3, 1, name)])


def test_a_pool_of_one_tap_and_an_unknown_family_are_refused() -> None:
    with pytest.raises(SpaceError, match="a pool of one tap is a skip"):
        built(place(), [Candidate(1, 1, "pool")])
    with pytest.raises(ConfigError, match=r"no family 'seperable' .did you mean 'separable'"):
        built(place(), [Candidate(3, 1, "seperable")])
    with pytest.raises(ConfigError, match="no argument 'n'; it takes groups"):
        built(place(), [Candidate(3, 1, "grouped:n=2")])


def test_a_skip_counts_nothing_of_the_bias() -> None:
    agg, x = built(place(), [Candidate(3), Candidate(1, 1, "skip")]), seeded(2, 8, 9)
    coef = torch.tensor([0.25, 0.75], dtype=F64)
    close(agg.mix(x, coef), 0.25 * lowered(agg, 0)(x) + 0.75 * x)
    assert agg.bias is not None and isinstance(lowered(agg, 1), nn.Identity)


# Nested


def test_nested_candidates_have_the_parameters_of_their_union() -> None:
    site = place(2)
    agg = built(site, [Candidate((k, k), d, "nested") for k in (3, 5) for d in (1, 2)])
    union = {(d * a, d * b) for k in (3, 5) for d in (1, 2) for a in offsets(k) for b in offsets(k)}
    (weight,) = agg.weights
    assert weight.shape == (8, 8, len(union)) and len(union) < 9 + 9 + 25 + 25
    assert all(candidate.family == "dense" for candidate in agg.candidates)  # as they stand in a genotype


def offsets(kernel: int) -> range:
    return range(-(kernel // 2), kernel // 2 + 1)


def test_what_one_nested_candidate_has_learned_the_others_have() -> None:
    agg = built(place(), [Candidate(3, 1, "nested"), Candidate(5, 1, "nested"), Candidate(3, 2, "nested")])
    small, large, dilated = agg.own_kernels()
    assert torch.equal(small, large[..., 1:4]) and torch.equal(dilated, large[..., ::2])
    agg.put(0, seeded(8, 8, 3, seed=9))
    changed = agg.own_kernels()[1]
    assert torch.equal(changed[..., 1:4], seeded(8, 8, 3, seed=9)) and torch.equal(changed[..., ::4], large[..., ::4])
    (gradient,) = torch.autograd.grad(agg.own_kernels()[0].sum(), [agg.weights[0]])
    assert gradient.sum() == 8 * 8 * 3


def test_a_nested_mixture_is_the_union_times_the_coefficients_of_each_tap() -> None:
    agg = built(place(bias=False), [Candidate(k, d, "nested") for k, d in ((3, 1), (5, 1), (3, 2))])
    coef = seeded(3)
    each = torch.stack([coef[1] + coef[2], coef[0] + coef[1], coef.sum(), coef[0] + coef[1], coef[1] + coef[2]])
    close(agg.kernel(coef), agg.weights[0] * each)


def test_padding_of_kernels_that_nest_is_that_of_the_contract() -> None:
    """Even sizes are off centre by half a tap: the union knows taps by their offsets."""
    agg = built(place(original=(3, 1), padding=1), [Candidate(2, 1, "nested"), Candidate(3, 1, "nested")])
    assert candidate_padding(((1, 1),), Candidate(3), Candidate(2)) == ((0, 1),)
    assert torch.equal(agg.own_kernels()[0], agg.own_kernels()[1][..., 1:])
