"""One set of tests over every backbone; `python tests/backbones/test_backbones.py` writes the golden graphs anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dashfx.frontend.tracing
from dashfx.backbones import FNO, TCN, WRN, CifarResNet, ConvNeXt, ResNet18, UNet, WRN1d
from dashfx.backbones.fno import SpectralConv

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass(frozen=True)
class Case:
    """A backbone, an input (channels, *size), a second size that nothing divides, and whether outputs keep the size."""

    make: Callable[..., nn.Module]
    channels: int
    size: tuple[int, ...]
    odd_size: tuple[int, ...]
    dense: bool = False

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make(num_classes=5, in_channels=self.channels)

    def input(self, size: tuple[int, ...] | None = None, batch: int = 3) -> Tensor:
        return torch.randn(batch, self.channels, *(size or self.size), generator=torch.Generator().manual_seed(1))

    def output_shape(self, size: tuple[int, ...], batch: int = 3) -> tuple[int, ...]:
        return (batch, 5, *size) if self.dense else (batch, 5)


# Small enough for seconds; the default sizes are tested by `test_defaults`.
TCN_SMALL = partial(TCN, channels=(8, 8, 12), kernel=3)
CONVNEXT_SMALL = partial(ConvNeXt, depths=(1, 1, 1), widths=(4, 8, 12), patch=2)
CASES = {
    "wrn": Case(partial(WRN, depth=10, width=1), 3, (16, 16), (13, 9)),
    "wrn_dense": Case(partial(WRN, depth=10, width=1, dense=True), 2, (8, 8), (7, 5), dense=True),
    "wrn1d": Case(partial(WRN1d, width=4), 2, (32,), (45,)),
    "wrn1d_dense": Case(partial(WRN1d, width=4, dense=True), 2, (32,), (45,), dense=True),
    "tcn": Case(TCN_SMALL, 2, (32,), (23,)),
    "tcn_hook": Case(partial(TCN_SMALL, weight_norm="hook", head="mean"), 2, (32,), (23,)),
    "tcn_dense": Case(partial(TCN_SMALL, weight_norm="none", head="dense"), 2, (32,), (23,), dense=True),
    "cifar_resnet": Case(partial(CifarResNet, depth=8), 3, (16, 16), (13, 9)),
    "resnet18": Case(partial(ResNet18, width=4), 3, (48, 48), (37, 51)),
    "resnet18_cifar": Case(partial(ResNet18, width=4, stem="cifar"), 3, (16, 16), (13, 9)),
    "convnext": Case(CONVNEXT_SMALL, 3, (16, 16), (19, 13)),
    "unet1d": Case(partial(UNet, width=4, depth=2, ndim=1), 2, (32,), (27,), dense=True),
    "unet2d": Case(partial(UNet, width=4, depth=2), 2, (16, 16), (13, 7), dense=True),
    "fno1d": Case(partial(FNO, width=4, modes=4, depth=2, ndim=1), 2, (16,), (5,), dense=True),
    "fno2d": Case(partial(FNO, width=4, modes=4, depth=2), 2, (12, 12), (9, 5), dense=True),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
every_backbone = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_backbone
def test_output_shape(case: Case) -> None:
    model = case.model().eval()
    for size in (case.size, case.odd_size):
        output = model(case.input(size))
        assert output.shape == case.output_shape(size)
        assert output.isfinite().all()


@every_backbone
def test_gradient_reaches_every_parameter(case: Case) -> None:
    model = case.model()
    output = model(case.input())
    output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(2)))
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@every_backbone
def test_eval_output_does_not_depend_on_the_rest_of_the_batch(case: Case) -> None:
    model, x = case.model().eval(), case.input()
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-5, atol=1e-5)


@every_backbone
def test_state_dict_round_trip(case: Case) -> None:
    model, other = case.model().eval(), case.model().eval()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    x = case.input()
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other(x), model(x))


@every_backbone
def test_dtype_is_kept(case: Case) -> None:
    model = case.model().eval()
    assert model(case.input()).dtype == torch.float32
    assert model.to(torch.float64)(case.input().double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (WRN, (1, 3, 8, 8)),
        (WRN1d, (1, 1, 16)),
        (TCN, (1, 1, 16)),
        (CifarResNet, (1, 3, 8, 8)),
        (ResNet18, (1, 3, 32, 32)),
        (ConvNeXt, (1, 3, 32, 32)),
        (UNet, (1, 1, 8, 8)),
        (FNO, (1, 1, 8, 8)),
    ],
)
def test_defaults(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    assert make().eval()(torch.zeros(shape)).shape[0] == 1


@pytest.mark.parametrize(
    "make",
    [
        partial(WRN, depth=12),
        partial(CifarResNet, depth=21),
        partial(ResNet18, stem="large"),
        partial(ConvNeXt, depths=(1,), widths=(4, 8)),
        partial(TCN, head="first"),
        partial(TCN, weight_norm="spectral"),
        partial(TCN, kernel=1),
        partial(UNet, ndim=3),
        partial(FNO, modes=0),
    ],
)
def test_settings_that_cannot_be_built_are_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"give|needs|has"):
        make()


def test_tcn_is_causal() -> None:
    model = CASES["tcn_dense"].model().eval()
    x = CASES["tcn_dense"].input().requires_grad_()
    model(x)[..., 10].sum().backward()
    assert x.grad is not None
    assert not x.grad[..., 11:].any()
    assert x.grad[..., 10].any()


@pytest.mark.parametrize(("classes", "width"), [(2, 4), (9, 4), (10, 16), (19, 16), (20, 64), (60, 64)])
def test_wrn1d_width_follows_the_number_of_classes(classes: int, width: int) -> None:
    model = WRN1d(num_classes=classes)
    assert model.block1.conv1.out_channels == width
    assert model.block3.conv3.out_channels == 2 * width


@pytest.mark.parametrize("depth", [20, 56])
def test_cifar_resnet_has_the_keys_of_public_checkpoints(depth: int) -> None:
    model = CifarResNet(depth)
    keys = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    assert keys[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "layer1.0.conv1.weight",
    ]
    assert keys[-2:] == ["linear.weight", "linear.bias"]
    assert {"layer2.0.conv1.weight", f"layer3.{(depth - 2) // 6 - 1}.bn2.running_var"} <= set(keys)
    assert not any("downsample" in key for key in keys)
    assert len(keys) == 5 * (depth - 1) + 2  # a conv and four batch-norm tensors a layer, then the linear layer
    assert sum(p.numel() for p in model.parameters()) == {20: 269_722, 56: 853_018}[depth]


def test_option_a_shortcut_subsamples_and_pads_channels() -> None:
    shortcut = CifarResNet(8).layer2[0].downsample
    x = torch.randn(1, 16, 5, 6)
    out = shortcut(x)
    assert out.shape == (1, 32, 3, 3)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()


@pytest.mark.parametrize("size", [(8,), (6, 10)])
def test_spectral_conv_with_all_modes_and_identity_weights_is_the_identity(size: tuple[int, ...]) -> None:
    conv = SpectralConv(channels=3, modes=8, ndim=len(size)).double()
    with torch.no_grad():
        conv.weight.zero_()[:, range(3), range(3), ..., 0] = 1.0  # (corners, in, out, *modes, re and im)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(conv(x), x, rtol=1e-12, atol=1e-12)
    assert conv.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_spectral_conv_drops_frequencies_above_its_modes() -> None:
    conv = SpectralConv(channels=1, modes=3, ndim=1)
    wave = torch.arange(16) * (2 * torch.pi / 16)
    assert conv(torch.cos(2 * wave).view(1, 1, 16)).abs().max() > 1e-2
    assert conv(torch.cos(3 * wave).view(1, 1, 16)).abs().max() < 1e-5


@every_backbone
def test_traced_equals_eager(case: Case) -> None:
    model = case.model().eval()
    program = dashfx.frontend.tracing.trace(model, case.input())
    assert program.opaque == {}
    for size in (case.size, case.odd_size):
        x = case.input(size)
        assert torch.equal(program.graph_module(x), model(x))


def graph_text(case: Case) -> str:
    """A line per node: name, what it does, what feeds it, output shape; then a line per conv that can be searched."""
    program = dashfx.frontend.tracing.trace(case.model().eval(), case.input())
    lines = []
    for node in program.graph_module.graph.nodes:
        target = node.target if isinstance(node.target, str) else node.target.__name__
        feeds = ", ".join(source.name for source in node.all_input_nodes)
        lines.append(f"{node.name} = {node.op} {target}({feeds}) {node.meta.get('shape') or ''}".rstrip())
    lines += [f"site {site.name}: {site.original}" for site in program.sites.values()]
    lines += [f"skip {skip.name}" for skip in program.skips]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_golden_graph(name: str) -> None:
    """Beside `test_traced_equals_eager`: the text alone would not notice a wrong number."""
    assert graph_text(CASES[name]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, case in CASES.items():
        (GOLDEN / f"{name}.txt").write_text(graph_text(case), encoding="utf-8")
