"""Crops behind convs become less padding, and the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rewritten import Of, ops, rewritten
from torch import nn

from dashfx.deploy.layout.crops import without_crops

CONV = nn.Conv1d(2, 3, 3, padding=4, dilation=2)  # 13 steps become 17


@pytest.mark.parametrize(
    ("model", "shape", "pads"),
    [
        (Of(lambda x, c: c(x)[..., :-4], CONV), (2, 2, 13), [4, 0]),
        (Of(lambda x, c: c(x)[..., 1:-3], CONV), (2, 2, 13), [3, 1]),
        (Of(lambda x, c: torch.relu(c(x)[..., 2:]), CONV), (2, 2, 13), [2, 4]),
        (Of(lambda x, c: c(x)[..., 1:-1], nn.Conv1d(2, 3, 4, 2, padding=3)), (2, 2, 13), [1, 1]),
        (Of(lambda x, c: c(x)[..., 1:, :-2], nn.Conv2d(2, 3, 3, padding=2)), (2, 2, 7, 9), [1, 2, 2, 0]),
    ],
)
def test_padding_is_what_is_left(model: nn.Module, shape: tuple[int, ...], pads: list[int], tmp_path: Path) -> None:
    before, after, count = rewritten(without_crops, model, torch.randn(shape), tmp_path)
    (conv,) = [node for node in after.graph.node if node.op_type == "Conv"]
    assert next(list(each.ints) for each in conv.attribute if each.name == "pads") == pads
    assert count == before["Slice"] and "Slice" not in ops(after)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, c: c(x)[..., :-5],  # more than the padding
        lambda x, c: c(x)[..., ::2],
        lambda x, c: c(x)[..., :9],  # from the front
        lambda x, c: c(x)[:, :2],  # channels
        lambda x, c: c(x)[..., :-4] * c(x).amax(),  # something else reads it all
        lambda x, c: torch.relu(c(x))[..., :-4],
    ],
)
def test_left_alone(call: object, tmp_path: Path) -> None:
    _, _, count = rewritten(without_crops, Of(call, CONV), torch.randn(2, 2, 13), tmp_path)  # type: ignore[arg-type]
    assert count == 0
