"""Where the last step alone is read, causal convs compute what it depends on and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rewritten import Of, rewritten
from torch import nn

from dashfx.backbones import TCN
from dashfx.deploy.layout.crops import without_crops
from dashfx.deploy.layout.reach import last_steps


def causal(dilation: int, channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.ConstantPad1d((2 * dilation, 0), 0.0), nn.Conv1d(channels, 3, 3, dilation=dilation))


def lengths(after: object, length: int) -> list[int]:
    """Steps that each conv gives, by its padding: what goes in is worked out from the graph's start."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(after).graph  # type: ignore[arg-type]
    known = {value.name: value.type.tensor_type.shape.dim[-1].dim_value for value in inferred.value_info}
    return [known[node.output[0]] for node in inferred.node if node.op_type == "Conv"]


def chomped(x: torch.Tensor, *convs: nn.Module) -> torch.Tensor:
    for conv in convs:
        x = torch.relu(conv(x)[..., : -conv.padding[0]])  # type: ignore[union-attr,index]
    return x


def conv(dilation: int) -> nn.Conv1d:
    return nn.Conv1d(3, 3, 3, padding=2 * dilation, dilation=dilation)


def both(proto: object) -> object:
    folded, _ = without_crops(proto)  # type: ignore[arg-type]
    shorter, count = last_steps(folded)
    return (shorter, count) if count else (proto, 0)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(40, [7, 5, 1]), (8, [7, 5, 1]), (7, [7, 5, 1]), (6, [6, 5, 1]), (3, [3, 3, 1])],
)
def test_a_chain_of_convs(length: int, expected: list[int], tmp_path: Path) -> None:
    """The last step depends on 5 of its input by dilation 2, those on 7 by 1, those on 15 by 4."""
    model = Of(lambda x, *convs: chomped(x, *convs)[..., -1], conv(4), conv(1), conv(2))
    _, after, count = rewritten(both, model, torch.randn(2, 3, length), tmp_path)  # type: ignore[arg-type]
    assert lengths(after, length) == expected
    assert count == sum(steps < length for steps in expected)


def test_operands_of_a_sum_get_as_many_steps(tmp_path: Path) -> None:
    def forward(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
        first = chomped(x, a)
        return (chomped(first, b) + first)[..., -1]

    _, after, _ = rewritten(both, Of(forward, conv(1), conv(2)), torch.randn(2, 3, 20), tmp_path)  # type: ignore[arg-type]
    assert lengths(after, 20) == [5, 1]


def test_a_network(tmp_path: Path) -> None:
    model, x = TCN(num_classes=3, channels=(4, 4, 4), kernel=3), torch.randn(2, 1, 64)
    _, after, count = rewritten(both, model, x, tmp_path, "dynamo")  # type: ignore[arg-type]
    assert count == 7 and max(lengths(after, 64)) < 32


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, c: chomped(x, c),  # all of them are an output
        lambda x, c: chomped(x, c).mean(-1),
        lambda x, c: chomped(x, c)[..., 0],
        lambda x, c: chomped(F.softmax(chomped(x, c), -1), c)[..., -1] + chomped(x, c).amax(-1),
        lambda x, c: (chomped(x, c) * torch.arange(20.0))[..., -1],  # a constant of its own for each step
        lambda x, c: torch.relu(F.conv1d(x, c.weight, padding=1))[..., -1],  # looks ahead
    ],
)
def test_left_alone(forward: object, tmp_path: Path) -> None:
    _, _, count = rewritten(last_steps, Of(forward, conv(1)), torch.randn(2, 3, 20), tmp_path)  # type: ignore[arg-type]
    assert count == 0


def test_what_is_no_conv_before_them_keeps_its_steps(tmp_path: Path) -> None:
    model = Of(lambda x, c: chomped(F.softmax(x, -1), c)[..., -1], conv(1))
    _, after, count = rewritten(both, model, torch.randn(2, 3, 20), tmp_path)  # type: ignore[arg-type]
    assert count == 1 and lengths(after, 20) == [1]
