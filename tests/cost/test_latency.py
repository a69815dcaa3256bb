"""Figures of models: counted as by hand, timed in turn, and kept in JSON."""

from __future__ import annotations

import json

import onnx
import pytest
import torch
from torch import Tensor, nn

from dashfx.cost.counts import flops_of
from dashfx.cost.latency import Figures, compare
from dashfx.cost.latency.measure import written
from dashfx.proxy import load_proxy

METRICS = {"a": (0.5, 0.25), "b": (0.4, 0.2)}


class Refused(nn.Module):
    """No ONNX file can be made of it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy().copy()) if not torch.jit.is_tracing() else torch.fft.fft(x).real


def test_flops_are_two_a_multiply_add() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 5, padding=2, bias=False), nn.Flatten(), nn.Linear(24, 4, bias=False))
    assert flops_of(model, torch.zeros(1, 2, 8)) == 2 * (2 * 3 * 5 * 8 + 24 * 4)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(1, 2, 1, bias=False), nn.LSTM(2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.conv(x).permute(2, 0, 1))[0]


def test_recurrent_layers_count_alike_in_runs_and_rankings() -> None:
    model, x = Recurrent(), torch.zeros(2, 1, 8)
    multiply_adds = 2 * 8 + 8 * 4 * 3 * (2 + 3)  # the conv; of each step four gates of three units, input and state
    (figures,) = compare({"a": model}, METRICS, x[:1], timed=False).values()
    assert figures.flops == load_proxy("flops").score(model, x) == 2 * multiply_adds


def test_models_are_timed_and_left_as_they_are() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Dropout(0.5)).train()
    found = compare({"a": model, "b": Refused()}, METRICS, torch.zeros(1, 1, 8), timed=True)
    times = found["a"].latency
    assert times is not None and 0 < times.low <= times.median <= times.high and times.n >= 5 and times.threads == 1
    assert found["a"].parameters == 8 and found["b"].latency is None
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_figures_come_back_from_json() -> None:
    (figures,) = compare({"a": nn.Conv1d(1, 1, 3)}, METRICS, torch.zeros(1, 1, 8), timed=True).values()
    assert Figures.from_dict(json.loads(json.dumps(figures.to_dict()))) == figures
    untimed = Figures(0.1, 0.2, 3, 4)
    assert Figures.from_dict(untimed.to_dict()) == untimed


class OneLength(nn.Module):
    """Takes series of 16 steps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3, padding=1)
        self.fc = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(torch.relu(self.conv(x)).flatten(1))
        return y


@pytest.mark.parametrize(
    ("model", "free", "sizes"),
    [
        (nn.Conv1d(1, 2, 3), True, ["batch", 1, "length"]),
        (OneLength(), True, ["batch", 1, 16]),
        (nn.Conv1d(1, 2, 3), False, [1, 1, 16]),
    ],
    ids=["as its file", "a model of one length", "fixed"],
)
def test_a_model_is_timed_with_the_sizes_free_that_its_file_leaves_free(
    model: nn.Module, free: bool, sizes: list[str | int]
) -> None:
    with written(model, torch.zeros(1, 1, 16), free) as path:
        axes = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == sizes
