"""A mixture of branches beside a conv's own kernel: one-hot law, growth law, gradients, and what leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashfx.errors import SpaceError
from dashfx.frontend.shared import SharedConv
from dashfx.ops import AggConv, BesideConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.families import conv_of, family_named, fill
from dashfx.ops.mixture import Sampled
from dashfx.space import Candidate, SearchSpace

F64 = torch.float64
SETTINGS: dict[str, dict[str, Any]] = {
    "same": {},
    "strided, more channels": {"stride": 2, "padding": 1, "original": (3, 1), "out_channels": 16},
    "even": {"original": (2, 1), "padding": 0, "stride": 2},
    "causal": {"causal": True},
    "in groups": {"groups": 2},
    "fewer channels": {"out_channels": 12, "bias": False},
    "reflect": {"padding_mode": "reflect"},
}


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def built(ndim: int = 1, dtype: torch.dtype = F64, **options: Any) -> BesideConv:
    """8 channels, an own kernel of 3 taps unless the options say otherwise, and three branches."""
    settings = {"original": (3, 1), "out_channels": 8, **options}
    own = Candidate(*settings["original"]).for_ndim(ndim)
    if "padding" not in settings and not settings.get("causal"):
        settings["padding"] = 1
    branches = [Candidate(k, d, "beside").for_ndim(ndim) for k, d in ((5, 1), (3, 2), (4, 1))]
    conv = BesideConv(8, candidates=[*branches[:2], own, branches[2]], dtype=dtype, **{**settings, "original": own})
    conv.reset_parameters(torch.Generator().manual_seed(3))
    return conv


def lowered(conv: AggConv, index: int) -> nn.Module:
    module = conv_of(conv.facts, conv.candidates[index], torch.device("cpu"), conv.alpha.dtype)
    return fill(module, conv.plain_weights(index), conv.bias)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    assert a.shape == b.shape
    assert (a - b).detach().abs().max() <= tolerance * max(1.0, float(b.detach().abs().max()))


def one_hot(index: int, conv: AggConv) -> Tensor:
    return F.one_hot(torch.tensor(index), len(conv.candidates)).to(conv.alpha.dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_one_hot_is_the_module_that_it_is_lowered_to(
    options: dict[str, Any], dtype: torch.dtype, tolerance: float
) -> None:
    conv, x = built(dtype=dtype, **options), seeded(2, 8, 13, seed=1, dtype=dtype)
    for index in range(len(conv.candidates)):
        expected = lowered(conv, index)(x)
        for algorithm in ALGORITHMS:
            close(conv.mix(x, one_hot(index, conv), algorithm), expected, tolerance)
        conv.given = index
        close(conv(x), expected, tolerance)
        close(conv(x[0]), expected[0], tolerance)
        conv.given = None


@pytest.mark.parametrize("ndim", [2, 3])
def test_one_hot_in_two_and_three_axes(ndim: int) -> None:
    conv, x = built(ndim), seeded(2, 8, *(7, 6, 5)[:ndim])
    for index in range(len(conv.candidates)):
        close(conv.mix(x, one_hot(index, conv)), lowered(conv, index)(x))


def test_a_branch_is_a_plain_module_of_two_convs() -> None:
    conv = built(out_channels=16)
    module = lowered(conv, 0)
    assert isinstance(module, SharedConv) and module.how == "sum"
    own, branch = module.parts
    assert (own.groups, own.bias is None, branch.groups, branch.bias is None) == (1, False, 8, True)
    assert list(lowered(conv, 2).state_dict()) == ["weight", "bias"]  # the conv as it is
    numbers = sum(p.numel() for p in module.parameters()) - 16
    assert numbers == family_named("beside").weights(conv.facts, conv.candidates[0]) == 16 * 8 * 3 + 16 * 5


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_growth_law(options: dict[str, Any], dtype: torch.dtype, tolerance: float) -> None:
    conv = built(dtype=dtype, **options)
    plain = conv_of(conv.facts, conv.original, torch.device("cpu"), dtype)
    for number, parameter in enumerate(plain.parameters()):  # not filled yet
        parameter.data = seeded(*parameter.shape, seed=7 + number, dtype=dtype)
    conv.grow_from(plain.get_parameter("weight"), plain.bias)
    assert conv.residual is None
    x = seeded(2, 8, 13, seed=1, dtype=dtype)
    for seed in range(3):
        close(conv.mix(x, 9 * seeded(4, seed=seed, dtype=dtype)), plain(x), tolerance)  # off the simplex


def test_growth_is_refused_from_another_shape() -> None:
    with pytest.raises(SpaceError, match=r"cannot grow from weights \(8, 8, 5\); \(8, 8, 3\) are needed"):
        built().grow_from(seeded(8, 8, 5))


def gradients(call: Callable[[Tensor], Tensor], conv: AggConv, coef: Tensor) -> list[Tensor]:
    x = seeded(2, 8, 11, seed=4).requires_grad_()
    wanted = [x, coef, *(p for p in conv.parameters() if p is not conv.alpha)]
    y = call(x)
    found = torch.autograd.grad((y * seeded(*y.shape, seed=5)).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "mixed_results"])
def test_gradients_do_not_depend_on_the_algorithm(algorithm: str) -> None:
    conv, coef = built(), seeded(4).requires_grad_()
    reference = gradients(lambda x: conv.mix(x, coef, "mixed_results"), conv, coef)
    for a, b in zip(gradients(lambda x: conv.mix(x, coef, algorithm), conv, coef), reference, strict=True):
        close(a, b)


def test_one_alone_has_the_gradients_of_one_hot() -> None:
    conv = built()
    for index in range(len(conv.candidates)):
        coef = one_hot(index, conv).requires_grad_()
        mixed = gradients(lambda x, coef=coef: conv.mix(x, coef, "mixed_results"), conv, coef)
        alone = gradients(lambda x, i=index, coef=coef: conv.alone(x, Sampled.of(coef, i)), conv, coef)
        close(alone[1][index], mixed[1][index])
        for a, b in zip(alone[2:], mixed[2:], strict=True):
            close(a, b)
        close(alone[0], mixed[0])


def test_the_own_kernel_is_one_parameter_and_branches_are_few() -> None:
    conv = built()
    assert sum(p.numel() for p in conv.parameters()) == 8 * 8 * 3 + 8 + 8 * (5 + 3 + 4) + 4


def test_what_leaves_takes_its_branch_along() -> None:
    conv, x = built(), seeded(2, 8, 13)
    coef = torch.tensor([0.3, 0.0, 0.7, 0.0], dtype=F64)
    before = conv.mix(x, coef)
    conv.keep([0, 2])
    assert [tuple(w.shape) for w in conv.weights] == [(8, 1, 5)] and conv.spec.groups == 8
    close(conv.mix(x, coef[::2]), before)
    again = built()
    again.load_state_dict(conv.state_dict())
    assert torch.equal(again.mix(x, coef[::2]), conv.mix(x, coef[::2]))
    alone = conv.only(1)
    assert alone.candidates == (Candidate(3),) and not len(alone.weights)
    y = alone(x)
    close(y, lowered(alone, 0)(x))
    (gradient,) = torch.autograd.grad(y.sum(), [alone.alpha])  # an engine asks for it
    assert not gradient.any()


def test_norms_and_nearest_are_of_whole_kernels() -> None:
    conv = built()
    kernels = [own_and(conv, index) for index in range(4)]
    close(conv.norms(), torch.stack([k.norm() for k in kernels]))
    close(conv.nearest(2)[: conv.own.numel()], conv.own.flatten())
    close(conv.restricted(0, one_hot(0, conv)), conv.weights[0])


def own_and(conv: BesideConv, index: int) -> Tensor:
    return torch.cat([weight.flatten() for weight in conv.plain_weights(index)])


def test_what_cannot_stand_beside_is_refused() -> None:
    with pytest.raises(SpaceError, match="8 -> 9 channels cannot be divided into groups"):
        built(out_channels=9)
    with pytest.raises(SpaceError, match="only the own k3 d1 and branches beside it are mixed here"):
        BesideConv(8, 8, [Candidate(5)], original=(3, 1), padding=1)
    with pytest.raises(SpaceError, match=r"build a dashfx\.ops\.BesideConv"):
        AggConv(8, 8, [Candidate(5, 1, "beside")])
    with pytest.raises(SpaceError, match="mix with their like only, not dense"):
        SearchSpace.product([3, 5], families=["dense", "beside"])
