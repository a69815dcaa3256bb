"""Lower: an AggConv with one candidate becomes an ordinary conv, with weight-norm put back and the keys of old."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.passes import Canonicalise, Discretise, Lower, PassManager, Substitute
from dashfx.space import Candidate, SearchSpace

X = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))


def discrete(model: nn.Module, candidate: Candidate) -> Program:
    program = trace(model, X)
    space = SearchSpace((candidate, Candidate(1)))
    PassManager([Canonicalise(), Substitute(space, "fresh")])(program.graph_module)
    Discretise(Genotype(dict.fromkeys(program.sites, candidate)))(program.graph_module)
    return program


def test_the_conv_has_the_candidates_facts() -> None:
    conv = nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False, padding_mode="reflect").eval()
    program = discrete(nn.Sequential(conv), Candidate(4, 3))
    weight = program.model[0].weights[0]
    result = Lower()(program.graph_module)
    new = program.model[0]
    assert type(new) is nn.Conv1d and new.weight.requires_grad and torch.equal(new.weight, weight)
    assert (new.kernel_size, new.dilation, new.stride, new.groups, new.bias) == ((4,), (3,), (2,), 2, None)
    assert new.padding_mode == "reflect" and not new.training
    assert not program.sites and [edit.what for edit in result.edits] == ["k4 d3 as nn.Conv1d"]


def test_the_bias_stays() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1))
    program = discrete(model, Candidate(5))
    bias = program.model[0].bias
    Lower()(program.graph_module)
    assert torch.equal(program.model[0].bias, bias)


@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm_comes_back(norm: object, dim: int) -> None:
    model = nn.Sequential(norm(nn.Conv1d(4, 4, 3, padding=1), dim=dim))
    program = discrete(model, Candidate(5))
    expected = program.model(X)
    Lower()(program.graph_module)
    torch.testing.assert_close(program.model(X), expected)
    assert set(program.model.state_dict()) == set(model.state_dict())
    assert parametrize.is_parametrized(program.model[0]) == parametrize.is_parametrized(model[0])
    keys = [k for k in model.state_dict() if not k.endswith("bias")]
    magnitudes = program.model.state_dict()[keys[0]].shape, model.state_dict()[keys[0]].shape
    assert magnitudes[0] == magnitudes[1] or dim == 1


def test_mixtures_and_residuals_are_for_discretise() -> None:
    program = trace(nn.Sequential(nn.Conv1d(4, 4, 3, padding=1)), X)
    Substitute(SearchSpace.product([3, 5]))(program.graph_module)
    with pytest.raises(PassError, match="pass lower: site '0' still mixes 2 candidates: run Discretise first"):
        Lower()(program.graph_module)


def test_a_lopsided_conv_is_still_a_plain_one() -> None:
    program = discrete(nn.Sequential(nn.Conv1d(4, 4, 3, padding=1)), Candidate(4))
    expected = program.model(X)
    Lower()(program.graph_module)
    torch.testing.assert_close(program.model(X), expected)
    again = trace(program.model, X)  # and can be searched again
    assert again.sites["0"].padding == ((1, 2),) and again.sites["0"].padding_mode == "zeros"


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias"), ()])
def test_what_was_frozen_is_frozen_again(frozen: tuple[str, ...]) -> None:
    conv = nn.Conv1d(4, 4, 3)
    for name in frozen:
        conv.get_parameter(name).requires_grad_(False)
    program = discrete(nn.Sequential(conv), Candidate(5))
    Lower()(program.graph_module)
    assert {n for n, p in program.model[0].named_parameters() if not p.requires_grad} == set(frozen)
