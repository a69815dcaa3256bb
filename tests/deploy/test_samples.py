"""What a model and its file are compared on, and how far PyTorch's own answers are off."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dashfx.deploy.export import _with_random_norms
from dashfx.deploy.rounding import Rounding
from dashfx.deploy.samples import samples

AXES = ({0: "batch", 2: "length"},)


class Halved(nn.Module):
    """Takes multiples of 32 only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, 32)).sum(-1)


def test_a_size_is_tried_once() -> None:
    shapes = [sample.shapes for sample in samples(Halved(), (torch.randn(2, 1, 32),), AXES, None) if not sample.what]
    assert shapes.count([[2, 1, 64]]) == 1 and [[1, 1, 32]] in shapes


def test_sizes_of_a_large_example_are_doubled_and_of_a_small_one_longer() -> None:
    for length, longest in ((10, 50), (30, 60), (2**17, 2**18)):
        found = samples(nn.Identity(), (torch.randn(2, 1, length),), AXES, None)
        assert max(sample.shapes[0][2] for sample in found) == longest


class Turning(nn.Module):
    """A product of complex matrices, which takes no mixture of precisions; its answer hardly depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 16, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ self.weight).real + 0 * x.sum()


def test_rounding_of_complex_weights() -> None:
    torch.manual_seed(0)
    model, x = Turning(), torch.randn(2, 3)
    with torch.no_grad():
        assert 0 < Rounding(model)((x,), {"output": model(x)}) < 1e-5


def test_norms_count_as_untrained_where_either_statistic_is() -> None:
    mean, variance = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    mean.running_mean.fill_(0.5)  # type: ignore[union-attr]
    variance.running_var.fill_(2.0)  # type: ignore[union-attr]
    both = nn.BatchNorm1d(2)
    both.load_state_dict({**variance.state_dict(), "running_mean": mean.running_mean})
    assert _with_random_norms(mean, 0) is not None and _with_random_norms(variance, 0) is not None
    assert _with_random_norms(both, 0) is None
