"""Plain convs by the Fourier path: the same values, gradients and keys, and only where a measurement says so."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import pytest
import torch
from torch import nn

from dashfx.ops import TuningTable
from dashfx.ops.autotune import choose
from dashfx.ops.autotune.choose import Problem
from dashfx.ops.fourier.plain_convs import computed_by, faster_convs, large_convs

CASES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Conv1d(3, 4, 9, padding="same", dilation=3), (40,)),
    (nn.Conv1d(4, 4, 8, stride=2, padding=5, groups=4, padding_mode="circular"), (21,)),
    (nn.Conv2d(2, 6, (5, 7), padding=(4, 3), dilation=(2, 1), groups=2, bias=False), (9, 12)),
    (nn.Conv2d(2, 2, 5, padding=3, stride=2, padding_mode="reflect"), (8, 9)),
    (nn.Conv3d(1, 2, 5, padding="valid"), (6, 5, 7)),
]


@pytest.mark.parametrize(("conv", "size"), CASES, ids=lambda case: str(case)[:40])
def test_values_and_gradients_stay(conv: nn.Module, size: tuple[int, ...]) -> None:
    conv = copy.deepcopy(conv).double()
    model = nn.Sequential(conv, nn.Tanh())
    x = torch.randn(2, conv.in_channels, *size, dtype=torch.float64, requires_grad=True)
    kind, keys = type(conv), list(model.state_dict())

    def results(model: nn.Module) -> list[torch.Tensor]:
        y = model(x)
        return [y, *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]

    expected, alone = results(model), model(x[0])
    with computed_by(model, {"0": "fourier"}):
        assert type(conv) is not kind and list(model.state_dict()) == keys
        for found in (results(model), results(copy.deepcopy(model))):
            for got, want in zip(found, expected, strict=True):
                torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(model(x[0]), alone)
    assert type(conv) is kind and "_algorithm" not in vars(conv)


def test_an_error_gives_the_classes_back() -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 5))
    with pytest.raises(KeyError), computed_by(model, {"0": "fourier"}):
        raise KeyError
    assert type(model[0]) is nn.Conv1d


def test_small_kernels_and_depthwise_convs_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 9, groups=4), nn.Conv1d(4, 4, 9, groups=2))
    assert list(large_convs(model)) == ["2"]


class Net(nn.Module):
    """A small kernel, two large ones, and one that sees two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.long, self.wide = (
            nn.Conv1d(2, 2, 3, padding=1),
            nn.Conv1d(2, 2, 9),
            nn.Conv1d(2, 2, 5, stride=2),
        )
        self.shared, self.norm = nn.Conv1d(2, 2, 7, padding=3), nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.shared(self.small(x)))
        return self.shared(self.wide(self.long(x)))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """Problems in the order in which they are measured: the Fourier path wins for 9 taps, and for 7 on long inputs."""
    seen: list[Problem] = []

    def measure(site: object, problem: Problem, names: Iterable[str], deadline: float) -> dict[str, float]:
        seen.append(problem)
        (candidate,) = problem.spec.candidates
        wins = candidate.taps == 9 or (candidate.taps == 7 and problem.shape[-1] > 30)
        return {name: 0.5 if wins == name.startswith("fourier") else 1.0 for name in names}

    monkeypatch.setattr(choose, "measure", measure)
    return seen


def test_large_kernels_are_measured_and_the_faster_ones_named(measured: list[Problem]) -> None:
    model, x = Net().train(), torch.randn(4, 2, 60)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chosen, tuning = faster_convs(model, x)
    assert chosen == {"long": "fourier"}  # the shared one is faster at one of its sizes only
    assert tuning is not None and sorted(problem.shape[-1] for problem in measured) == [24, 52, 60, 60]
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again, tuning = faster_convs(model, x, kept=tuning.table)
    assert again == chosen and len(measured) == 4


def test_a_conv_that_is_hardly_faster_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(site: object, problem: Problem, names: Iterable[str], deadline: float) -> dict[str, float]:
        return {name: 0.9 if name.startswith("fourier") else 1.0 for name in names}

    monkeypatch.setattr(choose, "measure", measure)
    chosen, tuning = faster_convs(Net(), torch.randn(4, 2, 60))
    assert chosen == {} and tuning is not None and tuning.measured == 4


def test_small_kernels_are_not_even_looked_at(measured: list[Problem]) -> None:
    assert faster_convs(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1)), torch.zeros(1, 1, 8, 8)) == ({}, None)
    assert not measured


def test_nothing_is_chosen_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "free_bytes", lambda _: 10)
    assert faster_convs(Net(), torch.randn(4, 2, 60), kept=TuningTable()) == ({}, None)
