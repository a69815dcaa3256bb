"""Fake quantisation has the numbers of ONNX Runtime's QDQ files, and leaves models as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.quantise.fake import Range, in_int8, layers_at, ranges_of, rounded_input, rounded_weight
from dashfx.deploy.quantise.qdq import Quantiser
from dashfx.deploy.runtime import OnnxModel


class Net(nn.Module):
    def __init__(self, ndim: int) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[ndim]
        self.a, self.b = conv(3, 8, 3, padding=1), conv(8, 8, 3, padding=1, groups=4)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))).flatten(2).mean(2))


def made(ndim: int, folder: Path) -> tuple[Net, Tensor, Path, Path]:
    """A net, rows, its float file and the QDQ file with its convs and its head in int8, ranges by least and largest."""
    torch.manual_seed(ndim)
    net = Net(ndim).eval()
    with torch.no_grad():
        net.a.weight[3] = 0.0  # a channel without a scale
    x = torch.randn(16, 3, *(8 for _ in range(ndim)))
    path = folder / "model.onnx"
    write(net, Attempt("torchscript", (x,), ({0: "batch"},), 18), path, {})
    quantiser = Quantiser(path, folder, x)
    return net, x, path, quantiser.write(folder / "int8.onnx", quantiser.sites, "min-max")


@pytest.mark.parametrize("ndim", [1, 2])
def test_scales_zeros_and_weights_are_those_of_the_file(ndim: int, tmp_path: Path) -> None:
    net, x, _, int8 = made(ndim, tmp_path)
    graph = onnx.load(str(int8)).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    with torch.no_grad():
        ranges = ranges_of(net, ["a", "b", "head"], net, [x[:5], x[5:]])
    for node in [node for node in graph.node if node.name in ranges]:
        given, weight = (maker[name] for name in node.input[:2])
        assert ranges[node.name].scale == pytest.approx(float(values[given.input[1]]), rel=1e-5)
        assert ranges[node.name].zero == int(values[given.input[2]])
        numbers, scales = values[weight.input[0]].astype(np.float32), values[weight.input[1]]
        shape = (-1, *(1 for _ in numbers.shape[1:]))
        turned = node.op_type == "Gemm" and numbers.shape[0] != net.head.out_features
        stored = numbers * (scales if turned else scales.reshape(shape))
        expected = rounded_weight(getattr(net, node.name).weight).detach().numpy()
        np.testing.assert_allclose(stored.T if turned else stored, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("ndim", [1, 2])
def test_answers_are_within_two_steps_of_the_file_s(ndim: int, tmp_path: Path) -> None:
    net, x, path, int8 = made(ndim, tmp_path)
    expected, plain = OnnxModel(int8).rows(x), OnnxModel(path).rows(x)
    with torch.no_grad(), in_int8(net, ranges_of(net, ["a", "b", "head"], net, [x])):
        found = net(x)
    step = Range(plain.min().item(), plain.max().item()).scale
    assert (found - expected).abs().max() <= 2 * step and (found - plain).abs().max() > 0


def test_a_range_holds_zero_and_may_be_empty() -> None:
    assert (Range(1.0, 2.55).scale, Range(1.0, 2.55).zero) == (pytest.approx(0.01), 0)
    assert Range(-1.0, 1.55).zero == 100 and Range(-2.55, -1.0).zero == 255
    assert Range(0.0, 0.0).scale == 1.0 and Range(0.0, 0.0).zero == 0
    x = torch.tensor([-3.0, -1.0, 0.0, 0.004, 0.006, 9.0])
    torch.testing.assert_close(rounded_input(x, Range(-1.0, 1.55)), torch.tensor([-1.0, -1.0, 0.0, 0.0, 0.01, 1.55]))


def test_a_model_is_left_as_it_was_also_after_an_error() -> None:
    net, x = Net(2).eval(), torch.randn(4, 3, 8, 8)
    state, kinds, before = {n: t.clone() for n, t in net.state_dict().items()}, [*map(type, net.modules())], net(x)
    ranges = ranges_of(net, ["a", "b"], net, [x])
    with pytest.raises(KeyError), in_int8(net, ranges):
        assert not torch.equal(net(x), before)
        raise KeyError
    assert [*map(type, net.modules())] == kinds and net.state_dict().keys() == state.keys()
    assert torch.equal(net(x), before) and all(torch.equal(t, state[n]) for n, t in net.state_dict().items())
    assert not net.a._forward_pre_hooks and isinstance(net.a.weight, nn.Parameter)


def test_gradients_go_straight_through_to_the_weights_that_are_trained() -> None:
    net, x = Net(2), torch.randn(4, 3, 8, 8)
    weight = net.a.weight
    with in_int8(net, ranges_of(net, ["a"], net, [x])):
        net(x).square().sum().backward()
    assert weight.grad is not None and weight.grad.abs().max() > 0 and net.a.weight is weight


def test_kernels_that_share_a_place_are_all_found() -> None:
    net = nn.ModuleDict({"b": nn.ModuleList([nn.Conv1d(1, 1, 1), nn.ReLU()]), "bb": nn.Conv1d(1, 1, 1)})
    assert layers_at(net, ["b"]) == [net["b"][0]] and layers_at(net, ["bb", "c"]) == [net["bb"]]
