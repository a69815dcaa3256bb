"""What a conv has beyond torch.nn's survives rewrite, lowering and load_model.py, or the conv is left alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import dashfx
from dashfx import SearchSpace
from dashfx.deploy.loader import write_loader
from dashfx.frontend.adapters import ADAPTERS
from dashfx.frontend.copies.members import members_of

SPACE = SearchSpace.product([3, 5], [1])
X = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))


class Graph(nn.Module):
    """Layers that say themselves where they take their input from, as YOLO's builders write them."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv1d(3, 3, 3, padding=1) for _ in range(2)]
        self.layers = nn.ModuleList([convs[0], nn.ReLU(), convs[1], nn.BatchNorm1d(3)])
        for i, (layer, source) in enumerate(zip(self.layers, (-1, -1, 0, -1), strict=True)):
            layer.i, layer.f, layer.type = i, source, "conv"

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for layer in self.layers:
            x = layer(x if layer.f == -1 else kept[layer.f])
            kept.append(x)
        return x


class Conv(nn.Conv1d):
    """A subclass with torch.nn's forward and members of its own."""

    factor = 3.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cache, self.gain = 0, 2.0
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("shift", torch.full((1,), 0.5))
        self.register_buffer("unsaved", torch.ones(1), persistent=False)
        self.after = nn.PReLU()

    def clear(self) -> None:
        self.cache = None

    @property
    def twice(self) -> float:
        return 2 * self.gain

    @staticmethod
    def zero() -> float:
        return 0.0

    @classmethod
    def named(cls) -> str:
        return cls.__name__


class Uses(nn.Module):
    """The code of the model uses the conv's members."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.c = conv

    def reset(self) -> None:
        self.c.clear()

    def forward(self, x: Tensor) -> Tensor:
        c = self.c
        assert c.named().endswith("Conv")
        y = c.after(c(x)) * c.gain * c.twice * c.factor + c.zero() + c.unsaved
        return y * c.scale + c.shift


class WithGain(nn.Conv1d):
    """A forward of its own; the model reads its gain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gain, self.tag = nn.Parameter(torch.full((1,), 2.0)), "wide"

    def forward(self, x: Tensor) -> Tensor:
        return torch.conv1d(x, self.weight * self.gain, self.bias, self.stride, self.padding, self.dilation)

    def norm(self) -> Tensor:
        return self.gain.square()


