"""Batch norms become depthwise convs of one tap with the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rewritten import Of, ops, rewritten
from torch import nn

from dashfx.deploy.layout.norms import norms_as_convs


@pytest.mark.parametrize(("norm", "size"), [(nn.BatchNorm1d(4, eps=0.1), (9,)), (nn.BatchNorm2d(4), (3, 5))])
def test_values_stay(norm: nn.Module, size: tuple[int, ...], tmp_path: Path) -> None:
    norm.weight.data.uniform_(-2, 2), norm.bias.data.normal_()  # type: ignore[union-attr,operator]
    model = Of(lambda x, n: torch.relu(n(torch.relu(x))) + x, norm)
    before, after, count = rewritten(norms_as_convs, model, torch.randn(2, 4, *size), tmp_path)
    assert count == before["BatchNormalization"] == 1
    assert ops(after)["Conv"] == 1 and "BatchNormalization" not in ops(after)


def test_left_alone(tmp_path: Path) -> None:
    model = Of(lambda x, c: torch.relu(c(x)), nn.Conv1d(4, 4, 3))
    assert rewritten(norms_as_convs, model, torch.randn(2, 4, 9), tmp_path)[2] == 0
    assert rewritten(norms_as_convs, nn.BatchNorm1d(4), torch.randn(2, 4), tmp_path)[2] == 0  # rows and channels alone
