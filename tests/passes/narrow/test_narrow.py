"""Narrow: the model without channels is the model with these channels zero wherever they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cnns import Network, cnns
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widths_nets import CHANNELS, Drawn, drawn

import dashfx
from dashfx.backbones import CifarResNet
from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, copy_model, trace
from dashfx.passes.narrow import Channels, Narrow, channels_of, masked, narrowed

X = torch.randn(2, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def some(channels: Channels, seed: int) -> dict[str, list[int]]:
    """A few channels of every group, at least one."""
    generator = torch.Generator().manual_seed(seed)
    widths = {}
    for group in channels.groups:
        size = len(group.units)
        count = int(torch.randint(1, size + 1, (), generator=generator))
        widths[group.name] = sorted(torch.randperm(size, generator=generator)[:count].tolist())
    return widths


def hold(network: Network | Drawn, seed: int, dtype: torch.dtype, near: float) -> Channels:
    """The law; classes and keys stay."""
    x, model = network.example(dtype), network.model(dtype)
    program = trace(model, x)
    channels = channels_of(program)
    widths = some(channels, seed)
    kept = channels.kept(widths)
    gated = copy_model(program.model)
    modules = dict(program.model.named_modules())
    result = Narrow(widths)(program.graph_module)
    with masked(gated, channels, kept):
        expected = gated(x)
    found = program.model(x)
    assert float((found - expected).detach().abs().max()) <= near * float(expected.detach().abs().max().clamp_min(1e-3))
    assert result.modified == (not all(kept))
    assert dict(program.model.named_modules()) == modules
    assert program.model.state_dict().keys() == model.state_dict().keys()
    left = sum(p.numel() for p in program.model.parameters())
    assert (left < sum(p.numel() for p in model.parameters())) == result.modified
    return channels


@given(network=cnns(), seed=st.integers(0, 9))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_law_on_cnns(network: Network, seed: int) -> None:
    hold(network, seed, torch.float64, 1e-10)


@given(network=drawn(), seed=st.integers(0, 9))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_the_law_on_sums_products_and_concatenations(network: Drawn, seed: int) -> None:
    channels = hold(network, seed, torch.float64, 1e-10)
    assert channels.group("first") is not None  # nothing that is known to be taken is refused


@given(network=drawn(), seed=st.integers(0, 9))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_the_law_in_float32(network: Drawn, seed: int) -> None:
    hold(network, seed, torch.float32, 1e-4)


class Of(nn.Module):
    """A conv, code between, a conv, and the mean."""

    def __init__(self, code: Callable[[Tensor], Tensor], reads: int = CHANNELS, more: nn.Module | None = None) -> None:
        super().__init__()
        self.code, self.more = code, more
        self.first, self.last = nn.Conv1d(2, CHANNELS, 3, padding=1), nn.Conv1d(reads, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x if self.more is None else self.more(x)
        return self.last(self.code(x)).mean(-1)


def known(model: nn.Module) -> Channels:
    return channels_of(trace(model.double().eval(), X))


def reason(model: nn.Module) -> str:
    """Why the channels of `first` stay."""
    channels = known(model)
    assert not channels.groups
    return next(skip.reason for skip in channels.skips if skip.name == "first")


def raising(x: Tensor) -> Tensor:
    if x.shape[1] != CHANNELS:
        raise ValueError("six channels are wanted")
    return x


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x.view(x.size(0), x.size(1), -1),
        lambda x: x.reshape(x.shape[0], -1).view(x.shape),
        lambda x: x.transpose(1, 2).relu().permute(0, 2, 1),
        lambda x: x[:, :, 1:].flip(-1) if False else x[..., 1:],
        lambda x: x.softmax(-1) + x.mean(-1, keepdim=True),
        lambda x: x.unsqueeze(2).squeeze(2),
        lambda x: torch.cat([x, x[:, :, :2]], dim=2),
        lambda x: nn.functional.interpolate(x, scale_factor=2.0),
        lambda x: x * x.amax(-1).unsqueeze(-1).expand(-1, -1, x.size(-1)),
    ],
)
def test_code_that_keeps_channels_apart_is_taken(code: Callable[[Tensor], Tensor]) -> None:
    channels = known(Of(code))
    if channels.groups:  # code that fx reads in another way than by its shapes is refused, never wrong
        assert [group.name for group in channels.groups] == ["first"]
    else:
        assert "splits or merges" in channels.skips[0].reason


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (lambda x: x.view(-1, CHANNELS, 8), "written in the code"),
        (lambda x: x[:, [5, 4, 3, 2, 1, 0]], "picks by"),
        (lambda x: torch.cat([x[:, :3], x[:, 3:]], 1), "picks channels by their number"),
        (lambda x: x - x.mean(1, keepdim=True), "runs over the channels"),
        (lambda x: x.softmax(1), "runs over the channels"),
        (lambda x: x * x.shape[1], "depends on the number of channels"),
        (lambda x: torch.einsum("ncl,ncl->ncl", x, x), "may mix channels"),
        (lambda x: x.roll(1, 1), "roll() at roll may mix channels"),
        (lambda x: x.view(x.size(0), 2, 3, 8).flatten(1, 2), "splits or merges"),
        (lambda x: torch.cat(x.split(3, 1), 1), "may mix channels"),
    ],
)
def test_code_that_does_not_is_refused_with_the_reason(code: Callable[[Tensor], Tensor], why: str) -> None:
    assert why in reason(Of(code))


def test_a_model_that_fx_cannot_go_through_is_refused() -> None:
    channels = known(Of(raising))
    assert not channels.groups and channels.count == 0
    assert "not traced inside (TraceError" in channels.skips[0].reason


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, CHANNELS), nn.LayerNorm(8), nn.LocalResponseNorm(3)])
def test_norms_over_channels_are_refused(norm: nn.Module) -> None:
    assert f"{type(norm).__name__} more may mix channels" in reason(Of(lambda x: x, more=norm))


def test_what_shares_a_tensor_stays() -> None:
    model = Of(lambda x: x)
    model.more = nn.Conv1d(CHANNELS, CHANNELS, 1)
    model.twin = nn.Conv1d(CHANNELS, CHANNELS, 1)
    model.twin.weight = model.more.weight
    assert "more shares a tensor with twin.weight" in reason(model)


def test_inputs_and_outputs_stay() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 3, 1))
    channels = known(model)
    assert [(group.name, len(group.units)) for group in channels.groups] == [("0", 4)]
    assert {skip.name: skip.reason for skip in channels.skips} == {"2": "they are the model's output"}


def test_what_cannot_be_traced_stays() -> None:
    class Deciding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum() > 0 else x

    assert "Deciding more may mix channels" in reason(Of(lambda x: x, more=Deciding()))


def test_shortcuts_padded_by_a_number_tie_the_stages() -> None:
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    program = trace(CifarResNet(8).double().eval(), x)
    channels = channels_of(program)
    sizes = {group.name: len(group.units) for group in channels.groups}
    assert sizes == {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer3.0.conv1": 64}
    kept = channels.kept({"conv1": range(4)})
    gated = copy_model(program.model)
    Narrow({"conv1": range(4)})(program.graph_module)
    with masked(gated, channels, kept):
        torch.testing.assert_close(program.model(x), gated(x), rtol=1e-10, atol=1e-10)
    shapes = {name: tuple(p.shape) for name, p in program.model.state_dict().items()}
    # The second stage keeps the 16 channels that are padded in, and the third those and its own.
    assert shapes["layer2.0.conv2.weight"] == (20, 32, 3, 3) and shapes["linear.weight"] == (10, 52)


@pytest.mark.parametrize(
    ("widths", "why"),
    [
        ({"frist": [0]}, "the channels of 'frist' cannot leave (did you mean 'first'?)"),
        ({"last": [0]}, "the channels of 'last' cannot leave: they are the model's output"),
        ({"first": []}, "at least one"),
        ({"first": [0, 0]}, "name different ones"),
        ({"first": [6]}, "name different ones from 0 on"),
    ],
)
def test_bad_widths_are_one_line(widths: dict[str, list[int]], why: str) -> None:
    with pytest.raises(PassError, match="pass narrow") as error:
        narrowed(Of(torch.relu).double().eval(), X, widths)
    assert why in str(error.value) and "\n" not in str(error.value)


def sizes_of(program: Program) -> list[tuple[int, int]]:
    return [(site.in_channels, site.out_channels) for site in program.sites.values()]


def test_sites_follow_and_frozen_weights_stay_frozen() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 3, 3)).double().eval()
    model[2].weight.requires_grad_(False)
    program = trace(model, X)
    assert not Narrow({"0": range(4)})(program.graph_module).modified
    assert Narrow({"0": [3, 1]})(program.graph_module).modified
    assert sizes_of(program) == [(2, 2), (2, 3)]
    assert not program.model[2].weight.requires_grad and program.model[0].weight.requires_grad
    assert torch.equal(program.model[0].weight, model[0].weight[[1, 3]])


def test_a_narrower_model_is_exported_with_parity(tmp_path: Path) -> None:
    net = Drawn((("gated", True, 0), ("grouped", True, 0), ("concat", True, 0)), flat=True)
    model, x = net.model(torch.float32), net.example(torch.float32)
    program = trace(model, x)
    plain = narrowed(model, x, some(channels_of(program), 3))
    report = dashfx.export(plain, x, tmp_path / "model.onnx")
    assert report.path.stat().st_size
