"""1-D convs written as 2-D ones give the same answers; all else is left alone, and so is a file that gains nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from rewritten import SAME, Of, ops, written
from torch import Tensor, nn

from dashfx.deploy.divergence import relative_error
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.layout.sequences import as_2d
from dashfx.deploy.runtime import OnnxModel, load_proto
from dashfx.frontend.convs import write_padding
from tests.cnns import Network, cnns


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def conv(inner: int = 4, outer: int = 4, kernel: int = 3, **options: object) -> nn.Conv1d:
    return nn.Conv1d(inner, outer, kernel, **{"padding": kernel // 2, **options})  # type: ignore[arg-type]


def one_sided() -> nn.Module:
    layer = conv(padding=0, dilation=2)
    write_padding(layer, ((4, 0),), "zeros")
    return layer


def excited(x: Tensor, first: nn.Module, gate: nn.Module) -> Tensor:
    y = first(x)
    return y * torch.sigmoid(gate(F.adaptive_avg_pool1d(y, 1)))


SEQUENCES: dict[str, nn.Module] = {
    "dense": nn.Sequential(conv(), nn.ReLU(), conv(kernel=5, bias=False)),
    "grouped": conv(groups=2),
    "depthwise and dilated": conv(groups=4, dilation=3, padding=3),
    "strided": nn.Sequential(conv(stride=2), nn.Tanh(), conv(kernel=4, stride=3, padding=1)),
    "padded on one side": one_sided(),
    "causal": Of(lambda x, c: c(x)[..., :-2], conv(padding=2)),
    "circular": conv(padding_mode="circular"),
    "reflecting": conv(padding_mode="reflect"),
    "padded ahead": nn.Sequential(nn.ConstantPad1d((3, 1), 0.5), conv(padding=0)),
    "max pool": nn.Sequential(conv(), nn.MaxPool1d(3, 2, padding=1, ceil_mode=True)),
    "mean pool": nn.Sequential(conv(), nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), conv()),
    "batch norm": nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), conv(), nn.ReLU(), nn.BatchNorm1d(4)),
    "added": Of(lambda x, a, b: torch.relu(a(x) + b(x)) + x, conv(), conv(kernel=1)),
    "joined": Of(lambda x, a, b: torch.cat([a(x), x, b(x)], 1), conv(), conv(outer=2)),
    "joined along the length": Of(lambda x, a, b: torch.cat([a(x), b(x)], -1), conv(), conv(stride=2)),
    "excited": Of(excited, conv(), conv(kernel=1, padding=0)),
    "scaled by channel": Of(lambda x, a: a(x) * torch.arange(4.0)[:, None] + torch.ones(1, 4, 1), conv()),
    "scaled by place": Of(lambda x, a: a(x) * torch.arange(float(x.shape[-1])), conv()),
    "called twice": Of(lambda x, a: a(torch.relu(a(x))), conv()),
    "one weight for both": Of(lambda x, a: a(x) * a.weight.sum(), conv()),
    "two stretches": Of(lambda x, a, n, b: b(n(a(x).transpose(1, 2)).transpose(1, 2)), conv(), nn.LayerNorm(4), conv()),
    "a head": nn.Sequential(conv(), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)),
}


def check_same(path: Path, x: Tensor) -> onnx.ModelProto:
    """The graph in 2-D, which has been run beside the file."""
    proto, _ = as_2d(load_proto(path))
    draft = path.with_name("2d.onnx")
    onnx.save(proto, str(draft))
    onnx.checker.check_model(str(draft), full_check=True)
    (expected,), (actual,) = OnnxModel(path).run(x).values(), OnnxModel(draft).run(x).values()
    assert relative_error(actual, expected) < SAME
    return proto


def nodes(proto: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.op_type == kind]


@pytest.mark.parametrize("model", SEQUENCES.values(), ids=SEQUENCES)
def test_values_stay(model: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(3, 4, 17)
    before = written(model, tmp_path / "model.onnx", x)
    after = check_same(tmp_path / "model.onnx", x)
    assert as_2d(before)[1] == ops(before)["Conv"]
    new = ops(after) - ops(before)
    assert set(new) <= {"Unsqueeze", "Squeeze"} and ops(before) - ops(after) <= Counter(Constant=99)


@pytest.mark.parametrize(("name", "ends"), [("added", 1), ("batch norm", 1), ("causal", 1), ("two stretches", 2)])
def test_one_change_of_axes_at_each_end_of_a_stretch(name: str, ends: int, tmp_path: Path) -> None:
    x = torch.randn(3, 4, 17)
    written(SEQUENCES[name], tmp_path / "model.onnx", x)
    after, _ = as_2d(load_proto(tmp_path / "model.onnx"))
    assert len(nodes(after, "Unsqueeze")) == len(nodes(after, "Squeeze")) == ends


def test_what_is_read_inside_and_outside_has_both_forms(tmp_path: Path) -> None:
    x = torch.randn(2, 4, 9)
    model = Of(lambda x, a, b: b(a(x)).mean(-1) + a(x).softmax(1).amax(-1), conv(), conv())
    written(model, tmp_path / "model.onnx", x)
    check_same(tmp_path / "model.onnx", x)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(network=cnns(ndims=(1,)))
def test_random_networks_answer_alike(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    path, x = tmp_path_factory.mktemp("random") / "model.onnx", network.example(torch.float32)
    proto = write(network.model(torch.float32), Attempt("torchscript", (x,), ({},), 18), path, {})
    # Which `dashfx.export` refuses, and ONNX Runtime too where there is a dilation.
    assume(not any(each.name == "auto_pad" for node in proto.graph.node for each in node.attribute))
    check_same(path, x)


class Branch(nn.Module):
    """Left alone: nothing in it is a 1-D conv with a constant weight."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.make(x[:1, :, :4]))


ALONE: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "2-D": (nn.Sequential(nn.Conv2d(4, 2, 3), nn.ReLU()), (2, 4, 8, 8)),
    "no conv": (nn.Sequential(nn.ReLU(), nn.MaxPool1d(2)), (2, 4, 8)),
    "a computed weight": (Branch(), (2, 4, 8)),
    "transposed": (nn.ConvTranspose1d(4, 2, 3), (2, 4, 8)),
}


@pytest.mark.parametrize(("model", "shape"), ALONE.values(), ids=ALONE)
def test_left_alone(model: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(shape)
    proto = written(model, path, x)
    assert as_2d(proto) == (proto, 0)


def test_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    once, _ = as_2d(written(SEQUENCES["added"], tmp_path / "model.onnx", torch.randn(3, 4, 17)))
    assert as_2d(once) == (once, 0)
