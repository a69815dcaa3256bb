"""Monitors: when they stop a search or let candidates leave, and that a shrunk search is the same run in all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import BATCH, DATA, Interrupt, engine, moved, same, state, weights

import dashfx
from dashfx import Candidate, Genotype
from dashfx.ops import drop_residuals
from dashfx.strategies.monitors import Context, Drop, Shrink, Stop
from dashfx.train.fit import fit


def leaning(towards: int = 0, by: float = 4.0, **options: Any) -> Any:
    """A warm engine whose sites all lean towards one candidate."""
    made = engine(warmup=0, **options)
    for site in made.sites.values():
        site.alpha.data[towards] += by
    return made


def test_a_candidate_leaves_after_some_epochs_below_the_share() -> None:
    made, monitor = leaning(), Shrink(0.05, epochs=2)
    site = made.sites["conv1"]
    ctx = Context({"conv1": site}, epoch=0, warm=True, settled=0)
    assert monitor.on_epoch(ctx) == []
    site.alpha.data[1] += 4.0  # back among the largest
    assert monitor.on_epoch(ctx) == [Drop("conv1", site.candidates[i]) for i in (2, 3)]
    site.alpha.data[1] -= 4.0
    assert Drop("conv1", site.candidates[1]) not in monitor.on_epoch(ctx)  # it starts to count again
    assert Drop("conv1", site.candidates[1]) in monitor.on_epoch(ctx)
    assert Shrink(0.05, epochs=1).on_epoch(Context({"conv1": site}, 0, warm=False, settled=-1)) == []


def test_without_a_share_nothing_changes() -> None:
    plain, never = leaning(epochs=3), leaning(epochs=3, shrink=1e-9)
    fit(plain, DATA, stage="search")
    fit(never, DATA, stage="search")
    assert same(state(plain), state(never)) and all(len(site.candidates) == 4 for site in plain.sites.values())


def test_a_monitor_of_ones_own_can_stop_the_search() -> None:
    class Enough(Shrink):
        def on_epoch(self, ctx: Context) -> list[Stop]:
            return [Stop("enough")] if ctx.epoch == 1 else []

    made = engine()
    made._monitors.append(Enough(0.5))
    fitted = fit(made, DATA, stage="search")
    assert fitted.stopped == "enough" and len(fitted.history) == 2


@pytest.mark.parametrize("optimiser", [{"optimizer": "sgd"}, {"optimizer": "adamw", "alpha_optimizer": "sgd"}])
def test_what_stays_goes_on_as_before(optimiser: dict[str, str]) -> None:
    """Dropping a candidate whose coefficient is 0 anyway changes no step that follows."""
    shrunk, full = (leaning(cost_weight=0, **optimiser) for _ in range(2))
    for made in (shrunk, full):
        made.sites["conv1"].alpha.data[3] = -1e4
        made.step(BATCH)
    shrunk.keep("conv1", [0, 1, 2])
    for made in (shrunk, full):
        made.model.eval()  # no noise, which is drawn per candidate
        made.step(BATCH)
        made.step(BATCH)
    assert len(shrunk.sites["conv1"].candidates) == 3
    for name, value in shrunk.model.state_dict().items():
        expected = full.model.state_dict()[name]
        if name.split(".")[-1] in ("alpha", "mask", "kept") and name.startswith("conv1"):
            expected = expected[:3]
        torch.testing.assert_close(value, expected)
    assert len(shrunk.alphas[0]) == 3 and any(p is shrunk.alphas[0] for p in shrunk.optimisers["alphas"].state)


@pytest.mark.parametrize("init", ["fresh", "grow"])
def test_a_shrunk_search_resumes_bit_for_bit(init: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"init": init, "shrink": 0.05, "epochs": 7, "alpha_lr": 0.01, "patience": 6}
    straight = leaning(**options)
    expected = fit(straight, DATA, stage="search")
    left = {name: site.candidates for name, site in straight.sites.items()}
    assert any(len(candidates) < 4 for candidates in left.values())
    with pytest.raises(KeyboardInterrupt):
        fit(leaning(**options), DATA, stage="search", folder=tmp_path, observer=Interrupt(4))
    resumed = engine(warmup=0, **options)
    fitted = fit(resumed, DATA, stage="search", folder=tmp_path, resume=True)
    assert {name: site.candidates for name, site in resumed.sites.items()} == left
    assert same(state(resumed), state(straight))
    assert [(e.loss, e.metric) for e in fitted.history] == [(e.loss, e.metric) for e in expected.history]


def test_lowering_a_shrunk_supernet_is_lowering_the_unshrunk_one() -> None:
    shrunk, full = (leaning(cost_weight=0) for _ in range(2))
    shrunk.keep("conv1", [1, 3])
    x = DATA.train.__getitems__(range(4))[0]
    for made in (shrunk, full):
        made.sites["conv1"].fix(made.sites["conv1"].candidates.index(Candidate(5, 2)))
        drop_residuals(made.model)
    choice = Genotype({"conv1": Candidate(5, 2), "conv2": Candidate(3, 1)})
    outputs = [dashfx.lower(made.model, choice).eval()(x) for made in (shrunk, full)]
    torch.testing.assert_close(*outputs)


def test_another_searchs_monitors_do_not_fit() -> None:
    made = engine(shrink=0.1)
    with pytest.raises(ValueError, match="shorter"):
        made.load_state_dict(engine().state_dict())


def test_rows_that_left_are_gone_from_the_optimisers() -> None:
    made = leaning()
    made.step(BATCH)
    dropped = made.sites["conv1"].weights[0]
    made.keep("conv1", [1, 2])
    held = [p for o in made.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert all(p is not dropped for p in held)
    assert {id(p) for p in held} == {id(p) for p in made.model.parameters()}
    before = weights(made)
    made.step(BATCH)
    assert all(moved(before, weights(made))) and np.isfinite(float(made.loss(BATCH).detach()))
