"""Hooks, closures, partials and methods that refer to the model: in a copy they work on the copy, or are named."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dashfx import SearchSpace
from dashfx.errors import ModelError
from dashfx.frontend.tracing import copy_model, trace
from dashfx.supernet import lower, rewrite

SPACE = SearchSpace.product([3, 5], [1])


def drawn(seed: int) -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


X, OTHER = drawn(0), drawn(1)


class Skips(nn.Module):
    """A skip connection that a hook takes."""

    def __init__(self, connect: Callable[[Skips], None]) -> None:
        super().__init__()
        self.a, self.b, self.kept = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), {}
        connect(self)

    def keep(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self.kept["a"] = out

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)) + self.kept["a"]


class Keeper:
    """A helper object that the model holds, with a function that closes over the model."""

    def __init__(self, model: Skips) -> None:
        self.keep = lambda module, args, out: model.kept.update(a=out)

    def __call__(self, *call: Any) -> None:
        self.keep(*call)


def keep(module: nn.Module, args: Any, out: Tensor, model: Skips) -> None:
    model.kept["a"] = out


def by_closure(model: Skips) -> None:
    model.a.register_forward_hook(lambda module, args, out: model.kept.update(a=out))


def by_default(model: Skips) -> None:
    def hook(module: nn.Module, args: Any, out: Tensor, model: Skips = model) -> None:
        model.kept["a"] = out

    model.a.register_forward_hook(hook)


def by_keyword(model: Skips) -> None:
    def hook(module: nn.Module, args: Any, out: Tensor, *, model: Skips = model) -> None:
        model.kept["a"] = out

    model.a.register_forward_hook(hook)


def by_partial(model: Skips) -> None:
    def hook(extra: str, module: nn.Module, args: Any, out: Tensor) -> None:
        model.kept["a"] = out

    model.a.register_forward_hook(functools.partial(hook, "extra"))


def by_argument(model: Skips) -> None:
    model.a.register_forward_hook(functools.partial(keep, model=model))


def by_method(model: Skips) -> None:
    model.a.register_forward_hook(model.keep)


def by_dict(model: Skips) -> None:
    kept: dict[str, Tensor] = {}
    model.kept = kept
    model.a.register_forward_hook(lambda module, args, out: kept.update(a=out))


def by_weak_reference(model: Skips) -> None:
    to = weakref.ref(model)
    model.a.register_forward_hook(lambda module, args, out: to().kept.update(a=out))


def by_list(model: Skips) -> None:
    holder = [model]
    model.a.register_forward_hook(lambda module, args, out: holder[0].kept.update(a=out))


def by_object(model: Skips) -> None:
    model.keeper = Keeper(model)
    model.a.register_forward_hook(lambda *call: model.keeper(*call))


def by_hidden_object(model: Skips) -> None:
    model.a.register_forward_hook(Keeper(model))


def by_patched_forward(model: Skips) -> None:
    plain = model.b.forward
    model.kept["a"] = torch.zeros(1)
    model.b.forward = lambda x: plain(x) + x


def by_decorated_forward(model: Skips) -> None:
    inner = model.a.forward

    @functools.wraps(inner)
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        model.kept["a"] = inner(x)
        return model.kept["a"]

    model.a.forward = MethodType(forward, model.a)


def by_shared_variable(model: Skips) -> None:
    kept: Tensor | None = None

    def write(module: nn.Module, args: Any, out: Tensor) -> None:
        nonlocal kept
        kept = out + 0 * model.a.bias.sum()

    def read(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        return out + kept

    model.kept["a"] = 0
    model.a.register_forward_hook(write)
    model.b.register_forward_hook(read)


def by_recursion(model: Skips) -> None:
    def hook(module: nn.Module, args: Any, out: Tensor, again: bool = True) -> None:
        if again:
            return hook(module, args, out, False)
        return model.kept.update(a=out)

    model.a.register_forward_hook(hook)


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


def answer(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval()(x)


def made(connect: Callable[[Skips], None]) -> Skips:
    torch.manual_seed(0)
    return Skips(connect)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("connect", WAYS)
def test_a_copy_works_on_itself(connect: Callable[[Skips], None], used: bool) -> None:
    model = made(connect)
    if used:
        answer(model, X)
    twin = copy_model(copy_model(model))
    expected = answer(made(connect), OTHER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(answer(twin, OTHER), expected)


@pytest.mark.parametrize("connect", [by_closure, by_method, by_list, by_shared_variable, by_hidden_object])
def test_the_supernet_and_the_lowered_model_work_on_themselves(connect: Callable[[Skips], None]) -> None:
    model = made(connect)
    supernet = rewrite(model, X, SPACE, init="grow")
    torch.testing.assert_close(answer(supernet, OTHER), answer(model, OTHER), rtol=1e-4, atol=1e-5)
    plain = lower(supernet, supernet.genotype())
    expected = answer(made(connect), OTHER).shape
    answer(supernet, X)  # what it keeps is no business of the lowered model
    assert answer(plain, OTHER).shape == expected and not torch.equal(answer(plain, OTHER), answer(plain, X))


def test_what_belongs_to_others_stays_shared() -> None:
    calls: list[nn.Module] = []
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    model[0].register_forward_hook(lambda module, args, out: calls.append(module))
    twin = copy_model(model)
    answer(twin, X)
    assert calls == [twin[0]]


def test_functions_of_torch_stay_themselves() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    model.pool = torch.nn.functional.max_pool2d  # a closure, which torch tells by its identity
    assert copy_model(model).pool is model.pool


class Listed(nn.Module):
    """Calls its convs through a list, a dict and a closure that torch knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.layers, self.named = [self.a], {"b": [self.b]}
        layers = (self.c, self.a)
        self.last = lambda x: layers[0](x)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.layers, *self.named["b"], self.last):
            x = layer(x)
        return x


