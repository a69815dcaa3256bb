"""Taps: where they stand in every backbone and in models that are awkward to cut, and at which input size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dashfx
from dashfx.backbones import FNO, TCN, WRN, CifarResNet, ConvNeXt, ResNet18, UNet, WRN1d
from dashfx.errors import ModelError, ProxyError
from dashfx.proxy import GenNAS
from dashfx.proxy.gennas.taps import Tapped, tap


def taps_of(net: nn.Module, channels: int, size: tuple[int, ...]) -> Tapped:
    return tap(net, torch.rand(4, channels, *size, generator=torch.Generator().manual_seed(0)))


def shapes(tapped: Tapped) -> list[tuple[int, ...]]:
    """(channels, *size) of each tap."""
    return [point.shape[1:] for point in tapped.taps.points]


CONVNEXT = partial(ConvNeXt, depths=(1, 1, 1), widths=(4, 8, 12), patch=2)
# A backbone, its input, and (channels, *size) of each tap, at the input size that is chosen
BACKBONES: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], list[tuple[int, ...]]]] = [
    ("wrn", partial(WRN, depth=10, width=1), (32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
    ("wrn small", partial(WRN, depth=10, width=1), (16, 16), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
    ("wrn dense", partial(WRN, depth=10, width=1, dense=True), (8, 8), [(16, 8, 8), (32, 8, 8), (64, 8, 8)]),
    ("wrn1d", partial(WRN1d, width=4), (100,), [(4, 100), (8, 100), (8, 100)]),
    ("tcn", partial(TCN, channels=(4, 5, 6), kernel=3), (64,), [(4, 64), (5, 64), (6, 64)]),
    ("tcn dense", partial(TCN, channels=(4, 5, 6), kernel=3, head="dense"), (64,), [(4, 64), (5, 64), (6, 64)]),
    ("cifar", partial(CifarResNet, depth=8), (32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
    ("resnet18", partial(ResNet18, width=2), (32, 32), [(4, 32, 32), (8, 16, 16), (16, 8, 8)]),
    ("convnext", CONVNEXT, (32, 32), [(4, 32, 32), (8, 16, 16), (12, 8, 8)]),
    ("unet", partial(UNet, width=2, depth=2), (32, 32), [(4, 16, 16), (4, 8, 8), (2, 32, 32)]),
    ("unet1d", partial(UNet, width=2, depth=2, ndim=1), (256,), [(4, 128), (4, 64), (2, 256)]),
    ("fno", partial(FNO, width=4, modes=4, depth=2), (12, 12), [(4, 12, 12)] * 3),
    ("fno1d", partial(FNO, width=4, modes=4, depth=2, ndim=1), (64,), [(4, 64)] * 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "size", "expected"), BACKBONES, ids=[case[0] for case in BACKBONES])
def test_every_backbone(name: str, make: Callable[..., nn.Module], size: tuple[int, ...], expected: list) -> None:
    channels = 3 if len(size) == 2 else 1
    torch.manual_seed(0)
    tapped = taps_of(make(num_classes=5, in_channels=channels), channels, size)
    assert tapped.taps.traced and shapes(tapped) == expected, tapped.taps.summary()
    grid = (8, 8) if len(size) == 2 else (64,)
    maps = tapped(tapped.fit(torch.rand(4, channels, *size)))
    assert [tuple(m.shape) for m in maps] == [(4, shape[0], *grid) for shape in expected]
    assert all(a >= g for shape in expected for a, g in zip(shape[1:], grid, strict=True))


def test_a_tap_is_the_feature_of_the_model_itself() -> None:
    torch.manual_seed(0)
    net, x = CifarResNet(depth=8), torch.rand(4, 3, 32, 32)
    seen: list[Tensor] = []
    for layer in (net.layer1, net.layer2, net.layer3):
        layer.register_forward_hook(lambda _, args, output: seen.append(output))
    net.eval()(x)
    features = seen[-3:]
    maps = tap(net, x).eval()(x)
    for feature, found, step in zip(features, maps, (4, 2, 1), strict=True):
        assert torch.allclose(feature[..., ::step, ::step], found, atol=1e-6)


def test_the_classifier_is_gone() -> None:
    kept = {name for name, _ in taps_of(CifarResNet(depth=8), 3, (32, 32)).named_parameters()}
    assert any("layer3" in name for name in kept) and not any("linear" in name for name in kept)


class InPlace(nn.Module):
    """The feature at the end of a stage is changed in place by what follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, stride=2, padding=1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i < 2:
                x += 1
                x = F.relu_(x)
        return x.mean((-2, -1))


class Depends(CifarResNet):
    """torch.fx cannot go through a forward that looks at values."""

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 1e6:
            x = x / 2
        return super().forward(x)


def test_a_model_without_a_graph_is_tapped_by_hooks_at_the_same_features() -> None:
    torch.manual_seed(0)
    net, x = Depends(depth=8), torch.rand(4, 3, 32, 32)
    plain = CifarResNet(depth=8)
    plain.load_state_dict(net.state_dict())
    hooked, traced = tap(net, x), tap(plain, x)
    assert not hooked.taps.traced and [p.name for p in hooked.taps.points] == ["layer1#1", "layer2#1", "layer3#1"]
    assert all(torch.equal(a, b) for a, b in zip(hooked.eval()(x), traced.eval()(x), strict=True))
    assert GenNAS("combo", iterations=2).score(net, x) == pytest.approx(
        GenNAS("combo", iterations=2).score(plain, x), rel=1e-4
    )


