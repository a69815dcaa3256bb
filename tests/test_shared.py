"""Choices of several kernels: what they are, that they compute what plain convs do, what they cost and where not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import dashfx
from dashfx import AggConv, Candidate, Genotype, SearchSpace, Shared
from dashfx.cost.macs import Macs
from dashfx.cost.memory import Memory
from dashfx.cost.parameters import Parameters
from dashfx.cost.size import Size
from dashfx.errors import GenotypeError, SpaceError
from dashfx.frontend.shared import SharedConv
from dashfx.ops.relaxations import Together
from dashfx.passes import Discretise, Lower
from dashfx.space import candidate_padding

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
FUNCTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
K3, K4, K5, K7, DILATED = Candidate(3), Candidate(4), Candidate(5), Candidate(7), Candidate(5, 3)


class One(nn.Module):
    """A conv and something after it."""

    def __init__(self, ndim: int = 1, channels: tuple[int, int] = (4, 6), kernel: int = 3, **options: Any) -> None:
        super().__init__()
        self.conv: Any = CONVS[ndim](*channels, kernel, **options)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def made(model: nn.Module, x: Tensor, choice: Candidate, init: Any = "fresh") -> Any:
    return dashfx.specialise(model.double().eval(), x, Genotype({"conv": choice}), init).eval()


# What they are


def test_kernel_and_dilation_are_those_of_the_widest_part() -> None:
    choice = Shared((K3, DILATED, K7))
    assert (choice.kernel, choice.dilation, choice.span, choice.parts) == ((5,), (3,), (13,), (K3, DILATED, K7))
    assert str(choice) == "k3 d1 | k5 d3 | k7 d1 by channels" and choice.taps == 5
    added = Shared((K3, DILATED), "sum")
    assert str(added) == "k3 d1 + k5 d3" and added.taps == 8
    assert choice != Candidate(5, 3) and choice != Shared((DILATED, K3, K7)) and choice == copy.deepcopy(choice)
    assert added.for_ndim(2) == Shared((Candidate((3, 3)), Candidate((5, 5), (3, 3))), "sum")


def test_channels_are_shared_as_evenly_as_can_be() -> None:
    choice = Shared((K3, K5, K7))
    assert [n for _, n in choice.shares(8)] == [3, 3, 2] and [n for _, n in choice.shares(3)] == [1, 1, 1]
    assert [n for _, n in choice.shares(8, groups=4)] == [4, 2, 2]  # whole groups, of two channels each
    assert [n for _, n in Shared((K3, K5), "sum").shares(8, groups=4)] == [8, 8]
    assert K3.shares(8, groups=4) == ((K3, 8),)
    with pytest.raises(SpaceError, match="3 kernels cannot share 2 output channels"):
        choice.shares(2)
    with pytest.raises(SpaceError, match="3 kernels cannot share 2 groups"):
        choice.shares(8, groups=2)


@pytest.mark.parametrize(
    ("parts", "how", "said"),
    [
        ([K3], "channels", "give two or more"),
        ([], "sum", "give two or more"),
        ([K3, K5, K3], "sum", "all different"),
        ([K3, Shared((K5, K7))], "sum", "two or more"),
        ([K3, K5], "mean", "by 'mean'"),
        ([Candidate((3, 3)), Candidate((3, 3, 3))], "sum", "has 2 axes"),
    ],
)
def test_what_cannot_be_shared_is_refused(parts: list[Candidate], how: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        Shared(parts, how)


def test_mixtures_hold_one_kernel_a_candidate() -> None:
    choice = Shared((K3, K5))
    with pytest.raises(SpaceError, match="stand in genotypes only"):
        SearchSpace((K3, choice))
    with pytest.raises(SpaceError, match="stand in genotypes only"):
        SearchSpace((K3,), (("conv", (choice,)),))
    with pytest.raises(SpaceError, match="stand in genotypes only"):
        AggConv(2, 2, [choice])


def test_genotypes_with_them_have_a_version_of_their_own() -> None:
    plain, shared = Genotype({"a": K3}), Genotype({"a": K3, "b": Shared((K3, DILATED), "sum")}, "ladder")
    assert '"dashfx_genotype": 1,' in plain.to_json() and '"dashfx_genotype": 2,' in shared.to_json()
    for genotype in (plain, shared):
        found = Genotype.from_json(genotype.to_json())
        assert found == genotype and found.rule == genotype.rule
    assert Genotype.from_json(plain.to_json().replace('type": 1', 'type": 2')) == plain
    with pytest.raises(GenotypeError, match="reads versions 1, 2, 3, 4 and 5"):
        Genotype.from_json(shared.to_json().replace('type": 2', 'type": 6'))
    with pytest.raises(GenotypeError, match=r"broken genotype: .*in 'sites'"):
        Genotype.from_json(shared.to_json().replace('"sum"', '"mean"'))


# What they compute


def reference(conv: Any, kernels: list[Tensor], biases: list[Any], choice: Shared, x: Tensor, causal: bool) -> Tensor:
    """The concatenation, or the sum, of plain functional convs, each with the padding of the shape contract."""
    ndim = x.dim() - 2
    original = Candidate(conv.kernel_size, conv.dilation)
    sides = ((conv.padding[0], 0 if causal else conv.padding[0]),) * ndim
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    outputs, read, groups = [], 0, conv.groups
    for (part, channels), kernel, bias in zip(choice.shares(conv.out_channels, groups), kernels, biases, strict=True):
        part = part.for_ndim(ndim)
        padding = candidate_padding(sides, original, part, causal)
        own, seen = groups, x
        if choice.how == "channels" and groups > 1:
            own = groups * channels // conv.out_channels
            step = conv.in_channels // groups * own
            seen, read = x[:, read : read + step], read + step
        padded = F.pad(seen, [side for pair in reversed(padding) for side in pair], mode)
        outputs.append(FUNCTIONS[ndim](padded, kernel, bias, conv.stride, 0, part.dilation, own))
    return sum(outputs[1:], outputs[0]) if choice.how == "sum" else torch.cat(outputs, 1)


CASES: list[dict[str, Any]] = [
    {"ndim": 1, "padding": 1},
    {"ndim": 1, "padding": 1, "bias": False},
    {"ndim": 1, "padding": 0, "stride": 2},
    {"ndim": 1, "kernel": 4, "padding": 2, "dilation": 2},
    {"ndim": 2, "padding": 1, "stride": 2},
    {"ndim": 2, "padding": 1, "padding_mode": "circular"},
    {"ndim": 1, "padding": 1, "padding_mode": "reflect", "groups": 2, "channels": (4, 8)},
    {"ndim": 1, "padding": 1, "padding_mode": "replicate", "groups": 3, "channels": (3, 6)},
    {"ndim": 2, "padding": 1, "groups": 4, "channels": (4, 4)},
    {"ndim": 2, "padding": 1, "groups": 4, "channels": (8, 12), "bias": False},
    {"ndim": 3, "padding": 1},
]
CHOICES = [Shared((K3, K5)), Shared((K4, DILATED)), Shared((K3, DILATED), "sum"), Shared((K5, K4, K3), "sum")]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_shared_conv_equals_plain_convs_of_its_parts(case: dict[str, Any], choice: Shared) -> None:
    model, ndim = One(**case), case["ndim"]
    size = {1: (23,), 2: (15, 14), 3: (13, 14, 13)}[ndim]
    x = noise(2, model.conv.in_channels, *size)
    choice = choice.for_ndim(ndim)  # type: ignore[assignment]
    plain = made(model, x, choice)
    assert type(plain.conv) is SharedConv and type(plain) is One
    kernels, biases = [part.weight for part in plain.conv.parts], [part.bias for part in plain.conv.parts]
    expected = torch.tanh(reference(model.conv, kernels, biases, choice, x, causal=False))
    torch.testing.assert_close(plain(x), expected, rtol=1e-10, atol=1e-12)
    assert plain(x).shape == model(x).shape
    with_bias = [name for name in plain.conv.state_dict() if name.endswith("bias")]
    assert len(with_bias) == (0 if model.conv.bias is None else 1 if choice.how == "sum" else len(choice.parts))
    assert plain.conv.in_channels == model.conv.in_channels and plain.conv.out_channels == model.conv.out_channels
    assert (plain.conv.groups, plain.conv.stride) == (model.conv.groups, model.conv.stride)
    assert (plain.conv.kernel_size, plain.conv.dilation) == (choice.kernel, choice.dilation)
    torch.testing.assert_close(plain(x[:1])[0], torch.tanh(plain.conv(x[0])))  # without a batch axis


class Causal(nn.Module):
    """Padded on both sides, of which the right one is cut off again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, padding=4, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-4]


