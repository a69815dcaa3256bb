"""Linear layers over the last axis keep their values where factors go into weights and sizes into rows."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from rewritten import Of, ops, rewritten
from torch import nn

from dashfx.backbones.convnext import ConvNeXtBlock
from dashfx.deploy.layout.linear import with_flat_rows, with_scaled_weights, with_whole_gelu


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_gelu_in_the_order_that_onnx_runtime_knows(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2), nn.GELU())
    before, after, count = rewritten(with_whole_gelu, model, 3 * torch.randn(2, 5, 4), tmp_path, "dynamo")
    assert count == 2 and ops(after) == before
    maker = {node.output[0]: node for node in after.graph.node}
    halves = [node for node in after.graph.node if node.op_type == "Mul" and maker[node.input[0]].op_type == "Mul"]
    assert len(halves) == 2


def test_a_half_that_is_no_gelu_stays(tmp_path: Path) -> None:
    model = Of(lambda x: (x + 1) * (0.5 * (1 + torch.erf(x / 2**0.5))))
    assert rewritten(with_whole_gelu, model, torch.randn(2, 4), tmp_path)[2] == 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [torch.arange(1.0, 4), torch.tensor(2.5)])
def test_a_factor_goes_into_the_weights(bias: bool, scale: torch.Tensor, tmp_path: Path) -> None:
    model = Of(lambda x, layer: scale * layer(x), nn.Linear(4, 3, bias=bias))
    before, after, count = rewritten(with_scaled_weights, model, torch.randn(2, 5, 4), tmp_path)
    assert count == 1 and before - ops(after) == {"Mul": 1, **({"Constant": 1} if before["Constant"] else {})}


def test_a_factor_of_what_else_is_read_stays(tmp_path: Path) -> None:
    def both(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
        y = layer(x)
        return y * torch.arange(1.0, 4) + y.amax()

    assert rewritten(with_scaled_weights, Of(both, nn.Linear(4, 3)), torch.randn(2, 5, 4), tmp_path)[2] == 0
    along = Of(lambda x, layer: layer(x) * torch.arange(5.0)[:, None], nn.Linear(4, 3))
    assert rewritten(with_scaled_weights, along, torch.randn(2, 5, 4), tmp_path)[2] == 0


def ranks(proto: onnx.ModelProto) -> set[int]:
    """Axes of what products with a matrix give."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    known = {value.name: len(value.type.tensor_type.shape.dim) for value in inferred.value_info}
    return {known[node.output[0]] for node in inferred.node if node.op_type == "MatMul"}


def test_a_stretch_has_two_axes_and_one_change_at_each_end(tmp_path: Path) -> None:
    model, x = ConvNeXtBlock(8, 0.5), torch.randn(2, 8, 3, 5)
    before, after, count = rewritten(with_flat_rows, model, x, tmp_path, "dynamo")
    assert count == 2 and ranks(after) == {2} and ops(after) - before == {"Reshape": 2}


def test_what_is_read_inside_and_outside_has_both_forms(tmp_path: Path) -> None:
    def forward(x: torch.Tensor, one: nn.Module, other: nn.Module) -> torch.Tensor:
        y = torch.tanh(one(x))
        return (other(y) + y).amax(1) + y.softmax(-1).mean(1)

    model = Of(forward, nn.Linear(4, 4), nn.Linear(4, 4))
    _, after, count = rewritten(with_flat_rows, model, torch.randn(2, 5, 4), tmp_path)
    assert count == 2 and ranks(after) == {2}


def test_left_alone(tmp_path: Path) -> None:
    two = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    assert rewritten(with_flat_rows, two, torch.randn(2, 4), tmp_path)[2] == 0
    products = Of(lambda x: x @ x.transpose(1, 2))
    assert rewritten(with_flat_rows, products, torch.randn(2, 5, 4), tmp_path)[2] == 0