def test_convs_in_lists_and_closures_are_replaced() -> None:
    supernet = rewrite(Listed(), X, SPACE)
    assert supernet.layers == [supernet.a] and supernet.named["b"] == [supernet.b]
    supernet(X).sum().backward()
    assert all(site.alpha.grad is not None for site in supernet.sites.values()) and len(supernet.sites) == 3
    plain = lower(supernet, supernet.genotype())
    assert plain.layers == [plain.a] and type(plain.layers[0]) is nn.Conv2d


the_model: Any = None


def works_on_a_global(model: Skips) -> None:
    global the_model
    the_model = model
    model.a.register_forward_hook(lambda module, args, out: the_model.kept.update(a=out))


@pytest.mark.parametrize("used", [False, True])
def test_a_hook_that_reads_a_global_name_is_named(used: bool) -> None:
    model = made(works_on_a_global)
    if used:
        answer(model, X)
    with pytest.raises(ModelError, match=r"because a hook of module 'a' \(<lambda>\) works on the original") as raised:
        trace(model, X)
    assert "\n" not in str(raised.value)


def test_a_method_that_closes_over_the_model_is_told() -> None:
    models: list[nn.Module] = []

    def built() -> nn.Module:
        class Closed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.shift = nn.Conv2d(3, 3, 3), 0

            def forward(self, x: Tensor) -> Tensor:
                model.shift = x.mean()
                return self.conv(x) + self.shift

        model = Closed()
        return model

    models.append(built())
    with pytest.raises(ModelError, match="because a method works on the original"):
        trace(models[0], X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_of_scripted_parts_stay_leaves() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())))
    model[1][0].weight.requires_grad_(False)
    twin = copy_model(model)
    assert [p.is_leaf for p in twin.parameters()] == [True] * 4
    assert [p.requires_grad for p in twin.parameters()] == [True, True, False, True]
    torch.optim.SGD(rewrite(model, X, SPACE).parameters(), 0.1)