@pytest.mark.parametrize("choice", [Shared((K3, K7)), Shared((Candidate(3, 2), DILATED), "sum")], ids=str)
def test_causal_convs_stay_causal(choice: Shared) -> None:
    x = noise(1, 2, 30)
    plain = made(Causal(), x, choice)
    later = x.clone()
    later[..., 17:] = 0
    torch.testing.assert_close(plain(later)[..., :17], plain(x)[..., :17], rtol=0, atol=0)
    assert not torch.equal(plain(later)[..., 17:], plain(x)[..., 17:])
    kernels, biases = [part.weight for part in plain.conv.parts], [part.bias for part in plain.conv.parts]
    expected = reference(Causal().conv, kernels, biases, choice, x, causal=True)
    torch.testing.assert_close(plain(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "choice",
    [Shared((K3, K5, K7)), Shared((K5, Candidate(3, 1))), Shared((K3, DILATED), "sum"), Shared((DILATED, K7), "sum")],
    ids=str,
)
@pytest.mark.parametrize("groups", [1, 6])
def test_grown_from_a_trained_conv_the_output_is_the_model_s(choice: Shared, groups: int) -> None:
    model, x = One(channels=(6, 6), padding=1, groups=groups), noise(2, 6, 20)
    grown = made(model, x, choice, "grow")
    torch.testing.assert_close(grown(x), model(x), rtol=1e-10, atol=1e-12)
    assert all(part.weight.abs().sum() > 0 for part in grown.conv.parts) or choice.how == "sum"


def test_of_a_sum_each_tap_of_the_own_kernel_is_in_the_first_part_that_has_it() -> None:
    model, x = One(channels=(1, 1), kernel=5, padding=2, bias=False), noise(1, 1, 20)
    first, second = made(model, x, Shared((K3, Candidate(3, 2)), "sum"), "grow").conv.parts
    own = model.conv.weight.flatten()
    assert torch.equal(first.weight.flatten(), own[1:4])
    assert torch.equal(second.weight.flatten(), torch.stack([own[0], 0 * own[2], own[4]]))


def test_a_part_that_does_not_hold_the_own_kernel_has_the_taps_that_it_shares() -> None:
    model, x = One(channels=(1, 2), kernel=5, padding=2, bias=False), noise(1, 1, 20)
    whole, part = made(model, x, Shared((K7, Candidate(3, 2))), "grow").conv.parts
    torch.testing.assert_close(whole.weight[0, 0, 1:-1], model.conv.weight[0, 0], rtol=1e-12, atol=0)
    torch.testing.assert_close(part.weight[0, 0], model.conv.weight[1, 0, ::2], rtol=1e-12, atol=0)
    assert not whole.weight[0, 0, [0, -1]].any()


def test_fresh_parts_are_drawn_by_their_own_fan_in() -> None:
    model, x = One(channels=(64, 128), padding=1), noise(1, 64, 30)
    torch.manual_seed(0)
    for how in ("channels", "sum"):
        for part in made(model, x, Shared((K3, Candidate(11)), how)).conv.parts:  # type: ignore[arg-type]
            bound = (64 * part.kernel_size[0]) ** -0.5
            assert 0.95 * bound < float(part.weight.detach().abs().max()) <= bound


# From a supernet


def trained(space: SearchSpace, **options: Any) -> Any:
    """A supernet whose weights and coefficients differ from each other."""
    model = One(channels=(2, 6), padding=1, **options).double().eval()
    supernet = dashfx.rewrite(model, noise(1, 2, 20), space, "grow").eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.normal_(generator=generator)
        supernet.sites["conv"].fade.fill_(0.3)
    return supernet


def test_a_sum_of_all_candidates_inherits_the_whole_mixture() -> None:
    x = noise(2, 2, 20)
    supernet = trained(SearchSpace((K3, DILATED)))
    plain = dashfx.lower(supernet, Genotype({"conv": Shared((K3, DILATED), "sum")}))
    torch.testing.assert_close(plain(x), supernet(x), rtol=1e-10, atol=1e-12)
    other = dashfx.lower(supernet, Genotype({"conv": Shared((DILATED, K3), "sum")}))
    torch.testing.assert_close(other(x), supernet(x), rtol=1e-10, atol=1e-12)


def test_shared_channels_inherit_the_mixture_on_their_taps_or_their_own_weights() -> None:
    supernet = trained(SearchSpace((K3, DILATED, K7)))
    site, choice = supernet.sites["conv"], Shared((K7, K3))
    by = {weights: dashfx.lower(supernet, Genotype({"conv": choice}), weights) for weights in ("inherit", "own")}
    for rows, index, place in ((slice(0, 3), 2, 0), (slice(3, 6), 0, 1)):
        assert torch.equal(by["inherit"].conv.parts[place].weight, site.restricted(index)[rows])
        assert torch.equal(by["own"].conv.parts[place].weight, site.weights[index][rows])
        assert torch.equal(by["own"].conv.parts[place].bias, site.bias[rows])
    assert len(site.candidates) == 3  # the supernet stays as it is
    fresh = dashfx.lower(supernet, Genotype({"conv": choice}), "fresh")
    assert fresh.conv.parts[0].weight.abs().max() <= (2 * 7) ** -0.5


def test_parts_that_are_no_candidates_are_refused() -> None:
    with pytest.raises(GenotypeError, match=r"'conv': k5 d1 is not one of its candidates \(k3 d1, k5 d3\)"):
        dashfx.lower(trained(SearchSpace((K3, DILATED))), Genotype({"conv": Shared((K3, K5))}))


@pytest.mark.parametrize("weights", ["inherit", "own", "fresh"])
@pytest.mark.parametrize("choice", [Shared((K3, K7, DILATED)), Shared((K3, DILATED), "sum")], ids=str)
def test_discretising_leaves_the_parts_and_lowering_keeps_the_values(choice: Shared, weights: Any) -> None:
    x, supernet = noise(2, 2, 20), trained(SearchSpace((K3, DILATED, K7)))
    program = dashfx.trace(supernet, x)
    discretise = Discretise(Genotype({"conv": choice}), weights)
    assert discretise(program.graph_module).modified
    conv = program.model.get_submodule("conv")
    assert isinstance(conv, AggConv) and conv.candidates == choice.parts and isinstance(conv.relaxation, Together)
    before = program.model(x)
    if weights != "fresh":  # which is drawn anew each time
        assert not discretise(program.graph_module).modified
    assert Lower()(program.graph_module).modified
    torch.testing.assert_close(program.model(x), before, rtol=1e-10, atol=1e-12)
    assert not Lower()(dashfx.trace(program.model, x).graph_module).modified


# Where


class Scaled(nn.Conv1d):
    def doubled(self) -> int:
        return 2


def test_a_conv_with_something_of_its_own_cannot_be_shared() -> None:
    x, model = noise(1, 4, 20), One(padding=1)
    model.conv.scale = 2.0
    with pytest.raises(GenotypeError, match=r"'conv': k3 d1 \| k5 d1 by channels needs a plain conv of torch\.nn"):
        made(model, x, Shared((K3, K5)))
    model.conv = Scaled(4, 6, 3, padding=1)
    with pytest.raises(GenotypeError, match=r"needs a plain conv of torch\.nn"):
        made(model, x, Shared((K3, K5)))
    with pytest.raises(GenotypeError, match=r"'conv': .* 3 kernels cannot share 2 output channels"):
        made(One(channels=(4, 2), padding=1), x, Shared((K3, K5, K7)))


def test_parts_that_coincide_at_a_small_input_stay() -> None:
    x = noise(1, 4, 2)
    plain = made(One(padding=1), x, Shared((K3, K5)))
    assert [part.kernel_size for part in plain.conv.parts] == [(3,), (5,)] and plain(x).shape == (1, 6, 2)


def test_norms_of_weights_frozen_weights_and_shared_convs_stay() -> None:
    model, x = One(padding=1), noise(1, 4, 20)
    model.conv = parametrizations.weight_norm(model.conv)
    grown = made(model, x, Shared((K3, K5)), "grow")
    assert "conv.parts.1.parametrizations.weight.original1" in grown.state_dict()
    torch.testing.assert_close(grown(x), model(x), rtol=1e-10, atol=1e-12)
    for norm in (parametrizations.weight_norm, nn.utils.weight_norm):  # of zeros too, which have no direction
        model = One(padding=1)
        model.conv = norm(model.conv)
        grown = made(model, x, Shared((K3, DILATED), "sum"), "grow")
        assert not grown.conv.parts[1].weight[:, :, [0, 1, 3, 4]].any() and grown.conv.parts[1].weight.isfinite().all()
        torch.testing.assert_close(grown(x), model(x), rtol=1e-10, atol=1e-12)
        grown(x).sum().backward()
        assert all(p.grad.isfinite().all() for p in grown.parameters())
    frozen = One(padding=1)
    frozen.conv.weight.requires_grad_(False)
    grown = made(frozen, x, Shared((K3, K5)), "grow")
    assert {n: p.requires_grad for n, p in grown.named_parameters()} == {
        f"conv.parts.{i}.{what}": what == "bias" for i in (0, 1) for what in ("weight", "bias")
    }


# What they cost


@pytest.mark.parametrize("choice", [Shared((K3, K5, K7)), Shared((K3, DILATED), "sum")], ids=str)
@pytest.mark.parametrize("options", [{}, {"groups": 3, "channels": (3, 6)}, {"bias": False, "stride": 2}], ids=str)
def test_costs_are_those_of_the_counted_model(options: dict[str, Any], choice: Shared) -> None:
    model = One(**{"channels": (4, 7), "padding": 1, **options}).eval()
    x = noise(1, model.conv.in_channels, 21).float()
    program = dashfx.trace(model, x)
    plain = dashfx.specialise(model, x, Genotype({"conv": choice}), "fresh").eval()
    lowered = dashfx.trace(plain, x)
    for cost in (Parameters(), Macs(), Size()):
        assert cost.total(program, Genotype({"conv": choice})) == cost.whole(lowered), cost
    assert Parameters().at(program.sites["conv"], choice) > Parameters().at(program.sites["conv"], K3)
    assert Memory().at(program.sites["conv"], choice) == 0


def test_shared_channels_cost_less_than_the_largest_kernel() -> None:
    program = dashfx.trace(One(channels=(4, 6), padding=1), torch.zeros(1, 4, 20))
    costs = [Macs().at(program.sites["conv"], each) for each in (K3, Shared((K3, K5, K7)), K7)]
    assert all(a < b for a, b in pairwise(costs))
