"""Work of training, against multiply-adds counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from proposing import DATA, K5, Proposing, options
from torch import nn
from toys import ToyNet

import dashfx
from dashfx.blackbox.base import Row
from dashfx.config.run import RunConfig
from dashfx.ops import sites_of
from dashfx.run.prepare import prepare
from dashfx.space import SearchSpace
from dashfx.stages.evaluators import ByTraining
from dashfx.stages.finalists import work
from dashfx.train.progress import Epoch

MACS = 4 * 2 * 3 * 24 + 4 * 4 * 3 * 24 + 4 * 3  # two convs on 24 positions, and the last layer


def prepared(**more: Any) -> Any:
    return prepare(ToyNet, DATA, strategy=Proposing((K5,)), config=RunConfig.parse({**options(), **more}))


def test_a_plain_model_costs_its_multiply_adds() -> None:
    assert work.macs_of(ToyNet(), DATA.train.__getitems__([0])[0]) == MACS
    assert work.macs_of(nn.Flatten(), torch.zeros(1, 1, 4)) == 1


def test_a_training_costs_steps_times_rows_times_multiply_adds() -> None:
    history = [Epoch("retrain", i, 2, 1.0, 0.5, 0.5, 0.1, 1.0, 1.0, {}, 3) for i in range(2)]
    assert work.work_of(history, 16, MACS) == 6 * 16 * MACS


def test_a_mixture_costs_what_the_cheapest_algorithm_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared()
    space = SearchSpace.product(kernels=[3, 5], dilations=[1])
    supernet = dashfx.rewrite(ToyNet(), run.inputs.example, space, init="fresh")
    # Both candidates lie on five neighbouring taps: one dense conv of five.
    assert work.step_work(run, supernet) == MACS + (4 * 2 + 4 * 4) * 2 * 24
    monkeypatch.setattr(work, "estimates", lambda *_: (("fourier", 1000.0), ("mixed_weights", 5000.0)))
    assert work.step_work(run, supernet) == 4 * 3 + 2 * 1000
    assert work.epoch_ratio(run, supernet) == pytest.approx((4 * 3 + 2 * 1000) / MACS)
    assert len(sites_of(supernet)) == 2


def test_a_choice_costs_the_mean_of_the_candidates() -> None:
    run = prepared()
    space = SearchSpace.product(kernels=[3, 7], dilations=[1])
    supernet = dashfx.rewrite(ToyNet(), run.inputs.example, space, init="fresh")
    assert work.choice_ratio(run, supernet) == pytest.approx((MACS + (4 * 2 + 4 * 4) * 2 * 24) / MACS)


def test_a_search_of_the_network_that_is_retrained_costs_what_that_does() -> None:
    more = {"search": {"as_retrained": True}, "retrain": {"weights": "fresh", "model_args": {"width": 8}}}
    run = prepared(**more)
    space = SearchSpace.product(kernels=[3], dilations=[1])
    supernet = dashfx.rewrite(ToyNet(8), run.inputs.example, space, init="fresh")
    assert work.epoch_ratio(run, supernet) == work.choice_ratio(run, supernet) == 1


def test_a_search_costs_its_own_steps_and_the_genotypes_that_it_trained() -> None:
    run = prepared(search={"batch_size": 8})
    epoch = Epoch("search", 0, 1, 1.0, 0.5, 0.5, 0.1, 1.0, 1.0, {}, 5)
    run.ledger.history.append(epoch)
    assert work.search_work(run, 1000.0) == 5 * 8 * 1000.0
    run.ledger.history.append(Epoch("retrain", 0, 1, 1.0, 0.5, 0.5, 0.1, 1.0, 1.0, {}, 5))
    assert work.search_work(run, 1000.0) == 5 * 8 * 1000.0

    class Trains(Proposing):
        evaluator = ByTraining(3)

    run = prepare(ToyNet, DATA, strategy=Trains((K5,)), config=RunConfig.parse(options()))
    shares = (1.0, 0.5, 0.5)  # of a whole evaluation
    run.ledger.evaluations.extend(Row(i, None, 0.5, 0.5, None, 0.0, fidelity=share) for i, share in enumerate(shares))
    assert work.search_work(run, 1000.0) == 2 * 3 * (57 // 16) * 16 * MACS
