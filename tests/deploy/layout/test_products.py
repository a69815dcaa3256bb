"""Convs over few places give the same as products with a matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rewritten import ops, rewritten
from torch import nn

from dashfx.deploy.layout import products
from dashfx.deploy.layout.products import as_products


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "CHANNELS", 3)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv2d(3, 5, 3, padding=1), (2, 2)),
        (nn.Conv2d(3, 5, 3, 2, padding=1, bias=False), (5, 7)),
        (nn.Conv2d(3, 5, (3, 2), padding=(2, 0), dilation=(2, 1)), (4, 3)),
        (nn.Conv2d(3, 5, 4), (4, 4)),
        (nn.Conv1d(3, 5, 5, padding=2), (9,)),
        (nn.Conv3d(3, 4, 2, padding=1), (1, 1, 2)),
    ],
)
def test_values_stay(conv: nn.Module, size: tuple[int, ...], tmp_path: Path) -> None:
    model = nn.Sequential(conv, nn.ReLU())
    _, after, count = rewritten(as_products, model, torch.randn(2, 3, *size), tmp_path)
    assert count == 1 and ops(after)["Gemm"] == 1 and "Conv" not in ops(after)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv2d(3, 5, 3, padding=1), (4, 5)),  # too many places
        (nn.Conv2d(3, 5, 1), (2, 2)),
        (nn.Conv2d(3, 3, 3, padding=1, groups=3), (2, 2)),
        (nn.Conv2d(2, 5, 3, padding=1), (2, 2)),  # too few channels
    ],
)
def test_left_alone(conv: nn.Module, size: tuple[int, ...], tmp_path: Path) -> None:
    channels = conv.in_channels  # type: ignore[attr-defined]
    assert rewritten(as_products, conv, torch.randn(2, channels, *size), tmp_path)[2] == 0  # type: ignore[arg-type]
