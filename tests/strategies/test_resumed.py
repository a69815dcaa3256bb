"""Every plug-in of a search: one that was killed goes on bit for bit as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engines import DATA, Interrupt, engine, same, state

from dashfx.ops.relaxations import RELAXATIONS
from dashfx.strategies.engine import Engine
from dashfx.strategies.monitors import MONITORS
from dashfx.strategies.terms import TERMS
from dashfx.strategies.updates import ALPHA_OPTIMISERS, UPDATES
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import fit
from dashfx.train.recipe import OPTIMISERS

NEEDED = {  # arguments without a default, and those with which it acts within a few epochs
    "patience": "patience:epochs=1",
    "shrink": "shrink:share=0.9,epochs=1",
    "rank-stable": "rank-stable:epochs=1",
    "count": "count:sites=2,kind=original",
    "swats": "swats:tolerance=0.1",
    "learned-cost": "learned-cost:cost=params,networks=20",
    "curvature": "curvature:window=1,lag=1,factor=1.0001,start=1,returns=1",
}
BESIDE: dict[str, dict[str, Any]] = {
    "expgrad": {"relaxation": "simplex"},
    "simplex": {"alpha_optimizer": "expgrad"},
}  # what must be chosen with it
PARTS = [
    *(("update", name) for name in UPDATES),
    *(("relaxation", name) for name in RELAXATIONS),
    *(("alpha_optimizer", name) for name in ALPHA_OPTIMISERS),
    *(("optimizer", name) for name in OPTIMISERS),
    *(("monitors", name) for name in MONITORS),
    *(("terms", name) for name in TERMS),
]


def fitted(option: str, name: str, **more: Any) -> tuple[Engine, Fitted]:
    text = NEEDED.get(name, name)
    chosen = {option: [text] if option in ("monitors", "terms") else text, **BESIDE.get(name, {})}
    budgets = ["params=1000"] if name == "learned-cost" else []
    made = engine("grow", budgets, **{"epochs": 4, "warmup": 0.25, "fade": 0.25, "lr": 0.02, **chosen})
    for alpha in made.alphas:
        alpha.data.copy_(made.relaxation.start(len(alpha)))
    return made, fit(made, DATA, stage="search", **more)


@pytest.mark.parametrize(("option", "name"), PARTS)
def test_a_killed_search_resumes_bit_for_bit(option: str, name: str, tmp_path: Path) -> None:
    straight, expected = fitted(option, name)
    with pytest.raises(KeyboardInterrupt):
        fitted(option, name, folder=tmp_path, observer=Interrupt(2))
    resumed, found = fitted(option, name, folder=tmp_path, resume=True)
    assert same(state(resumed), state(straight))
    assert [(e.loss, e.metric) for e in found.history] == [(e.loss, e.metric) for e in expected.history]
    assert found.stopped == expected.stopped
