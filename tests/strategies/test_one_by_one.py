"""One site at a time: which comes first, what it keeps, and that an interrupted run decides as it would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engines import DATA, Interrupt, engine, same, state

from dashfx.ops import drop_residuals
from dashfx.strategies.one_by_one import OneByOne, certainty
from dashfx.strategies.rules import Argmax
from dashfx.train.fit import fit


def one_by_one(**options: Any) -> OneByOne:
    made = engine(**options)
    made.sites["conv2"].alpha.data[2] = 2.0
    drop_residuals(made.model)
    return OneByOne(made, Argmax())


def test_certainty_runs_from_even_to_one_hot() -> None:
    site = engine().sites["conv1"]
    assert certainty(site) == pytest.approx(0, abs=1e-6)
    site.alpha.data[1] = 50.0
    assert certainty(site) == pytest.approx(1, abs=1e-6)


def test_the_most_certain_site_comes_first_and_keeps_what_lies_on_its_taps() -> None:
    made = one_by_one()
    site = made.sites["conv2"]
    expected = site.restricted(2).detach().clone()
    assert made.decide_next() == "conv2"
    assert site.candidates == (made.sites["conv1"].candidates[2],) and torch.equal(site.weights[0], expected)
    assert len(made.sites["conv1"].candidates) == 4 and made.decide_next() == "conv1"


def test_it_is_trained_on_after_each_site() -> None:
    made = one_by_one(recovery=0.5, lr=0.1)
    assert made.config.epochs == 2 and made.config.fraction == 0.5 and made.config.lr == pytest.approx(0.01)
    history = fit(made, DATA, stage="one-by-one").history
    assert len(history) == 2 and all(len(site.candidates) == 1 for site in made.sites.values())
    assert history[0].mixtures["conv2"][0] == 1 and history[0].mixtures["conv1"][0] < 0.9


def test_an_interrupted_search_decides_alike(tmp_path: Path) -> None:
    straight, resumed = one_by_one(), one_by_one()
    fit(straight, DATA, stage="one-by-one")
    with pytest.raises(KeyboardInterrupt):
        fit(one_by_one(), DATA, stage="one-by-one", folder=tmp_path, observer=Interrupt(1))
    fit(resumed, DATA, stage="one-by-one", folder=tmp_path, resume=True)
    assert same(state(resumed), state(straight))
    assert {n: s.candidates for n, s in resumed.sites.items()} == {n: s.candidates for n, s in straight.sites.items()}


def test_a_finished_search_that_is_read_again_has_its_last_temperature(tmp_path: Path) -> None:
    """What is most certain, and what some rules choose, depends on it."""
    straight, resumed = (engine(tau=(4.0, 0.5), epochs=3) for _ in range(2))
    fit(straight, DATA, stage="search", folder=tmp_path)
    fit(resumed, DATA, stage="search", folder=tmp_path, resume=True)
    assert straight.relaxation.temperature == resumed.relaxation.temperature == pytest.approx(1.0)
    for name, site in resumed.sites.items():
        assert torch.equal(site.coefficients(), straight.sites[name].coefficients())
    after = OneByOne(resumed, Argmax())
    after.begin_epoch(0, 1)
    assert after.relaxation.temperature == 0.5 and resumed.relaxation.temperature == pytest.approx(1.0)
