"""Discretise: one candidate stays in each AggConv, with the weights asked for; a wrong genotype is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dashfx.errors import GenotypeError
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.passes import Discretise, Prune, Substitute
from dashfx.space import Candidate, SearchSpace

CHOICES = {"0": Candidate(5), "2": Candidate(3)}


def supernet(init: str = "fresh") -> Program:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2), nn.Conv1d(2, 2, 3, padding=1))
    program = trace(model, torch.zeros(2, 2, 16))
    Substitute(SearchSpace.product([3, 5], [1]), init)(program.graph_module)
    Prune()(program.graph_module)
    for aggconv in (program.model[0], program.model[2]):
        aggconv.alpha.data.normal_()
    return program


def test_inherit_restricts_the_aggregated_kernel() -> None:
    program = supernet()
    before: AggConv = program.model[0]
    small, large = before.weights
    a = before.coefficients()
    result = Discretise(Genotype(CHOICES))(program.graph_module)
    after: AggConv = program.model[0]
    assert after.candidates == (Candidate(5),) and float(after.coefficients().detach()) == 1.0
    expected = a[1] * large + nn.functional.pad(a[0] * small, (1, 1))
    torch.testing.assert_close(after.weights[0], expected)
    assert torch.equal(after.bias, before.bias)
    assert [edit.what for edit in result.edits] == ["2 candidates become k5 d1", "2 candidates become k3 d1"]


def test_own_takes_the_candidates_weight() -> None:
    program = supernet()
    before = program.model[0]
    Discretise(Genotype(CHOICES), "own")(program.graph_module)
    assert torch.equal(program.model[0].weights[0], before.weights[1])


def test_fresh_draws_everything_anew() -> None:
    program = supernet("grow")
    before = program.model.state_dict()
    program.model[1].running_mean += 1
    Discretise(Genotype(CHOICES), "fresh")(program.graph_module)
    weight = program.model[2].weights[0]
    assert not torch.equal(weight, before["2.weights.0"]) and float(weight.detach().abs().max()) <= 6**-0.5
    assert not program.model[1].running_mean.any()
    drawn = {name: value.clone() for name, value in program.model.state_dict().items()}
    assert not Discretise(Genotype(CHOICES), "fresh")(program.graph_module).modified
    assert all(torch.equal(value, drawn[name]) for name, value in program.model.state_dict().items())


def test_the_residual_kernel_is_part_of_what_is_inherited() -> None:
    model = nn.Sequential(nn.Conv1d(2, 2, 5, padding=2))
    program = trace(model, torch.zeros(2, 2, 16))
    Substitute(SearchSpace.product([3], [1]), "grow")(program.graph_module)
    grown = program.model[0]
    assert grown.residual is not None
    expected = model[0].weight[..., 1:4]
    # one candidate alone is no reason to leave a site as it is, while a residual is mixed in
    assert Discretise(Genotype({"0": Candidate(3)}))(program.graph_module).modified
    assert program.model[0].residual is None and torch.equal(program.model[0].weights[0], expected)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"0": Candidate(5)}, "no choice for '2'"),
        ({**CHOICES, "20": Candidate(3)}, r"names '20', which the model does not search \(did you mean"),
        ({**CHOICES, "2": Candidate(7)}, r"Site '2': k7 d1 is not one of its candidates \(k3 d1, k5 d1\)"),
    ],
)
def test_a_genotype_of_another_model(choices: dict[str, Candidate], words: str) -> None:
    with pytest.raises(GenotypeError, match=words) as raised:
        Discretise(Genotype(choices))(supernet().graph_module)
    assert "\n" not in str(raised.value)
