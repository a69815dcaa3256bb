"""The learned cost: it recovers tables, is used only where it beats sums, and has the network's gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from engines import BATCH, engine
from toys import ToyNet

from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.expected import Expected
from dashfx.strategies.terms import LearnedCost, Moment
from dashfx.strategies.terms.learned_cost import fitted

OWN = parameters_of(ToyNet())


def begun(measure: Any = None) -> tuple[Engine, LearnedCost]:
    made, term = engine(budgets=["params=1000"]), LearnedCost("params", networks=60)
    assert made.limits is not None
    made.limits = replace(made.limits, measure=measure)
    term.begin(made)
    return made, term


def together(choice: Any) -> list[float]:
    """A cost that does not add up: two large kernels share what they take."""
    wide = [c.kernel == (5,) for c in choice.values()]
    return [OWN * (1 + (3.0 if any(wide) else 0.0))]


def value(made: Engine, term: LearnedCost, coef: dict[str, torch.Tensor]) -> torch.Tensor:
    return term(Moment(made, BATCH, torch.zeros(16, 3), coef, "both"))


def test_an_additive_table_is_recovered() -> None:
    draw = torch.Generator().manual_seed(0)
    table, picks = torch.rand(3, 5, generator=draw), torch.randint(5, (80, 3), generator=draw)
    x = torch.nn.functional.one_hot(picks, 5).float().flatten(1)
    y = 1 + table[torch.arange(3), picks].sum(1)
    network = fitted(x[20:], y[20:], 16)
    assert float(((network(x[:20])[:, 0] - y[:20]).abs() / y[:20]).median().detach()) < 0.02


def test_what_adds_up_is_left_to_sums() -> None:
    made, term = begun()
    assert term.network is None
    coef = {name: torch.tensor([0.1, 0.2, 0.3, 0.4]) for name in made.sites}
    assert made.limits is not None
    expected = Expected.of_limit(made.limits.each[0], made.sites)
    assert float(value(made, term, coef)) == pytest.approx(float(expected(coef) / expected.untouched))


def test_what_does_not_add_up_is_learned_and_frozen() -> None:
    made, term = begun(together)
    assert term.network is not None and not any(p.requires_grad for p in term.network.parameters())
    names = list(made.sites)
    found = {}
    for pair in ((0, 0), (2, 1), (2, 3), (1, 2)):
        coef = {name: torch.eye(4)[place] for name, place in zip(names, pair, strict=True)}
        found[pair] = float(value(made, term, coef))
    assert found[0, 0] < 2.2 < min(found[2, 1], found[2, 3], found[1, 2])  # 1, and 4 wherever a k5 is


def test_the_gradient_is_that_of_the_network() -> None:
    made, term = begun(together)
    assert term.network is not None
    coef = {name: torch.full((4,), 0.25, requires_grad=True) for name in made.sites}
    found = torch.autograd.grad(value(made, term, coef), list(coef.values()))
    x = torch.full((8,), 0.25, requires_grad=True)
    (expected,) = torch.autograd.grad(term.network(x).squeeze(), x)
    torch.testing.assert_close(torch.cat(found), expected)


def test_candidates_that_leave_count_as_nothing() -> None:
    made, term = begun(together)
    network = term.network
    made.keep("conv1", [0, 2])
    term.begin(made)
    assert term.network is network and len(term.places) == 8
    coef = {"conv1": torch.tensor([1.0, 0.0]), "conv2": torch.eye(4)[0]}
    assert float(value(made, term, coef)) < 2.2


def test_it_needs_a_budget_and_leaves_the_generator() -> None:
    with pytest.raises(ConfigError, match="term learned-cost needs a budget of latency"):
        engine(terms=["learned-cost"])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    fitted(torch.eye(4), torch.ones(4), 2)
    assert torch.equal(before, torch.random.get_rng_state())
