"""Searches that compute one candidate a site: values, gradients, what is left alone, and what resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engines import BATCH, DATA, TASK, Interrupt, X, engine, same, state
from ranks import Smooth, in_ranks, searched
from toys import FAST, ToyNet

import dashfx
from dashfx import SearchSpace
from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.ops import AggConv
from dashfx.ops.mixture import Sampled
from dashfx.strategies.engine import Engine
from dashfx.strategies.named import training_of
from dashfx.train.fit import fit
from dashfx.train.processes import make_accelerator

FAMILIES = ["dense", "separable", "skip", "pool"]


def sampling(relaxation: str, families: list[str] | None = None, init: Any = "fresh", **options: Any) -> Engine:
    config = SearchConfig.parse({"epochs": 4, "batch_size": 16, "warmup": 0.0, "relaxation": relaxation, **options})
    torch.manual_seed(0)
    space = SearchSpace.product([3, 5], [1, 2], families=families or ["dense"], keep_original=True)
    supernet = dashfx.rewrite(ToyNet(dropout=0.0), X, space, init)
    made = training_of(RunConfig(search=config)).engine(supernet, TASK, config, make_accelerator("cpu"))
    made.begin_epoch(0, 1)
    made.model.train()
    return made


def lost(made: Engine) -> float:
    loss = made.loss(BATCH)
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize("init", ["fresh", "grow"])
@pytest.mark.parametrize("families", [None, FAMILIES, ["nested"]], ids=str)
def test_one_candidate_alone_is_what_one_hot_coefficients_give(families: list[str] | None, init: str) -> None:
    alone, mixed = (sampling(f"gdas:sampled={word}", families, init) for word in ("true", "false"))
    assert lost(alone) == pytest.approx(lost(mixed), rel=1e-4)
    for own, other in zip(alone.weights, mixed.weights, strict=True):
        found, expected = (torch.zeros_like(w) if w.grad is None else w.grad for w in (own, other))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert all(alpha.grad is not None and bool(alpha.grad.any()) for alpha in alone.alphas)


def test_only_what_was_drawn_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen, alone = sampling("gdas"), list[tuple[str, int]](), AggConv.alone

    def watched(site: AggConv, x: torch.Tensor, one: Sampled) -> torch.Tensor:
        seen.append((site.name, one.index))
        return alone(site, x, one)

    monkeypatch.setattr(AggConv, "mix", lambda *args: pytest.fail("a mixture was computed"))
    monkeypatch.setattr(AggConv, "alone", watched)
    lost(made)
    assert [name for name, _ in seen] == ["conv1", "conv2"]
    for name, index in seen:
        used = [weight.grad is not None for weight in made.sites[name].weights]
        assert used == [i == index for i in range(len(used))]
    before = [weight.detach().clone() for weight in made.weights]
    made.step(BATCH)
    moved = [not torch.equal(a, b) for a, b in zip(before, made.weights, strict=True)]
    assert 0 < sum(moved) < len(moved)


def test_a_mixture_is_never_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AggConv, "alone", lambda *args: pytest.fail("one candidate was computed"))
    lost(engine())


@pytest.mark.parametrize("relaxation", ["gdas", "soft-gumbel"])
@pytest.mark.parametrize("init", ["fresh", "grow"])
def test_a_killed_search_over_families_resumes_bit_for_bit(relaxation: str, init: str, tmp_path: Path) -> None:
    def fitted(**more: Any) -> tuple[Engine, Any]:
        made = sampling(relaxation, FAMILIES, init, monitors=["shrink:share=0.5,epochs=1"])
        return made, fit(made, DATA, stage="search", **more)

    straight, expected = fitted()
    with pytest.raises(KeyboardInterrupt):
        fitted(folder=tmp_path, observer=Interrupt(2))
    resumed, found = fitted(folder=tmp_path, resume=True)
    assert same(state(resumed), state(straight))
    assert [(e.loss, e.metric) for e in found.history] == [(e.loss, e.metric) for e in expected.history]


def test_two_processes_do_what_one_does_with_twice_the_rows() -> None:
    def options(rows: int) -> dict[str, Any]:
        quick = {"batch_size": rows, "warmup": 0.0, "autotune": False, "lr": 0.05, "relaxation": "gdas"}
        space = {**FAST["space"], "families": ["dense", "separable", "pool"]}
        retrain = {**FAST["retrain"], "batch_size": rows}
        return {**FAST, "space": space, "search": {**FAST["search"], **quick}, "retrain": retrain}

    first, second = in_ranks(2, searched, Smooth, options(8))
    one = searched(Smooth, options(16))
    assert first["genotype"] == second["genotype"] == one["genotype"]
    assert first["curve"] == second["curve"] == pytest.approx(one["curve"], rel=1e-4)
    assert first["shares"] == pytest.approx(one["shares"], rel=1e-3)
