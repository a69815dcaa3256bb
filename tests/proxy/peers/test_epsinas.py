"""Epsinas on nets that are worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.proxy import load_proxy

X = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [4.0, -1.0], [0.25, 0.5]])


class Saturating(nn.Module):
    """y = sum over two hidden units of c tanh(c (x1 + x2))."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def by_hand(outputs: list[np.ndarray]) -> float:
    p, q = ((y - y.min()) / (y.max() - y.min()) for y in outputs)
    both = (p > 0) & (q > 0)
    return float(np.abs(p - q)[both].mean() / np.concatenate([p[p > 0], q[q > 0]]).mean())


def test_two_layers_by_hand() -> None:
    sums = X.double().sum(1).numpy()
    expected = by_hand([2 * c * np.tanh(c * sums) for c in (0.1, 2.0)])
    found = load_proxy("epsinas:first=0.1,second=2").score(Saturating(), X)
    assert found == pytest.approx(expected, rel=1e-12) and found > 0.1


def test_batch_norm_works_by_the_batch_and_has_the_weight_too() -> None:
    """y = c (s - mean) / sqrt(var + eps) for s = c (x1 + x2), then c y in the last layer."""
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Tanh(), nn.Linear(1, 1))
    sums, outputs = X.double().sum(1).numpy(), []
    for c in (1e-3, 1.0):
        s = c * sums
        outputs.append(c * np.tanh(c * (s - s.mean()) / np.sqrt(s.var() + 1e-5)))
    assert load_proxy("epsinas:first=0.001").score(net.eval(), X) == pytest.approx(by_hand(outputs), rel=1e-9)


def test_a_net_of_relus_answers_alike_for_every_constant() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    assert load_proxy("epsinas:first=0.25,second=2").score(net, X) == 0


def test_equal_answers_are_the_worst() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert load_proxy("epsinas").score(net, torch.ones(4, 2)) == -math.inf


def test_what_has_no_weights_is_refused() -> None:
    with pytest.raises(ProxyError, match="no conv and no linear layer"):
        load_proxy("epsinas").score(nn.ReLU(), X)
