"""Morphisms leave what a network computes as it is, or refuse with the reason and leave the program alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cnns import Layer, Network, cnns
from hypothesis import given, settings
from hypothesis.strategies import integers
from torch import Tensor, nn

import dashfx
from dashfx.deploy.runtime import OnnxModel
from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, copy_program, trace
from dashfx.options.morph import Morph, placed, steps_of
from dashfx.passes import Branch, Canonicalise, Deepen, Enlarge, Substitute, Widen
from dashfx.passes.morphisms import MorphFinder, Morphism, morph_of, morphed, pass_of

MAKERS: dict[str, Callable[[str], Morphism]] = {
    "widen": lambda at: Widen(at, 8),
    "widen, not twice": lambda at: Widen(at, 6, seed=1),
    "deepen": Deepen,
    "enlarge": lambda at: Enlarge(at, 9),
    "branch, add": lambda at: Branch(at, 3),
    "branch, cat": lambda at: Branch(at, 2, "cat"),
}


def relative(answer: Tensor, expected: Tensor) -> float:
    return float((answer - expected).detach().abs().max() / expected.detach().abs().max().clamp_min(1e-3))


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def held(step: Morphism, program: Program, x: Tensor) -> bool:
    """Whether the law holds; False where the morphism is refused and the program as it was."""
    model, expected, sites = program.model, program.model(x), dict(program.sites)
    try:
        result = step(program)
    except PassError as error:
        assert step.at in str(error) and str(error).startswith(f"pass {step.name}: ")
        assert program.model is model and torch.equal(model(x), expected) and program.sites == sites
        return False
    assert relative(program.model(x), expected) <= 1e-10
    torch.testing.assert_close(program.graph_module(x), program.model(x))
    assert not result.modified or size(program.model) > size(model) or isinstance(step, Branch)
    state = {key: value.clone() for key, value in program.model.state_dict().items()}
    again = step(program)
    assert not again.modified, "a second run does nothing"
    torch.testing.assert_close(dict(program.model.state_dict()), state, rtol=0, atol=0)
    return result.modified


def check(network: Network, place: int) -> None:
    """Each morphism, at one site of the same network."""
    x = network.example()
    program = trace(network.model(), x)
    sites = list(program.sites)
    for make in MAKERS.values():
        held(make(sites[place % len(sites)]), copy_program(program), x)


@given(network=cnns((1, 2)), place=integers(0, 2))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_morphisms_preserve_values(network: Network, place: int) -> None:
    check(network, place)


@pytest.mark.slow
@given(network=cnns(), place=integers(0, 2))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_morphisms_preserve_values_of_many_networks(network: Network, place: int) -> None:
    check(network, place)


class Many(nn.Module):
    """What channels can meet: a residual add, a concatenation, depthwise and grouped convs, a gate, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 6, 1)
        self.side = nn.Conv2d(8, 4, 3, padding=1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(10, 2, 1), nn.ReLU(), nn.Conv2d(2, 10, 1), nn.Sigmoid()
        )
        self.prelu, self.last = nn.PReLU(10), nn.Conv2d(10, 5, 3, padding=1)
        self.wide = nn.Linear(5 * 16, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.b(self.a(x)))
        x = torch.cat([self.point(self.depthwise(x)), self.side(x)], 1)
        x = self.prelu(x * self.gate(x))
        x = torch.nn.functional.adaptive_avg_pool2d(self.last(x), 4)
        return self.head(torch.relu(self.wide(torch.flatten(x, 1))))


def many() -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Many().double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    model.norm.running_mean.uniform_(-0.5, 0.5), model.norm.running_var.uniform_(0.5, 1.5)
    return model, x


def test_channels_that_meet_are_widened_together() -> None:
    model, x = many()
    program = trace(model, x)
    assert held(Widen("b", 12), program, x)
    wide = program.model
    assert (wide.stem.out_channels, wide.norm.num_features, wide.b.out_channels) == (12, 12, 12)
    assert (wide.depthwise.groups, wide.point.in_channels, wide.side.in_channels, wide.a.in_channels) == (12,) * 4
    assert wide.a.out_channels == 8 and model.stem.out_channels == 8  # the user's own is never touched


