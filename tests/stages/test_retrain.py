"""Retraining hands back the model as it came: with other weights, and with nothing on it of what trained it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.retrain import retrain

DATA = toy_data()


def run_with(amp: str = "no", **retraining: Any) -> Run:
    block = {**FAST["retrain"], "epochs": 1, "autotune": False, **retraining}
    return prepare(ToyNet, DATA, config={**FAST, "amp": amp, "retrain": block})


def traces(model: nn.Module) -> dict[str, tuple[type, list[str]]]:
    """The class of each module, and what is set on it, apart from settings and hooks that are empty."""
    return {name: (type(m), sorted(key for key, value in vars(m).items() if value)) for name, m in named(model)}


def named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.eval().named_modules())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"amp": "bf16"},
        {"ema": 0.9},
        {"channels_last": True},
        {"amp": "bf16", "ema": 0.9, "channels_last": True},
        pytest.param({"compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_no_wrapper_is_left(options: dict[str, Any]) -> None:
    run = run_with(**options)
    trained = retrain(run, ToyNet()).model
    assert traces(trained) == traces(ToyNet())
    assert all(p.grad is None and p.is_contiguous() and p.dtype == torch.float32 for p in trained.parameters())


def test_a_forward_of_the_users_own_stays() -> None:
    model = ToyNet()
    own = model.forward = lambda x: ToyNet.forward(model, x)  # type: ignore[method-assign]
    trained = retrain(run_with("bf16"), model).model
    assert vars(trained)["forward"] is own and "_original_forward" not in vars(trained)


def test_half_precision_through_to_onnx(tmp_path: Path) -> None:
    config = {**FAST, "amp": "bf16", "control": True, "search": {**FAST["search"], "epochs": 1, "autotune": False}}
    retraining = {**FAST["retrain"], "epochs": 1, "autotune": False}
    result = dashfx.search(ToyNet, DATA, config={**config, "retrain": retraining}, out=tmp_path / "run")
    assert result.exported is not None and result.exported.exporter == "dynamo"
    assert "forward" not in vars(result.model)
