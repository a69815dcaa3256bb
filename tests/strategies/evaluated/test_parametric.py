"""ParZC: proxies conv by conv, and a run by what a network makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.errors import DashfxError
from dashfx.proxy.named import PROXIES
from dashfx.proxy.peers.gradients import ByLayer
from dashfx.strategies.evaluated.parametric import SCORES, by_site

DATA = toy_data()


@pytest.mark.parametrize("name", SCORES)
def test_the_parts_of_a_proxy_add_up_to_it(name: str) -> None:
    torch.manual_seed(0)
    model, proxy = ToyNet(dropout=0.0), PROXIES[name](seed=0)
    batch = DATA.train.__getitems__(range(8))
    assert isinstance(proxy, ByLayer)
    parts = proxy.by_layer(_copy(model), *batch)
    assert list(parts) == ["conv1", "conv2", "fc"] and all(value > 0 for value in parts.values())
    assert proxy.score(model, batch) == pytest.approx(sum(parts.values()), rel=1e-12)


def _copy(model: torch.nn.Module) -> torch.nn.Module:
    again = ToyNet(dropout=0.0)
    again.load_state_dict(model.state_dict())
    return again


def test_scores_go_to_their_sites() -> None:
    found = by_site({"a": 1.0, "a.1": 2.0, "ab": 3.0, "fc": 4.0, "b": float("inf")}, ["a", "b"])
    assert np.expm1(found).tolist() == pytest.approx([3.0, 0.0, 7.0])


def test_a_run_evaluates_what_the_network_prefers() -> None:
    config = {
        **FAST,
        "search": {**FAST["search"], "strategy": "parametric:pool=10,start=5,top=2,scores=[snip]"},
        "blackbox": {"evaluator": "params", "evaluations": 8},
        "retrain": {"epochs": 1, "batch_size": 16},
    }
    result = dashfx.search(ToyNet, DATA, config=config)
    assert len(result.evaluations) == 8 and len({row.genome for row in result.evaluations}) == 8
    assert any("10 genotypes are scored by snip" in note for note in result.notes)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("parametric:scores=[naswot]", "asks 'naswot' of each conv, and it is no sum over layers"),
        ("parametric:start=60", r"parametric: the first 60 evaluations .*\(start=60\), and there are 20"),
        ("parametric:scores=[]", "there are none"),
    ],
)
def test_what_cannot_work_is_one_line(strategy: str, said: str) -> None:
    config = {**FAST, "search": {"strategy": strategy}, "blackbox": {"evaluator": "params", "evaluations": 20}}
    with pytest.raises(DashfxError, match=said):
        dashfx.search(ToyNet, DATA, config=config)
