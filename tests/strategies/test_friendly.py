"""Friendliness: of candidates put alone into the untouched model, the dominated ones and only those leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toys import SIZE, ToyNet

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limit, Limits, read_budget
from dashfx.errors import ConfigError
from dashfx.ops import AggConv, sites_of, tie
from dashfx.strategies.base import Evaluating, Evaluator
from dashfx.strategies.edits import Friendly

OWN, WIDE, FAR, BOTH = (Candidate(k, d) for k, d in ((3, 1), (5, 1), (3, 2), (5, 2)))
# Of each candidate alone in the model: by how much dearer it becomes, and what it is worth.
PLANTED = {
    "conv1": {OWN: (0.0, 1.0), WIDE: (2.0, 3.0), FAR: (2.0, 2.0), BOTH: (3.0, 3.0)},
    "conv2": {OWN: (0.0, 1.0), WIDE: (-1.0, 2.0), FAR: (-1.0, 2.0), BOTH: (-2.0, 0.5)},
}


@dataclass(frozen=True)
class Told(Evaluator):
    sign: float = 1.0

    def begin(self, context: Any, engine: Any = None) -> Evaluating:
        def values(genotypes: Sequence[Genotype]) -> list[float]:
            changed = [{n: c for n, c in each.items() if c != OWN} for each in genotypes]
            assert all(len(set(each.values())) <= 1 for each in changed)
            worth = [max([PLANTED[n][c][1] for n, c in each.items()], default=1.0) for each in changed]
            return [self.sign * each for each in worth]

        return SimpleNamespace(values=values, maximise=self.sign > 0)  # type: ignore[return-value]


@dataclass(frozen=True)
class Trained(Told):
    training: Any = "as the supernet's"


def context(sites: Mapping[str, AggConv], measured: bool = True) -> Any:
    costs = {name: {c: 10.0 + more for c, (more, _) in row.items()} for name, row in PLANTED.items()}
    limit = Limit(read_budget("params=9"), 99.0, 0.0, dict.fromkeys(PLANTED, 10.0), costs, whole=20.0)
    limits = Limits((limit,))
    if measured:
        limits = replace(limits, measure=lambda choice: [20 + max(PLANTED[n][c][0] for n, c in choice.items())])
    return SimpleNamespace(sites=sites, limits=limits, config=RunConfig())


def supernet() -> dict[str, AggConv]:
    return sites_of(dashfx.rewrite(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2])))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("measured", [True, False])
def test_the_dominated_ones_and_only_those_leave(sign: float, measured: bool) -> None:
    sites = supernet()
    said = Friendly("params", Told(sign)).settle(context(sites, measured))
    assert set(sites["conv1"].candidates) == {OWN, WIDE}
    assert set(sites["conv2"].candidates) == {OWN, WIDE, FAR, BOTH}  # its own stays, though dearer and worth less
    assert (
        said
        == "friendly: of 8 candidates alone in the model, by params and Told, these leave: conv1 k3 d2, conv1 k5 d2"
    )
    assert Friendly("params", Told(sign)).settle(context(sites, measured)) == ""  # once more changes nothing


def test_what_gives_no_number_is_worth_the_least() -> None:
    @dataclass(frozen=True)
    class Broken(Evaluator):
        def begin(self, context: Any, engine: Any = None) -> Evaluating:
            def values(genotypes: Sequence[Genotype]) -> list[float]:
                return [float("nan") if FAR in each.values() else 1.0 for each in genotypes]

            return SimpleNamespace(values=values, maximise=True)  # type: ignore[return-value]

    sites = supernet()
    Friendly("params", Broken()).settle(context(sites))
    assert all(FAR not in site.candidates for site in sites.values())


def test_tied_convs_are_changed_together() -> None:
    sites = supernet()
    tie(sites, "all")
    Friendly("params", Told()).settle(context(sites))
    assert [tuple(site.candidates) for site in sites.values()] == [tuple(sites["conv1"].candidates)] * 2


def test_without_a_budget_or_with_an_evaluator_that_trains_it_is_refused() -> None:
    sites = supernet()
    with pytest.raises(ConfigError, match="edit friendly needs a budget of latency, which says how"):
        Friendly(evaluator=Told()).settle(context(sites))
    with pytest.raises(ConfigError, match="edit friendly comes before mixtures are trained"):
        Friendly("params", Trained()).settle(context(sites))
    assert all(len(site.candidates) == 4 for site in sites.values())
