"""The budget of measuring: more where more is trained, never less than the least."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dashfx.config.run import RetrainConfig
from dashfx.stages.costs import measuring
from dashfx.stages.costs.measuring import LEAST, RATE, SHARE, STEP, affordable


def run(rows: int) -> Any:
    return SimpleNamespace(
        inputs=SimpleNamespace(data=SimpleNamespace(train=range(rows)), example=torch.zeros(2, 3, 10))
    )


CONV = nn.Conv1d(3, 4, 5, padding=2, bias=False)
MACS = 10 * 3 * 4 * 5


def test_it_is_a_share_of_the_training_by_its_steps_and_their_work() -> None:
    config = RetrainConfig(epochs=1000, batch_size=10)
    expected = SHARE * 1000 * 20 * (STEP + 3 * 10 * MACS / RATE)
    assert affordable(run(200), CONV, config) == pytest.approx(expected) and expected > LEAST
    assert affordable(run(200), CONV, config, times=4.0) == pytest.approx(4 * expected)


def test_a_short_training_may_measure_for_a_moment() -> None:
    assert affordable(run(20), CONV, RetrainConfig(epochs=2, batch_size=10)) == LEAST


def test_a_search_is_reckoned_as_a_supernet(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(measuring, "affordable", lambda *given: asked.append(given) or 7.0)
    config = SimpleNamespace(search="options")
    searched = SimpleNamespace(given_model=lambda: CONV)
    made: Any = SimpleNamespace(inputs=SimpleNamespace(for_search=lambda: searched), config=config)
    assert measuring.for_search(made) == 7.0 and asked == [(made, CONV, "options", measuring.PLAIN_EPOCHS)]
