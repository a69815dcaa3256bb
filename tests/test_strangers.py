"""Models as people write them who have never heard of dashfx: each is searched and exported, or says why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dashfx
from dashfx import SearchSpace
from dashfx.frontend.model import load_model
from dashfx.ops import sites_of

FOLDER = Path(__file__).parent / "strangers"
SPACE = SearchSpace.product([3, 5], [1, 2], keep_original=True)


@dataclass(frozen=True)
class Stranger:
    """A model in strangers/, the input it takes without the batch, its sites, and part of the reason for each skip."""

    file: str
    size: tuple[int, ...]
    sites: tuple[str, ...]
    skips: dict[str, str] = field(default_factory=dict)
    opaque: bool = False
    name: str = "Net"
    exports: bool = True
    inputs: Any = None  # instead of one tensor: sizes without the batch, nested as the model takes them

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return load_model(f"{FOLDER / self.file}.py:{self.name}").build()

    def example(self) -> Any:
        generator = torch.Generator().manual_seed(1)

        def drawn(sizes: Any) -> Any:
            if isinstance(sizes, dict):
                return {name: drawn(size) for name, size in sizes.items()}
            if all(isinstance(size, int) for size in sizes):
                return torch.randn(2, *sizes, generator=generator)
            return tuple(drawn(size) for size in sizes)

        return drawn(self.size if self.inputs is None else self.inputs)


STRANGERS = [
    Stranger("functional", (3, 16, 16), ("conv1", "conv2"), {"(the model): conv2d": "functional conv2d"}),
    Stranger("shared", (3, 16, 14), ("stem", "shared")),
    Stranger(
        "grouped",
        (1, 16, 16),
        ("features.0", "features.3.0", "features.4.0", "features.5"),
        {"features.3.3": "pointwise", "features.4.3": "pointwise"},
    ),
    Stranger(
        "strided",
        (3, 37, 38),
        ("patch", "down1.c1", "down1.c2", "down2.c1", "down2.c2"),
        {"down1.skip": "pointwise", "down2.skip": "pointwise"},
    ),
    Stranger("reflect", (1, 13, 16), ("net.1", "net.4", "net.6")),
    Stranger("loop", (3, 12, 12), ("embed", "update", "convs.0", "convs.1")),
    Stranger("weight_norm", (1, 64), ("conv_pre", "down", "res"), {"gate": "SpectralNorm"}),
    Stranger(
        "causal",
        (2, 40),
        ("layers.0.filter", "layers.0.gate", "layers.1.filter", "layers.1.gate", "layers.2.conv", "layers.3.conv"),
        {"inp": "pointwise", "out": "pointwise"},
    ),
    Stranger(
        "unet",
        (1, 15, 18),
        tuple(f"{part}.double_conv.{i}" for part in ("inc", "bottom", "dec") for i in (0, 3)),
        {"up": "transposed", "outc": "pointwise"},
        opaque=True,
    ),
    Stranger("volume", (1, 7, 8, 9), ("stem", "spatial", "temporal")),
    Stranger("own_forward", (3, 10, 10), ("a", "b")),
    Stranger(
        "weight_read",
        (2, 24),
        ("free",),
        {
            "read": "weight is read by",
            "listed": "weight is read by",
            "keyword": "weight is read by",
            "chomped": "padding is read by",
            "(the model): conv1d": "functional",
        },
    ),
    Stranger("keeps_features", (1, 9, 9), ("conv1", "conv2")),
    Stranger("own_sites", (2, 30), ("convs.north", "convs.south", "mix")),
    Stranger("named_outputs", (3, 10, 10), ("backbone.0", "backbone.2"), name="WithFeatures"),
    Stranger("named_outputs", (3, 10, 10), ("backbone.0", "backbone.2")),
    Stranger("checkpointed", (3, 9, 10), ("stem", "blocks.first", "blocks.second")),
    Stranger("hooked", (3, 10, 9), ("layers.0", "layers.2"), opaque=True),
    Stranger("spectrum", (1, 40), ("spectrum", "wave"), exports=False),
    Stranger("several", (), ("image", "sound"), inputs={"image": (3, 9, 9), "sound": (1, 20)}),
    Stranger("several", (), ("convs.0", "convs.1"), name="Any", inputs=((1, 20), (1, 20))),
    Stranger("several", (), ("image", "sound"), name="Batch", inputs=({"image": (3, 9, 9), "sound": (1, 20)},)),
]
EXPORTED_EVERY_TIME = ("hooked", "shared", "causal", "weight_norm", "several")

every_stranger = pytest.mark.parametrize("stranger", STRANGERS, ids=lambda s: s.file + s.name.removeprefix("Net"))


def tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in tensors(part)]


def call(model: nn.Module, example: Any) -> Any:
    if isinstance(example, dict):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def train_a_step(supernet: nn.Module, x: Any) -> None:
    """One step on weights and mixtures; every parameter of a site must get a gradient."""
    supernet.train()
    optimiser = torch.optim.SGD(supernet.parameters(), 0.01)
    sum(t.square().mean() for t in tensors(call(supernet, x))).backward()
    for name, aggconv in sites_of(supernet).items():
        assert all(p.grad is not None and p.grad.isfinite().all() for p in aggconv.parameters()), name
    optimiser.step()


@every_stranger
def test_what_is_searched_and_what_is_not(stranger: Stranger) -> None:
    program = dashfx.trace(stranger.model(), stranger.example())
    assert set(program.sites) == set(stranger.sites)
    reasons = {skip.name: skip.reason for skip in program.skips}
    assert reasons.keys() == stranger.skips.keys()
    assert all(part in reasons[name] for name, part in stranger.skips.items()), reasons
    assert bool(program.opaque) == stranger.opaque, program.opaque
    convs = {n for n, m in program.model.named_modules() if isinstance(m, nn.modules.conv._ConvNd)}
    assert convs <= set(program.sites) | set(reasons)


@every_stranger
def test_grow_train_and_lower(stranger: Stranger) -> None:
    model, x = stranger.model().eval(), stranger.example()
    expected = tensors(call(model, x))  # and now the model holds what a forward leaves behind
    supernet = dashfx.rewrite(model, x, SPACE, init="grow").eval()
    torch.testing.assert_close(tensors(call(supernet, x)), expected, rtol=1e-4, atol=1e-5)

    train_a_step(supernet, x)
    plain = dashfx.lower(supernet, dashfx.Supernet.genotype(supernet, "energy"))
    assert type(plain) is type(model)
    assert list(plain.state_dict()) == list(model.state_dict())
    assert [t.shape for t in tensors(call(plain.eval(), x))] == [t.shape for t in expected]


def marked(stranger: Stranger) -> Any:
    marks = () if stranger.file in EXPORTED_EVERY_TIME else (pytest.mark.slow,)
    return pytest.param(stranger, marks=marks, id=stranger.file + stranger.name.removeprefix("Net"))


@pytest.mark.parametrize("stranger", [marked(stranger) for stranger in STRANGERS if stranger.exports])
def test_export(stranger: Stranger, tmp_path: Path) -> None:
    supernet = dashfx.rewrite(stranger.model(), stranger.example(), SPACE, init="fresh")
    plain = dashfx.lower(supernet, dashfx.Supernet.genotype(supernet, "random"))
    report = dashfx.export(plain, stranger.example(), tmp_path / "model.onnx")  # raises where ONNX Runtime disagrees
    assert report.path.is_file()
    assert {"batch"} <= {axis for axes in report.dynamic_axes.values() for axis in axes}


def test_a_lazy_model_is_searched_after_its_first_batch() -> None:
    stranger = Stranger("lazy", (3, 12, 12), ("features.0", "features.3"))
    model, x = stranger.model(), stranger.example()
    supernet = dashfx.rewrite(model, x, SPACE, init="grow")
    plain = dashfx.lower(supernet, supernet.genotype())
    assert set(supernet.sites) == set(stranger.sites)
    assert type(model.features[0]) is nn.LazyConv2d  # the author's own has still seen nothing
    model(x)
    assert list(plain.state_dict()) == list(model.state_dict())


def test_a_models_own_names_stay() -> None:
    stranger = next(s for s in STRANGERS if s.file == "own_sites")
    supernet = dashfx.rewrite(stranger.model(), stranger.example(), SPACE)
    assert supernet.sites == ["north", "south"] and supernet.site == "Berlin" and supernet.genotype() == "human"
    assert set(sites_of(supernet)) == set(stranger.sites)
