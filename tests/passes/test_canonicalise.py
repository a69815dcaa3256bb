"""Canonicalise: padding as numbers, weight-norm folded, causal convs recognised, and nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

from dashfx.frontend.tracing import Program, trace
from dashfx.passes import Canonicalise

X = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))


def canonical(model: nn.Module, x: Tensor = X) -> Program:
    program = trace(model, x)
    expected = program.model(x)
    Canonicalise()(program.graph_module)
    torch.testing.assert_close(program.model(x), expected)
    return program


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize(("kernel", "numbers"), [(3, ((1, 1),)), (4, ((1, 2),))])
def test_same_padding_becomes_numbers(mode: str, kernel: int, numbers: object) -> None:
    program = canonical(nn.Sequential(nn.Conv1d(3, 3, kernel, padding="same", padding_mode=mode)))
    assert program.sites["0"].padding == numbers
    assert not isinstance(program.model[0].padding, str)


def test_valid_padding_becomes_numbers() -> None:
    assert canonical(nn.Sequential(nn.Conv1d(3, 3, 3, padding="valid"))).model[0].padding == (0,)


@pytest.mark.parametrize("kind", ["hook", "parametrization"])
def test_weight_norm_is_folded_and_remembered(kind: str) -> None:
    norm = weight_norm if kind == "hook" else parametrizations.weight_norm
    model = nn.Sequential(norm(nn.Conv1d(3, 4, 3), dim=1))
    program = canonical(model)
    conv, site = program.model[0], program.sites["0"]
    assert set(conv.state_dict()) == {"weight", "bias"}
    assert type(conv) is nn.Conv1d and not conv._forward_pre_hooks and not parametrize.is_parametrized(conv)
    assert site.weight_norm is not None and (site.weight_norm.kind, site.weight_norm.dim) == (kind, 1)
    old = program.graph_module.meta["key_map"]["0.weight"]
    assert set(old) | {"0.bias"} == set(model.state_dict())  # and the user's model still has it


class Causal(nn.Module):
    def __init__(
        self, pad: object = None, chomp: object = None, kernel: int = 3, dilation: int = 2, **options: object
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 3, kernel, dilation=dilation, **options)
        self.pad, self.chomp = pad or nn.Identity(), chomp or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.chomp(self.conv(self.pad(x)))


class Chomp(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.size].contiguous()


class Function(nn.Module):
    """Its forward is traced, so that the function shows as a node beside the conv."""

    def __init__(self, conv: nn.Module, before: object = None, after: object = None) -> None:
        super().__init__()
        self.conv, self.before, self.after = conv, before or (lambda x: x), after or (lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(self.before(x)))


def conv(padding: int = 0, **options: object) -> nn.Conv1d:
    return nn.Conv1d(3, 3, 3, dilation=2, padding=padding, **options)


@pytest.mark.parametrize(
    "model",
    [
        Function(conv(), before=lambda x: F.pad(x, (4, 0))),
        Function(conv(), before=lambda x: F.pad(x, pad=[4, 0], mode="constant", value=0.0)),
        Causal(pad=nn.ConstantPad1d((4, 0), 0.0)),
        Causal(pad=nn.ZeroPad1d((4, 0))),
        Causal(chomp=Chomp(4), padding=4),
        Function(conv(4), after=lambda x: x[..., :-4]),
        Function(conv(4), after=lambda x: x[:, :, :-4]),
        Function(conv(4), after=lambda x: x[:, :, 0 : x.shape[2] - 4]),
    ],
)
def test_causal_convs_are_recognised(model: nn.Module) -> None:
    (site,) = canonical(model).sites.values()
    assert site.causal


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(conv()),
        nn.Sequential(conv(2)),
        Function(conv(), before=lambda x: F.pad(x, (3, 1))),
        Function(conv(), before=lambda x: F.pad(x, (3, 0))),
        Function(conv(), before=lambda x: F.pad(x, (4, 0), value=1.0)),
        Function(conv(), before=lambda x: F.pad(x, (4, 0), mode="replicate")),
        Causal(pad=nn.ReplicationPad1d((4, 0))),
        Causal(chomp=Chomp(3), padding=4),
        Function(conv(4), after=lambda x: x[..., :-3]),
        Function(conv(4), after=lambda x: x[..., 4:]),
        Function(conv(4), after=lambda x: x[..., :-4:2]),
        Function(conv(4), after=lambda x: x[:1, :, :-4]),
        Function(conv(4), after=lambda x: x[..., :-4] + x.mean()),  # somebody sees what was cut off
        Function(conv(4, padding_mode="circular"), after=lambda x: x[..., :-4]),
        Function(nn.Conv1d(3, 3, 1)),
    ],
)
def test_what_is_not_causal(model: nn.Module) -> None:
    assert not any(site.causal for site in canonical(model).sites.values())


class Twice(nn.Module):
    """One call is causal, the other is not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (4, 0))) + self.conv(F.pad(x, (2, 2)))


def test_a_conv_is_causal_only_if_every_call_is() -> None:
    assert not canonical(Twice()).sites["conv"].causal


def test_images_are_not_causal() -> None:
    model = Function(nn.Conv2d(3, 3, 3), before=lambda x: F.pad(x, (2, 0, 2, 0)))
    assert not canonical(model, torch.zeros(1, 3, 8, 8)).sites["conv"].causal


def test_edits_say_what_was_done() -> None:
    model = nn.Sequential(weight_norm(nn.Conv1d(3, 3, 3, padding="same")), nn.Conv1d(3, 3, 3))
    result = Canonicalise()(trace(model, X).graph_module)
    assert [str(edit.what) for edit in result.edits] == [
        "padding 'same' is ((1, 1),)",
        "weight-norm (hook) folded: 0.weight_g and 0.weight_v are 0.weight",
    ]
