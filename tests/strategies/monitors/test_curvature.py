"""Curvature: eigenvalues of known spectra, scripted series, and where a search that it ends stands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bilevel import Bilevel
from engines import DATA, engine, same, state
from torch import Tensor, nn

from dashfx.strategies.engine import Engine
from dashfx.strategies.monitors import Context, Curvature
from dashfx.strategies.updates import FirstOrder
from dashfx.train.fit import fit
from dashfx.train.progress import Epoch, Observer


class Quadratic(Bilevel):
    """a^T A a / 2."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(FirstOrder())
        self.matrix, self.alphas = (
            matrix,
            [nn.Parameter(torch.randn(2).double()), nn.Parameter(torch.randn(3).double())],
        )

    def loss(self, batch: Any, params: Any = None, coef: Any = None, part: Any = "both") -> Tensor:
        a = torch.cat([*self.alphas])
        return a @ self.matrix @ a / 2


def test_the_spectrum_of_a_quadratic_is_found() -> None:
    torch.manual_seed(0)
    spectrum = torch.tensor([-3.0, 0.0, 0.5, 2.0, 7.0], dtype=torch.float64)
    axes = torch.linalg.qr(torch.randn(5, 5).double()).Q
    hessian = Quadratic(axes @ spectrum.diag() @ axes.T).alpha_hessian(None)
    torch.testing.assert_close(torch.linalg.eigvalsh(hessian), spectrum, atol=1e-9, rtol=0)


def test_the_series_is_judged_by_its_means() -> None:
    monitor = Curvature(window=2, lag=2, factor=1.5)
    for value, rises in ((1.0, False), (1.0, False), (1.0, False), (1.9, False), (1.2, True), (0.5, False)):
        monitor.values.append(value)  # means 1, 1, 1.45, 1.55, .85; against two before: 1.45 of 1, then 1.55 of 1
        assert monitor.rises() == rises
    monitor.values = [-1.0, -1.0, 5.0, 5.0]
    assert not monitor.rises()


class States(Observer):
    """What the search was after each epoch."""

    def __init__(self) -> None:
        self.made: Engine | None = None
        self.seen: dict[int, dict[str, Tensor]] = {}

    def epoch(self, facts: Epoch) -> None:
        assert self.made is not None
        self.seen.setdefault(facts.epoch, state(self.made))


def watched(monkeypatch: pytest.MonkeyPatch, values: list[float], returns: int) -> tuple[Engine, States, int]:
    text = f"curvature:window=1,lag=2,factor=1.5,start=1,returns={returns}"
    made, states = engine(warmup=0, epochs=7, weight_decay=0.01, monitors=[text]), States()
    left = iter(values)
    monkeypatch.setattr(made, "alpha_hessian", lambda batch: next(left) * torch.eye(3))
    states.made = made
    return made, states, len(fit(made, DATA, stage="search", observer=states).history)


def test_it_ends_with_the_state_before_the_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    made, states, epochs = watched(monkeypatch, [1, 1, 1, 1, 2], returns=0)
    assert epochs == 3 and same(state(made), states.seen[2]) and made.config.weight_decay == 0.01


def test_it_goes_back_with_more_decay_and_ends_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, epochs = watched(monkeypatch, [1, 1, 1, 1, 2, 1, 1, 1, 2], returns=1)
    assert epochs == 5 and made.config.weight_decay == pytest.approx(0.03)


def test_it_looks_at_rows_that_the_weights_never_see() -> None:
    made = engine(warmup=0, monitors=["curvature"], batch_size=8)
    kept = made.training_data(DATA)
    x, _ = made.held_batch()
    rows = {tuple(row.flatten().tolist()) for row in kept.train.__getitems__(range(len(kept.train)))[0]}
    assert len(x) == 8 and not rows & {tuple(row.flatten().tolist()) for row in x}
    monitor = Curvature()
    assert monitor.on_epoch(Context(made.sites, 0, True, 0.0, made)) == []
    expected = torch.linalg.eigvalsh(made.alpha_hessian(made.held_batch()).double())[-1]
    assert monitor.values == [pytest.approx(float(expected))]