def test_the_other_morphisms_of_a_network_of_many_parts() -> None:
    model, x = many()
    program = trace(model, x)
    steps = [Deepen("stem"), Enlarge("a", 5), Branch("depthwise", 3, "cat"), Branch("last", 3), Deepen("last.parts.0")]
    assert all(held(step, program, x) for step in steps)
    assert [type(layer).__name__ for layer in program.model.norm] == ["BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    assert [type(layer).__name__ for layer in program.model.last.parts[0]] == ["Conv2d", "PReLU", "Conv2d"]


def test_channels_of_pointwise_convs_gates_and_concatenations_are_widened() -> None:
    model, x = many()
    program = trace(model, x)
    assert held(Widen("point", 9), program, x) is False  # the gate joins the concatenation as a whole
    gate = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 2)).double().eval()
    y = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    program = trace(gate, y)
    assert held(Widen("0", 5), program, y) and program.model[2].in_features == 80


def test_copies_do_not_stay_alike() -> None:
    """Their readers' weights differ, so that a step of gradient descent tells them apart."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3)).double()
    program = trace(net, torch.randn(2, 1, 8, 8, dtype=torch.float64))
    Widen("0", 4)(program)
    wide = program.model
    wide(program.example[0]).square().mean().backward()
    gradients = wide[0].weight.grad.flatten(1)
    assert len({tuple(row.tolist()) for row in gradients}) == 4


def test_a_deeper_net_has_its_statistics() -> None:
    """In train mode, too, a new norm changes the example's values by rounding alone."""
    net = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.BatchNorm1d(3), nn.ReLU(), nn.Conv1d(3, 2, 3)).double()
    x = torch.randn(8, 1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net.train()(x), net.eval()
    program = trace(net, x)
    assert held(Deepen("0"), program, x)
    new = program.model[1]
    assert [type(m).__name__ for m in new] == ["BatchNorm1d", "ReLU", "Conv1d", "BatchNorm1d"]
    expected = program.model(x)
    new[3].train()
    torch.testing.assert_close(program.model(x), expected, rtol=1e-6, atol=1e-6)


def test_branches_are_sites_and_nest() -> None:
    network = Network((Layer(3), Layer(3, groups=2, bias=False)), 2, (9, 8))
    x = network.example()
    program = trace(network.model(), x)
    first, second = program.sites
    assert held(Branch(first, 2), program, x) and held(Branch(second, 2, "cat"), program, x)
    assert held(Branch(f"{first}.parts.1", 3, "cat"), program, x)
    assert held(Branch(f"{first}.parts.1.parts.0", 2), program, x)
    inner = [f"{first}.parts.1.parts.{i}" for i in (1, 2)]
    deepest = [f"{first}.parts.1.parts.0.parts.{i}" for i in (0, 1)]
    assert list(program.sites) == [f"{first}.parts.0", *deepest, *inner, f"{second}.parts.0", f"{second}.parts.1"]
    space = dashfx.SearchSpace.product([3, 5])
    supernet = dashfx.rewrite(program.model, x, space)
    assert set(supernet.sites) == set(program.sites)
    assert relative(supernet.eval()(x), program.model(x)) <= 1e-10


def test_a_chain_of_morphisms_goes_on_from_its_own_result(tmp_path: Path) -> None:
    model, x = many()
    program, float_x = trace(model, x), x.float()
    for step in (Widen("side", 6), Deepen("stem"), Enlarge("norm.2", 5), Branch("last", 2), Widen("norm.0", 16)):
        try:
            step(program)
        except PassError:
            assert isinstance(step, Widen)
    assert relative(program.model(x), model(x)) <= 1e-10
    dashfx.export(program.model.float(), float_x, tmp_path / "net.onnx")  # which verifies
    (answer,) = OnnxModel(tmp_path / "net.onnx").run(float_x).values()
    torch.testing.assert_close(torch.as_tensor(answer), model.float()(float_x), rtol=1e-3, atol=1e-4)


def test_refusals_name_the_conv_and_the_reason() -> None:
    model, x = many()
    program = trace(model, x)
    cases: dict[str, Morphism] = {
        r"no conv 'stemm' \(did you mean 'stem'\?\)": Widen("stemm", 16),
        "4 are fewer": Widen("stem", 4),
        "do not divide into the 2 groups": Widen("stem", 9),
        "has no centre": Deepen("stem", 4),
        "misses taps of its k3 d1": Enlarge("stem", 3, 2),
        "is no conv that can be searched: pointwise": Enlarge("point", 3),
        "5 branches cannot share its 2 groups": Branch("a", 5, "cat"),
        "1 branches are no branches": Branch("stem", 1),
        "merged by 'add' or 'cat'": Branch("stem", 2, "max"),  # type: ignore[arg-type]
    }
    for text, step in cases.items():
        with pytest.raises(PassError, match=text):
            step(program)
    Canonicalise()(program), Substitute(dashfx.SearchSpace.product([3, 5]))(program)
    with pytest.raises(PassError, match="is a mixture: morphisms work on plain models"):
        Deepen("stem")(program)


class Counts(nn.Module):
    """Its code has a number of channels in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).view(-1, 4 * 36))


def test_code_that_does_not_go_along_is_refused() -> None:
    program = trace(Counts().eval(), torch.randn(2, 1, 8, 8))
    before = program.model
    with pytest.raises(PassError, match="pass widen: 'conv': the model's own code does not go along"):
        Widen("conv", 8)(program)
    assert program.model is before and before.conv.out_channels == 4


def test_a_step_is_an_option_of_a_genotype() -> None:
    for step in (Widen("a", 8), Deepen("b"), Enlarge("c", (5, 1), (2, 1)), Branch("d", 3, "cat")):
        morph = morph_of(step)
        assert pass_of(morph) == step
        again = dashfx.Genotype.from_json(dashfx.Genotype({}, others=placed([morph])).to_json())
        assert steps_of(again.others) == (morph,) and pass_of(steps_of(again.others)[0]) == step
    assert str(morph_of(Branch("d", 2))) == "branch d" and morph_of(Widen("a", 8)).features() == {"to": math.log(8)}
    with pytest.raises(PassError, match=r"no morphism 'widem' \(did you mean 'widen'\?\); there are widen, deepen"):
        pass_of(Morph("widem", "a"))
    with pytest.raises(PassError, match=r"morphism widen a by=2: .*unexpected keyword argument 'by'"):
        pass_of(Morph("widen", "a", (("by", 2),)))


def test_the_finder_names_every_conv_or_says_why_not() -> None:
    model, x = many()
    program = trace(model, x)
    found, skips = MorphFinder(("widen", "enlarge")).decisions(program)
    named = [decision.name for decision in found] + [skip.name for skip in skips]
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert set(named) >= {f"{name}:widen" for name in convs} and len(named) == len(set(named))
    by_name = {decision.name: decision for decision in found}
    assert [str(option) for option in by_name["stem:widen"].options] == ["widen stem to=12", "widen stem to=16"]
    assert str(by_name["a:enlarge"].options[0]) == "enlarge a kernel=5"
    assert "side:widen" in {skip.name for skip in skips}


def test_a_fresh_start_draws_what_has_come_anew() -> None:
    model, x = many()
    steps = [morph_of(step) for step in (Widen("last", 8), Deepen("stem"))]
    kept, fresh = morphed(model, x, steps), morphed(model, x, steps, fresh=True)
    assert relative(kept(x), model(x)) <= 1e-10 and relative(fresh(x), model(x)) > 1e-3
    assert torch.equal(fresh.side.weight, model.side.weight)  # which has not changed
    assert not torch.equal(fresh.wide.weight, kept.wide.weight) and fresh.norm[3].running_var.eq(1).all()
