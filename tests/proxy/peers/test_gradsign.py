"""GradSign against gradients of each row by vmap, and by hand where all rows are one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dashfx.proxy import load_proxy
from dashfx.train.batchnorm import recalibrate

ROWS, CLASSES = 6, 3
Y = torch.tensor([0, 2, 1, 1, 0, 2])


class Net(nn.Module):
    """Float64, so that no sign hangs on the order of a sum."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[ndim - 1]
        self.conv, self.norm, self.fc = conv(2, 3, 3), norm(3), nn.Linear(3, CLASSES)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.gelu(self.norm(self.conv(x))).flatten(2).mean(-1))


def batch(ndim: int) -> Tensor:
    return torch.randn(ROWS, 2, *[7] * ndim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("ndim", [1, 2])
def test_it_is_the_sum_over_rows_of_the_signs_that_vmap_gives(ndim: int) -> None:
    net, x = Net(ndim), batch(ndim)
    recalibrate(net, [x])
    net.eval()
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params: dict[str, Tensor], row: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, params, (row[None],)), y[None])

    rows = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, Y)
    expected = sum(rows[name].sign().sum(0).abs().sum() for name in ("conv.weight", "fc.weight"))
    assert load_proxy("gradsign").score(Net(ndim), (x, Y)) == float(expected)


def test_equal_rows_agree_on_every_weight_that_has_a_gradient() -> None:
    x = batch(1)[:1].expand(ROWS, -1, -1)
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(15, CLASSES)).double()
    net[0].weight.data[0], net[0].bias.data[0] = 0, -1.0  # this channel's ReLU is shut
    y = torch.zeros(ROWS, dtype=torch.long)
    F.cross_entropy(net(x), y).backward()
    moved = sum(int((net[place].weight.grad != 0).sum()) for place in (0, 3))
    assert load_proxy("gradsign").score(net, (x, y)) == ROWS * moved and 0 < moved < 6 * 3 + 15 * CLASSES


def test_it_needs_no_labels() -> None:
    scores = [load_proxy("gradsign", seed).score(Net(1), batch(1)) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
