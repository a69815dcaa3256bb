"""Substitute: every included site becomes an AggConv with the conv's own facts; the rest says why it stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, trace
from dashfx.ops import AggConv
from dashfx.options.base import Finder
from dashfx.passes import Canonicalise, Substitute
from dashfx.space import Candidate, SearchSpace

X = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
SPACE = SearchSpace.product([3, 5], [1, 2])


def traced() -> Program:
    first = nn.Conv1d(4, 6, 4, stride=2, padding=3, groups=2, bias=False, padding_mode="circular")
    return trace(nn.Sequential(first, nn.ReLU(), nn.Conv1d(6, 6, 3)).double(), X.double())


def test_an_aggconv_has_the_convs_facts() -> None:
    program = traced()
    old = program.model[0]
    result = Substitute(SPACE)(program.graph_module)
    aggconv = program.model[0]
    assert isinstance(aggconv, AggConv) and program.graph_module.get_submodule("0") is aggconv
    assert (aggconv.in_channels, aggconv.out_channels, aggconv.groups, aggconv.stride) == (4, 6, 2, (2,))
    assert aggconv.bias is None and aggconv.padding_mode == "circular" and aggconv.original == Candidate(4)
    assert aggconv.padding == ((3, 3),) and aggconv.candidates == tuple(SPACE)
    assert aggconv.alpha.dtype is torch.float64 and aggconv.training == old.training
    assert aggconv.name == "0" and aggconv.site is program.sites["0"]
    assert [edit.what for edit in result.edits] == [
        "k4 d1 becomes a mixture of 4 candidates",
        "k3 d1 becomes a mixture of 4 candidates",
    ]


@pytest.mark.parametrize(
    ("include", "exclude", "reason"),
    [
        (("2",), (), "not included by 2"),
        (("*",), ("0*",), "excluded by 0*"),
        (("2", "x"), ("0",), "not included by 2 x"),
    ],
)
def test_include_and_exclude(include: tuple[str, ...], exclude: tuple[str, ...], reason: str) -> None:
    program = traced()
    result = Substitute(SPACE, include=include, exclude=exclude)(program.graph_module)
    assert [(skip.name, skip.reason) for skip in result.skips] == [("0", reason)]
    assert isinstance(program.model[0], nn.Conv1d) and isinstance(program.model[2], AggConv)
    assert list(program.sites) == ["2"] and program.skips[-1].name == "0"


def test_as_a_finder_it_says_before_what_it_does() -> None:
    space = SearchSpace.product([3, 5], families=["dense", "skip"])
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 6, 3, padding=1), nn.Conv1d(6, 6, 3))
    finder, program = Substitute(space, exclude=("2",)), trace(model, X)
    as_finder: Finder[Program] = finder
    decisions, skips = as_finder.decisions(program)
    assert not any(isinstance(each, AggConv) for each in program.model) and len(program.sites) == 3
    finder(program.graph_module)
    assert {each.name: each.options for each in decisions} == {
        name: program.model.get_submodule(name).candidates for name in program.sites
    }
    assert [len(each.options) for each in decisions] == [2, 3] and decisions[0].default == Candidate(3)
    assert skips == program.skips and skips[-1].reason == "excluded by 2" and as_finder.kind == "conv"


def test_growing_starts_from_the_conv_and_fresh_weights_do_not() -> None:
    grown, fresh = traced(), traced()
    weight = grown.model[2].weight.detach().clone()
    Substitute(SPACE, "grow")(grown.graph_module)
    Substitute(SPACE, "fresh")(fresh.graph_module)
    assert torch.equal(grown.model[2].weights[0], weight)  # k3 d1 is the conv's own
    assert fresh.model[2].residual is None
    assert not torch.equal(fresh.model[2].weights[0], weight)


def test_fresh_weights_come_from_the_generator() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        program = traced()
        Substitute(SPACE, "fresh", generator=torch.Generator().manual_seed(seed))(program.graph_module)
        return list(program.model[0].weights)

    assert all(map(torch.equal, weights(1), weights(1)))
    assert not any(map(torch.equal, weights(1), weights(2)))


def test_string_padding_is_for_canonicalise() -> None:
    program = trace(nn.Sequential(nn.Conv1d(4, 4, 3, padding="same")), X)
    with pytest.raises(PassError, match="run Canonicalise first"):
        Substitute(SPACE)(program.graph_module)
    Canonicalise()(program.graph_module)
    Substitute(SPACE)(program.graph_module)


def test_what_a_pass_preserves_depends_on_how_it_starts() -> None:
    assert Substitute(SPACE, "grow").preserves == "values" and Substitute(SPACE, "fresh").preserves == "shapes"


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_norm_is_back_where_nothing_is_searched(norm: Callable[[nn.Conv1d], nn.Module]) -> None:
    model = nn.Sequential(norm(nn.Conv1d(4, 6, 3)), norm(nn.Conv1d(6, 6, 3)))
    program = trace(model, X)
    Canonicalise()(program.graph_module)
    Substitute(SPACE, exclude=("0",))(program.graph_module)
    left = {key: value for key, value in model.state_dict().items() if key.startswith("0.")}
    found = {key: value for key, value in program.model.state_dict().items() if key.startswith("0.")}
    assert found.keys() == left.keys()
    for key, value in left.items():
        torch.testing.assert_close(found[key], value)


def test_a_frozen_bias_stays_frozen_while_kernels_are_searched() -> None:
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 6, 3))
    model[0].requires_grad_(False)
    program = trace(model, X)
    Substitute(SPACE)(program.graph_module)
    assert [site.bias.requires_grad for site in program.model] == [False, True]
    assert all(weight.requires_grad for site in program.model for weight in site.weights)
