"""Enlarging to computed sizes has constant factors where all sizes but the batch are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from rewritten import Of, rewritten
from torch import nn

from dashfx.backbones import UNet
from dashfx.deploy.layout.resizing import with_constant_factors


def test_factors_of_a_network(tmp_path: Path) -> None:
    x = torch.randn(2, 1, 8, 16)
    _, after, count = rewritten(with_constant_factors, UNet(width=2, depth=2), x, tmp_path, "dynamo")
    constants = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in after.graph.initializer}
    found = [constants[node.input[2]] for node in after.graph.node if node.op_type == "Resize"]
    assert count == 2 and found == [[1, 1, 2, 2]] * 2


@pytest.mark.parametrize(("size", "mode"), [((9, 16), "nearest"), ((3, 4), "nearest"), ((16, 32), "bilinear")])
def test_left_alone(size: tuple[int, int], mode: str, tmp_path: Path) -> None:
    model = Of(lambda x, conv: F.interpolate(conv(x), size=size, mode=mode), nn.Conv2d(1, 2, 1))
    assert rewritten(with_constant_factors, model, torch.randn(2, 1, 8, 16), tmp_path, "dynamo")[2] == 0
