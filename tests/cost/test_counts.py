"""Costs of candidates: counts that agree with the convs they describe, and the penalty's gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dashfx
from dashfx import Candidate, SearchSpace
from dashfx.cost.counts import Span, Taps, conv_macs, conv_parameters, expected_cost
from dashfx.cost.macs import Macs
from dashfx.errors import ConfigError
from dashfx.ops import AggConv, sites_of
from dashfx.plugins import find


def supernet() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(6, 8, (1, 5), 2, padding=(0, 2), bias=False)
    )
    return dashfx.rewrite(model, torch.zeros(1, 4, 10, 12), SearchSpace.product([3, 5], [1, 2]))


def counted(conv: nn.Module, x: torch.Tensor) -> int:
    """Multiply-adds by what a forward computes: kernel elements times output positions."""
    return conv.weight.numel() * conv(x)[0, 0].numel()


def test_counts_are_those_of_the_lowered_convs() -> None:
    net = supernet()
    for index in range(2):
        choices = {name: aggconv.candidates[-1 - index] for name, aggconv in sites_of(net).items()}
        plain = dashfx.lower(net, dashfx.Genotype(choices))
        x = torch.zeros(1, 4, 10, 12)
        for name, choice in choices.items():
            site, conv = sites_of(net)[name].site, plain.get_submodule(name)
            assert conv_parameters(site, choice) == sum(p.numel() for p in conv.parameters())
            assert conv_macs(site, choice) == counted(conv, x)
            x = conv(x)


def test_a_conv_called_at_several_sizes_is_counted_at_each() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean() + self.conv(x[..., :4]).mean()

    (site,) = dashfx.trace(Pyramid(), torch.zeros(1, 1, 10)).sites.values()
    assert conv_macs(site, Candidate(3)) == 3 * 10 + 3 * 4


def test_tables() -> None:
    sites = sites_of(supernet())
    assert list(sites["0"].candidates) == [Candidate((k, k), d) for k in (3, 5) for d in (1, 2)]
    spans = [(s / 10 + s / 12) / 2 for s in (3, 5, 5, 9)]
    assert Span().table(sites)["0"].tolist() == pytest.approx(spans)
    assert Taps().table(sites)["0"].tolist() == pytest.approx([9 / 25, 9 / 25, 1, 1])
    macs = Macs().table(sites)
    assert macs["0"][0] == 2 * 3 * 2 * 9 * 3 * 120 / 3 and macs["2"].shape == (len(sites["2"].candidates),)


def test_the_expected_cost_pulls_towards_the_cheap() -> None:
    table = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0])}
    alpha = torch.zeros(2, requires_grad=True)
    cost = expected_cost(table, {"a": alpha.softmax(0), "b": torch.ones(1)})
    cost.backward()
    assert float(cost.detach()) == pytest.approx(2.0) and alpha.grad[0] < 0 < alpha.grad[1]


def test_names() -> None:
    assert isinstance(find("cost", "span"), Span)
    with pytest.raises(ConfigError, match=r"no cost 'spam' \(did you mean 'span'"):
        find("cost", "spam")
    with pytest.raises(ConfigError, match="stands at no site"):
        Span().table({"a": AggConv(1, 1, [Candidate(3)])})
