"""What the exporters or ONNX Runtime get wrong is put right, each shown on a model that failed without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dashfx.deploy.export import export
from dashfx.deploy.runtime import OnnxModel


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Broadcast(nn.Module):
    """Writes a code of the positions, the same for every row of the batch, into a part of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3, padding=1)
        self.places = nn.Parameter(torch.randn(1, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_empty(len(x), 4, x.shape[-1])
        y[:, :2] = self.conv(x)
        y[:, 2:].copy_(self.places)
        return y


def test_a_broadcast_copy_keeps_a_free_batch(tmp_path: Path) -> None:
    report = export(Broadcast(), torch.randn(2, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert report.exporter == "dynamo" and report.dynamic_axes == {"x": ("batch",)}


class Angle(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.atan2(y, x)


def test_the_angle_on_the_axes(tmp_path: Path) -> None:
    export(Angle(), (torch.randn(2, 6), torch.randn(2, 6)), tmp_path / "model.onnx")
    x = torch.tensor([[-1.0, -1.0, 1.0, 0.0, 0.0, 0.0]])
    y = torch.tensor([[0.0, -0.0, 0.0, 2.0, -2.0, 0.0]])
    torch.testing.assert_close(OnnxModel(tmp_path / "model.onnx")(x, y), torch.atan2(y, x))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(1, stride=2), nn.MaxPool2d(2, stride=2)])
def test_padding_as_wide_as_the_kernel_of_the_pooling_after_it(tmp_path: Path, pool: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ZeroPad2d((2, 0, 2, 0)), pool)
    report = export(model, torch.randn(2, 1, 8, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert report.exporter == "dynamo" and report.ops["Pad"] == 1


class Scaled(nn.Module):
    """Divides by a range that is zero, kept from that by a tiny number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = x[..., :1]
        gap = first.amax(-1, keepdim=True) - first.amin(-1, keepdim=True)
        return self.conv(x) + gap / (gap + 1e-8)


def test_a_tiny_number_is_not_optimised_away(tmp_path: Path) -> None:
    report = export(Scaled(), torch.randn(2, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert report.exporter == "dynamo" and report.dynamic_axes == {"x": ("batch",)}
    assert "dynamo exporter with batch free failed" in report.notes[0], "the optimiser is better: go back to it"


class Reversible(torch.autograd.Function):
    """Frees what goes in, as a backward pass that computes it anew allows."""

    @staticmethod
    def forward(ctx: object, x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        with torch.no_grad():
            a, b = (half.contiguous() for half in x.chunk(2, dim=1))
            c = a + first(b)
            d = b + second(c)
            y = torch.cat([c, d], dim=1)
            for part in (a, b, c, d):
                part.set_()
        return y


class ReversibleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, 4, 3, padding=1)
        self.first, self.second = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        y = Reversible.apply(x, self.first, self.second)
        x.data.set_()
        return y


def test_memory_that_a_reversible_network_frees_is_kept_during_export(tmp_path: Path) -> None:
    method = Tensor.set_
    report = export(ReversibleNet(), torch.randn(2, 1, 8), tmp_path / "model.onnx", dynamic_size=False)
    assert report.exporter == "dynamo" and report.dynamic_axes == {"x": ("batch",)}
    assert Tensor.set_ is method and torch.ones(3).set_().numel() == 0
