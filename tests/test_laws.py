"""The laws that a whole rewrite keeps: shape contract, one-hot law, growth law, and the user's keys and class."""

from __future__ import annotations

import pytest
import torch
from cnns import Layer, Network, cnns, spaces
from hypothesis import given, settings
from hypothesis.strategies import integers
from torch import Tensor, nn

import dashfx
from dashfx import SearchSpace
from dashfx.genotype import Genotype
from dashfx.ops import sites_of


def relative(answer: Tensor, expected: Tensor) -> float:
    return float((answer - expected).detach().abs().max() / expected.abs().max().clamp_min(1e-3))


def rewritten(network: Network, space: SearchSpace, init: str) -> nn.Module:
    supernet: nn.Module = dashfx.rewrite(network.model(), network.example(), space, init)
    return supernet.eval()


def choose(supernet: nn.Module, turn: int) -> Genotype:
    """Fix one candidate in every site, another one for each `turn`."""
    choices = {}
    for place, (name, aggconv) in enumerate(sites_of(supernet).items()):
        index = (turn + place) % len(aggconv.candidates)
        aggconv.fix(index)
        choices[name] = aggconv.candidates[index]
    return Genotype(choices)


def check_one_hot_law(network: Network, space: SearchSpace) -> None:
    supernet, x = rewritten(network, space, "fresh"), network.example()
    for turn in range(max(len(aggconv.candidates) for aggconv in sites_of(supernet).values())):
        genotype = choose(supernet, turn)
        plain = dashfx.lower(supernet, genotype)
        assert relative(supernet(x), plain(x)) <= 1e-10
        own = dashfx.lower(supernet, genotype, weights="own")
        assert torch.equal(own(x), plain(x))


@given(network=cnns(), space=spaces())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_one_hot_law(network: Network, space: SearchSpace) -> None:
    check_one_hot_law(network, space)


WIDE = SearchSpace.product([2, 3, 5], [1, 4])


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("padding", ["same", "valid", 2])
def test_one_hot_law_for_each_padding(ndim: int, mode: str, padding: str | int) -> None:
    layers = Layer(3, padding=padding, mode=mode, groups=2), Layer(4, stride=2, padding=2, mode=mode)
    check_one_hot_law(Network(layers, ndim, {1: (23,), 2: (14, 13), 3: (8, 9, 8)}[ndim]), WIDE)


@pytest.mark.parametrize("padding", ["pad", "chomp"])
def test_one_hot_law_of_a_causal_conv(padding: str) -> None:
    network = Network((Layer(3, dilation=2, padding=padding), Layer(2, padding=padding)), 1, (20,))
    check_one_hot_law(network, WIDE)
    supernet = rewritten(network, WIDE, "fresh")
    assert all(aggconv.site.causal for aggconv in sites_of(supernet).values())
    x = network.example()
    later = x.clone()
    later[..., 12:] += 1
    before, after = supernet.stages(x)[..., :12], supernet.stages(later)[..., :12]
    assert relative(after, before) <= 1e-10


def test_candidates_wider_than_the_input_obey_the_law() -> None:
    check_one_hot_law(Network((Layer(3), Layer(5)), 2, (6, 9)), SearchSpace.product([3, 7, 9], [1, 3]))


def with_noise(supernet: nn.Module, seed: int) -> nn.Module:
    """In train mode, with drawn logits and Gumbel noise."""
    generator = torch.Generator().manual_seed(seed)
    for aggconv in sites_of(supernet).values():
        aggconv.alpha.data.normal_(generator=generator)
        aggconv.generator = generator
    return supernet.train()


@given(network=cnns(), space=spaces(), seed=integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_growth_law(network: Network, space: SearchSpace, seed: int) -> None:
    model, x = network.model(), network.example()
    supernet = rewritten(network, space, "grow")
    assert relative(supernet(x), model(x)) <= 1e-10
    noisy, expected = with_noise(supernet, seed)(x), model.train()(x)
    assert relative(noisy, expected) <= 1e-9  # batch norm divides by deviations that may be small


@pytest.mark.parametrize(("ndim", "preset"), [(1, "dash1d"), (2, "dash2d"), (3, "baby")])
def test_growth_law_in_float32(ndim: int, preset: str) -> None:
    layers = Layer(3, norm=True), Layer(3, stride=2, padding=1, groups=2), Layer(5, residual=True, norm=True)
    network = Network(layers, ndim, {1: (65,), 2: (17, 16), 3: (7, 8, 9)}[ndim])
    model, x = network.model(torch.float32), network.example(torch.float32)
    supernet = dashfx.rewrite(model, x, SearchSpace.preset(preset), init="grow")
    assert relative(supernet.eval()(x), model(x)) <= 1e-5
    assert relative(with_noise(supernet, 0)(x), model.train()(x)) <= 1e-5


def test_growth_law_at_a_size_that_the_example_did_not_have() -> None:
    network = Network((Layer(3, norm=True), Layer(5, stride=2, padding=2)), 2, (7, 7))
    supernet, model = rewritten(network, SearchSpace.product([1, 3, 7], [1, 3]), "grow"), network.model()
    x = torch.randn(1, 4, 19, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    assert relative(supernet(x), model(x)) <= 1e-10


@given(network=cnns(), space=spaces())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_shapes_classes_and_keys_survive(network: Network, space: SearchSpace) -> None:
    model, x = network.model(), network.example()
    supernet = dashfx.rewrite(model, x, space, init="fresh")
    genotype = supernet.genotype()
    plain = dashfx.lower(supernet, genotype)

    assert isinstance(supernet, type(model)) and type(plain) is type(model)
    assert list(plain.state_dict()) == list(model.state_dict())
    assert all(type(m).__module__.startswith("torch.") or type(m) in own_classes(model) for m in plain.modules())
    searched = {f"{name}." for name in genotype}
    for key, value in plain.state_dict().items():
        if not any(key.startswith(prefix) for prefix in searched):
            assert torch.equal(value, model.state_dict()[key])
    for size in (x.shape[2:], [n + 3 for n in x.shape[2:]]):
        other = torch.zeros(1, x.shape[1], *size, dtype=x.dtype)
        assert supernet.stages(other).shape == plain.stages(other).shape == model.stages(other).shape


def own_classes(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules()}


def snapshot(model: nn.Module) -> tuple[object, ...]:
    modules = list(model.modules())
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    return [(m, type(m)) for m in modules], [m.training for m in modules], hooks, state


@given(network=cnns(), space=spaces())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_users_model_and_the_random_state_stay(network: Network, space: SearchSpace) -> None:
    model, x = network.model().train(), network.example()
    model.head.eval()  # flags need not be the same everywhere
    modules, flags, hooks, state = snapshot(model)
    random = torch.get_rng_state()

    dashfx.trace(model, x)
    supernet = dashfx.rewrite(model, x, space, generator=torch.Generator().manual_seed(0))
    before = snapshot(supernet)
    dashfx.lower(supernet, supernet.genotype())

    assert supernet.training and not supernet.head.training
    after = snapshot(model)
    assert after[:3] == (modules, flags, hooks)
    torch.testing.assert_close(after[3], state, rtol=0, atol=0)
    torch.testing.assert_close(snapshot(supernet)[3], before[3], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
