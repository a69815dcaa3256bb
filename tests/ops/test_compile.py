"""torch.compile of models with searched convs and with convs by the Fourier path: same values, same gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from dashfx.ops import AggConv
from dashfx.ops.fourier.plain_convs import computed_by
from dashfx.space import SearchSpace

X = torch.randn(4, 2, 9, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def results(model: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    y = call(x)
    return [y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))]


def assert_compiles(model: nn.Module) -> None:
    compiled = torch.compile(model, backend="eager")
    for x in (X, X[:3]):  # the second batch has another size, for which dynamo takes symbols
        for found, expected in zip(results(model, compiled, x), results(model, model, x), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("algorithm", ["auto", "mixed_results"])
def test_a_searched_conv(algorithm: str) -> None:
    torch.manual_seed(0)
    conv = AggConv(2, 3, SearchSpace.product([3, 5], [1, 2]), padding=1, original=((3, 3), 1), algorithm=algorithm)
    assert_compiles(nn.Sequential(nn.Conv2d(2, 2, 1), conv, nn.ReLU(), nn.Conv2d(3, 2, 1)))


def test_a_plain_conv_by_the_fourier_path() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 5, padding=2), nn.ReLU())
    with computed_by(model, {"0": "fourier"}):
        assert_compiles(model)


def test_a_whole_graph_is_refused_with_what_to_do() -> None:
    conv = AggConv(2, 3, SearchSpace.product([3, 5], [1]), padding=1, original=((3, 3), 1))
    with pytest.raises(torch._dynamo.exc.Unsupported, match="leave out fullgraph=True"):
        torch.compile(nn.Sequential(conv), backend="eager", fullgraph=True)(X)