def test_what_follows_in_place_does_not_reach_a_tap() -> None:
    torch.manual_seed(0)
    net, x = InPlace(), torch.rand(4, 3, 64, 64)
    maps = tap(net, x)(x)
    assert float(maps[1].detach().min()) == 0 and float(maps[2].detach().min()) < 0  # after the ReLU; before the mean
    torch.stack([m.square().mean() for m in maps]).sum().backward()  # autograd finds nothing overwritten


def test_a_fixed_classifier_does_not_fix_the_input_size() -> None:
    net = nn.Sequential(
        *(nn.Conv2d(1 if i == 0 else 3, 3, 3, stride=2, padding=1) for i in range(3)),
        nn.Flatten(),
        nn.Linear(3 * 2 * 2, 5),
    )
    tapped = taps_of(net, 1, (16, 16))
    assert tapped.taps.input_size == (64, 64) and shapes(tapped)[-1] == (3, 8, 8)


class FixedSize(nn.Module):
    """A position embedding in the middle: no other input size is possible."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)
        self.place = nn.Parameter(torch.zeros(3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) + self.place).mean((-2, -1))


def test_a_model_of_one_size_keeps_it() -> None:
    tapped = taps_of(FixedSize(), 1, (16, 16))
    assert tapped.taps.input_size == (16, 16) and shapes(tapped)[-1] == (4, 4, 4)
    assert [tuple(m.shape[2:]) for m in tapped(torch.rand(4, 1, 16, 16))] == [(8, 8)] * len(shapes(tapped))


def test_pooling_at_the_end_is_no_stage() -> None:
    layers: list[nn.Module] = []
    for i in range(3):
        layers += [nn.Conv2d(1 if i == 0 else 3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    tapped = taps_of(nn.Sequential(*layers, nn.Flatten(), nn.Linear(3 * 16, 2)), 1, (32, 32))
    assert shapes(tapped) == [(3, 32, 32), (3, 16, 16), (3, 8, 8)] and tapped.taps.input_size == (32, 32)


class Shortcut(nn.Module):
    """One shortcut around the whole body leaves cut points before and behind it only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.around = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, 4)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.pool, self.last = nn.AvgPool2d(8, 1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(self.pool(self.body(x) + self.around(x)).flatten(1))


def test_pooling_at_the_end_is_no_stage_where_few_points_are_left_either() -> None:
    taps = tap(Shortcut(), torch.randn(2, 3, 32, 32)).taps
    assert taps.input_size == (32, 32) and [point.size for point in taps.points] == [(32, 32), (8, 8)]


def test_a_conv_that_gives_the_classes_is_no_stage() -> None:
    """Network in Network ends in a 1x1 conv and a pooling of its whole map, which tracing keeps as one module."""
    body = [layer for i in range(3) for layer in (nn.Conv2d(3 if i == 0 else 8, 8, 3, 2, 1), nn.ReLU())]
    net = nn.Sequential(*body, nn.Sequential(nn.Conv2d(8, 10, 1), nn.AvgPool2d(8, 1)), nn.Flatten())
    taps = tap(net, torch.randn(2, 3, 64, 64)).taps
    assert taps.input_size == (64, 64)
    assert [point.shape[1:] for point in taps.points] == [(8, 32, 32), (8, 16, 16), (8, 8, 8)]


def test_one_conv_has_one_stage_and_takes_the_last_targets() -> None:
    net, x = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 2)), torch.rand(4, 1, 64)
    assert len(tap(net, x).taps.points) == 1
    assert GenNAS("combo", iterations=2).score(net, x) < 10


class ByBatch(nn.Module):
    """Gives another number of channels for another number of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))[:, : x.shape[0]].mean((-2, -1))


class Skips(nn.Module):
    """Runs its last conv for small batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(1 if i == 0 else 2, 2, 3, 2, 1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        if float(x.sum()) > 1e9 or len(x) <= 2:
            x = self.third(x)
        return x.mean((-2, -1))


@pytest.mark.parametrize("net", [ByBatch(), Skips()])
def test_a_model_that_changes_with_the_batch_is_refused(net: nn.Module) -> None:
    with pytest.raises(ProxyError, match="changes with the batch") as error:
        GenNAS("single", iterations=1).score(net, torch.rand(4, 1, 64, 64))
    assert "\n" not in str(error.value)


def test_a_batch_that_the_model_refuses_is_named() -> None:
    with pytest.raises(ModelError, match="2x1x32x32"):
        GenNAS("single", iterations=1).score(CifarResNet(depth=8), torch.rand(4, 1, 32, 32))


def test_other_kernels_on_one_network_have_the_same_taps() -> None:
    net, x = WRN1d(3, 1, 4), torch.rand(4, 1, 96)
    genotype = dashfx.Genotype({name: dashfx.Candidate(9, 3) for name in dashfx.trace(net, x).sites})
    other = dashfx.specialise(net, x, genotype)
    assert tap(other, x).taps == tap(net, x).taps