class ReadsGain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = WithGain(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(x) / self.c.norm() if self.c.tag == "wide" else x


class Own(nn.Module):
    """A class of conv that only an adapter can teach."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[2]
        return torch.conv1d(x, self.weight, padding=size // 2)


def to_plain(own: Own) -> nn.Module:
    size = own.weight.shape[2]
    plain = nn.Conv1d(3, 3, size, padding=size // 2, bias=False)
    plain.weight = own.weight
    return plain


def from_plain(own: Own, plain: nn.Conv1d) -> Own:
    if plain.dilation != (1,) or plain.kernel_size[0] % 2 == 0:
        raise ValueError("odd kernels without dilation")
    return Own(plain.weight.detach().clone())


def normed(kind: str) -> nn.Module:
    conv = Conv(3, 3, 3, padding=1)
    return parametrizations.weight_norm(conv) if kind == "parametrization" else nn.utils.weight_norm(conv)


MODELS = {
    "attributes": Graph,
    "subclass": lambda: Uses(Conv(3, 3, 3, padding=1)),
    "subclass with weight norm": lambda: Uses(normed("parametrization")),
    "subclass with the older weight norm": lambda: Uses(normed("hook")),
    "forward of its own": ReadsGain,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_members_survive(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    supernet = dashfx.rewrite(model, X, SPACE, init="grow").eval()
    assert len(supernet.sites) == (2 if name == "attributes" else 1)
    torch.testing.assert_close(supernet(X), model(X), rtol=1e-4, atol=1e-5)

    plain = dashfx.lower(supernet, supernet.genotype("random"))
    for (place, old), (_, new) in zip(model.named_modules(), plain.named_modules(), strict=True):
        assert type(old).__name__ == type(new).__name__, place
    assert list(plain.state_dict()) == list(model.state_dict())
    assert plain(X).shape == model(X).shape

    save_model(plain, str(tmp_path / "model.safetensors"))
    write_loader(tmp_path / "load.py", plain, model, names=supernet.sites)
    loaded = runpy.run_path(str(tmp_path / "load.py"))["load"](MODELS[name]())
    assert torch.equal(loaded(X), plain(X))


def test_methods_work_on_the_conv_that_stands_there() -> None:
    supernet = dashfx.rewrite(MODELS["subclass"](), X, SPACE)
    supernet.reset()
    plain = dashfx.lower(supernet, supernet.genotype())
    assert plain.c.cache is None
    plain.c.cache = 1
    plain.reset()
    assert plain.c.cache is None and isinstance(plain.c, Conv)


def test_parameters_beside_the_weight_are_trained() -> None:
    supernet = dashfx.rewrite(MODELS["subclass"](), X, SPACE)
    supernet(X).sum().backward()
    assert supernet.c.scale.grad is not None and supernet.c.after.weight.grad is not None


def test_what_the_conv_refers_to_stays_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 3, padding=1), nn.PReLU())
    model[0].then = model[1]
    supernet = dashfx.rewrite(model, X, SPACE)
    plain = dashfx.lower(supernet, supernet.genotype())
    assert plain[0].then is plain[1]


def test_attributes_of_an_adapted_conv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.frontend.adapters.ADAPTERS", dict(ADAPTERS))
    dashfx.register_conv(Own, to_plain, from_plain)
    model = nn.Sequential(Own(torch.randn(3, 3, 3)))
    model[0].tag = "first"
    supernet = dashfx.rewrite(model, X, SPACE)
    assert supernet[0].tag == "first"
    assert dashfx.lower(supernet, supernet.genotype())[0].tag == "first"


class Kernel(nn.Module):
    """Its weight has another name."""

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.kernel = nn.Parameter(kernel)

    def forward(self, x: Tensor) -> Tensor:
        return torch.conv1d(x, self.kernel, padding=self.kernel.shape[2] // 2)


def kernel_to_plain(own: Kernel) -> nn.Module:
    plain = nn.Conv1d(3, 3, own.kernel.shape[2], padding=own.kernel.shape[2] // 2, bias=False)
    plain.weight = own.kernel
    return plain


def kernel_from_plain(own: Kernel, plain: nn.Conv1d) -> Kernel:
    if plain.dilation != (1,) or plain.kernel_size[0] % 2 == 0:
        raise ValueError("odd kernels without dilation")
    return Kernel(plain.weight.detach().clone())


class ReadsKernel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = Kernel(torch.randn(3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(x) * self.c.kernel.abs().mean()


def test_any_parameter_of_an_adapted_conv_may_be_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.frontend.adapters.ADAPTERS", dict(ADAPTERS))
    dashfx.register_conv(Kernel, kernel_to_plain, kernel_from_plain)
    (skip,) = dashfx.trace(ReadsKernel(), X).skips
    assert skip.name == "c" and skip.reason.startswith("its kernel is read by the code of the model")


def test_a_function_on_the_conv_works_on_what_stands_there() -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 3, padding=1))
    conv = model[0]
    conv.me = lambda: conv
    supernet = dashfx.rewrite(model, X, SPACE)
    plain = dashfx.lower(supernet, supernet.genotype())
    assert supernet[0].me() is supernet[0] and plain[0].me() is plain[0] and model[0].me() is model[0]


class Keeps(nn.Conv1d):
    def keep(self) -> None:
        """A name that searchable convs have, too."""


@pytest.mark.parametrize("name", ["name", "mask", "algorithm"])
def test_a_name_that_means_something_else_is_a_skip(name: str) -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 3), Keeps(3, 3, 3), nn.Conv1d(3, 3, 3))
    setattr(model[0], name, "stem")
    supernet = dashfx.rewrite(model, X, SPACE)
    assert list(supernet.sites) == ["2"] and getattr(supernet[0], name) == "stem"
    with pytest.raises(dashfx.errors.ModelError, match=f"its '{name}' has the name of something"):
        dashfx.rewrite(model[:1], X, SPACE)


def test_a_plain_conv_has_no_members() -> None:
    assert not members_of(nn.Conv2d(3, 3, 3)) and not members_of(nn.utils.weight_norm(nn.Conv2d(3, 3, 3)))
    supernet = dashfx.rewrite(nn.Sequential(nn.Conv1d(3, 3, 3)), X, SPACE)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = supernet[0].nothing
