"""Every pass does what it declares, on networks that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cnns import Network, cnns, spaces
from hypothesis import given, settings
from torch import Tensor, nn

from dashfx.frontend.analysis import topology
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.passes import AbstractPass, Annotate, Canonicalise, Discretise, Lower, PassManager, Prune, Substitute
from dashfx.space import SearchSpace

# Each chain ends with the pass under test; those before it make what it requires.
Chain = Callable[[SearchSpace, Program], list[AbstractPass]]
CHAINS: dict[str, Chain] = {
    "canonicalise": lambda space, _: [Canonicalise()],
    "substitute, grown": lambda space, _: [Canonicalise(), Substitute(space, "grow")],
    "substitute, fresh": lambda space, _: [Canonicalise(), Substitute(space, "fresh")],
    "prune, grown": lambda space, _: [Canonicalise(), Substitute(space, "grow"), Prune()],
    "prune, fresh": lambda space, _: [Canonicalise(), Substitute(space, "fresh"), Prune()],
    "annotate": lambda space, _: [Annotate()],
    "annotate a supernet": lambda space, _: [Canonicalise(), Substitute(space), Prune(), Annotate()],
    "discretise": lambda space, program: [*grown(space), Discretise(last_choices(space, program))],
    "lower": lambda space, program: [*grown(space), Discretise(last_choices(space, program)), Lower()],
}


def grown(space: SearchSpace) -> list[AbstractPass]:
    return [Canonicalise(), Substitute(space, "grow")]


def last_choices(space: SearchSpace, program: Program) -> Genotype:
    return Genotype({name: space.for_site(name, site.original)[-1] for name, site in program.sites.items()})


def objects(program: Program) -> dict[str, nn.Module]:
    return dict(program.model.named_modules(remove_duplicate=False))


def clone(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def close(a: Tensor, b: Tensor) -> bool:
    return float((a - b).detach().abs().max()) <= 1e-10 * float(b.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("name", CHAINS)
@given(network=cnns(), space=spaces())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_pass_holds_what_it_declares(name: str, network: Network, space: SearchSpace) -> None:
    x = network.example()
    program = trace(network.model(), x)
    *before, step = CHAINS[name](space, program)
    PassManager(before)(program.graph_module)
    expected, graph, modules = program.model(x), topology(program.graph_module), objects(program)

    result = step(program.graph_module)

    answer = program.model(x)
    assert answer.shape == expected.shape
    if step.preserves == "values":
        assert close(answer, expected)
    torch.testing.assert_close(program.graph_module(x), answer)  # the graph shows the modules that the model now has
    if not result.modified:
        assert topology(program.graph_module) == graph and objects(program) == modules

    modules, weights = objects(program), clone(program.model)
    again = step(program.graph_module)
    assert not again.modified, f"a second run edits {again}"
    assert topology(program.graph_module) == graph and objects(program) == modules
    torch.testing.assert_close(clone(program.model), weights, rtol=0, atol=0)


@given(network=cnns(), space=spaces())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_prune_after_growing_keeps_values(network: Network, space: SearchSpace) -> None:
    x = network.example()
    program = trace(network.model(), x)
    expected = program.model(x)
    PassManager([*grown(space), Prune()])(program.graph_module)
    assert close(program.model(x), expected)
    for aggconv in sites_of(program.model).values():  # and for another mixture, too
        aggconv.alpha.data.normal_(generator=torch.Generator().manual_seed(0))
    assert close(program.model(x), expected)
