"""Adapters: a class of conv that dashfx is taught, and the check that finds one that breaks the one-hot law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dashfx
from dashfx.errors import AdapterError
from dashfx.frontend.adapters import ADAPTERS
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.space import SearchSpace

X = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Filter(nn.Module):
    """No nn.Conv at all: taps come last to first, under a name of its own."""

    def __init__(self, channels: int, size: int, step: int = 1) -> None:
        super().__init__()
        self.step, self.taps = step, nn.Parameter(torch.randn(channels, channels, size))

    def forward(self, x: Tensor) -> Tensor:
        reach = self.step * (self.taps.shape[-1] - 1)
        return F.conv1d(F.pad(x, (reach // 2, reach - reach // 2)), self.taps.flip(-1), dilation=self.step)


def to_site(own: Filter) -> nn.Conv1d:
    channels, _, size = own.taps.shape
    plain = nn.Conv1d(channels, channels, size, dilation=own.step, padding=own.step * (size - 1) // 2, bias=False)
    plain.weight = nn.Parameter(own.taps.flip(-1))
    return plain


def from_site(own: Filter, plain: nn.Conv1d) -> Filter:
    if plain.kernel_size[0] % 2 == 0:
        raise ValueError("it takes odd kernels")
    new = Filter(plain.in_channels, plain.kernel_size[0], plain.dilation[0])
    new.taps = nn.Parameter(plain.weight.flip(-1))
    return new


@pytest.fixture(autouse=True)
def own_adapters() -> Iterator[None]:
    kept = dict(ADAPTERS)
    yield
    ADAPTERS.clear()
    ADAPTERS.update(kept)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Filter(3, 3), nn.Tanh()).double().eval()


def test_a_taught_class_is_searched_and_comes_back() -> None:
    dashfx.register_conv(Filter, to_site, from_site)
    net, space = model(), SearchSpace.product([2, 3, 5], [1, 2])
    grown = dashfx.rewrite(net, X, space, "grow").eval()
    torch.testing.assert_close(grown(X), net(X), rtol=1e-10, atol=1e-12)
    supernet = dashfx.rewrite(net, X, space, "fresh").eval()
    (site,) = sites_of(supernet).values()
    assert [str(c) for c in site.candidates] == ["k3 d1", "k3 d2", "k5 d1", "k5 d2"]  # the even ones were refused
    for i, candidate in enumerate(site.candidates):
        site.fix(i)
        plain = dashfx.lower(supernet, Genotype({"0": candidate})).eval()
        assert type(plain[0]) is Filter and list(plain.state_dict()) == list(net.state_dict())
        torch.testing.assert_close(plain(X), supernet(X), rtol=1e-10, atol=1e-12)


def test_without_an_adapter_it_is_left_alone() -> None:
    assert "functional" in dashfx.trace(model(), X).skips[0].reason


def without_flip(own: Filter) -> nn.Conv1d:
    plain = to_site(own)
    plain.weight = own.taps
    return plain


def without_dilation(own: Filter, plain: nn.Conv1d) -> Filter:
    new = from_site(own, plain)
    new.step = 1
    return new


def failing(*given: Any) -> Any:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("to", "back", "words"),
    [
        (without_flip, from_site, "to_site breaks the one-hot law: at k3 d1"),
        (to_site, without_dilation, "from_site breaks the one-hot law: at k3 d2"),
        (to_site, lambda own, plain: plain, "from_site gave a Conv1d with other class or keys"),
        (lambda own: nn.Identity(), from_site, "to_site gave Identity"),
        (failing, from_site, "to_site fails: not today"),
        (to_site, failing, "from_site fails for k5 d1: not today"),
    ],
)
def test_an_adapter_that_breaks_the_law_is_named(to: Any, back: Any, words: str) -> None:
    dashfx.register_conv(Filter, to, back)
    with pytest.raises(AdapterError, match="Filter") as caught:
        dashfx.trace(model(), X)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_only_classes_of_ones_own() -> None:
    with pytest.raises(AdapterError, match="of your own"):
        dashfx.register_conv(nn.Conv1d, to_site, from_site)
