"""Inputs of a run: which weights a training without a supernet starts from."""

from __future__ import annotations

from typing import Any

import pytest

from dashfx.config.run import RunConfig
from dashfx.run.inputs import Inputs


@pytest.mark.parametrize(
    ("weights", "checkpoint", "fresh"),
    [("inherit", None, True), ("inherit", "w.pt", False), ("pretrained", "w.pt", False), ("fresh", "w.pt", True)],
)
def test_without_a_checkpoint_training_starts_fresh(weights: str, checkpoint: str | None, fresh: bool) -> None:
    nothing: Any = None
    config = RunConfig.parse({"retrain": {"weights": weights}})
    assert Inputs(nothing, nothing, nothing, config, checkpoint).starts_fresh == fresh
