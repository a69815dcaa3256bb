"""Convs with a forward of their own: searched inside it by the one-hot and growth laws, or left alone with a reason."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import dashfx
from dashfx import Genotype, SearchSpace
from dashfx.deploy.loader import write_loader
from dashfx.ops import HostedConv, drop_residuals, sites_of
from dashfx.ops.autotune.choose import find_places

SPACE = SearchSpace.product([2, 3, 5], [1, 2], keep_original=True)


class Standardised(nn.Conv2d):
    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        weight = self.gain * (self.weight - mean) / (var + 1e-4).sqrt()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Same(nn.Conv2d):
    """Pads by its kernel and by the size that it sees."""

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for axis in (1, 0):
            n, s = x.shape[2 + axis], self.stride[axis]
            need = (-(-n // s) - 1) * s + self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1 - n
            sides += [max(need, 0) // 2, max(need, 0) - max(need, 0) // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Chomped(nn.Conv1d):
    def __init__(self, i: int, o: int, k: int, dilation: int) -> None:
        super().__init__(i, o, k, dilation=dilation, padding=(k - 1) * dilation)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., : -self.padding[0]]


class Causal(nn.Conv1d):
    """A fixed padding of its own, and then torch's forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (4, 0)))


class Doubled(nn.Conv1d):
    """What is around it pads."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, 2 * self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Masked(nn.Conv1d):
    """Takes and returns lengths beside the sequence."""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        shown = torch.arange(x.shape[-1]) < lengths[:, None]
        return super().forward(x * shown[:, None]), lengths


class Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Masked(2, 4, 3, padding=1), Masked(4, 4, 3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.two(*self.one(x, lengths))[0]


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.tanh() / 2


def halved() -> nn.Module:
    conv = nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect")
    parametrize.register_parametrization(conv, "weight", Halved())
    return conv


IMAGE, SEQUENCE = (2, 3, 11, 12), (2, 2, 21)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "standardised": (lambda: nn.Sequential(Standardised(3, 4, 3, stride=2, padding=1), nn.ReLU()), IMAGE, True),
    "same": (lambda: nn.Sequential(Same(3, 4, 3, stride=2)), IMAGE, False),
    "parametrised": (lambda: nn.Sequential(halved()), IMAGE, False),
    "chomped": (lambda: nn.Sequential(Chomped(2, 4, 3, 2)), SEQUENCE, False),
    "causal": (lambda: nn.Sequential(Causal(2, 4, 3, dilation=2)), SEQUENCE, False),
}
every_case = pytest.mark.parametrize("case", CASES)


def built(case: str) -> tuple[nn.Module, Tensor]:
    make, size, _ = CASES[case]
    torch.manual_seed(0)
    return make().double().eval(), torch.randn(size, dtype=torch.float64)


def choose(supernet: nn.Module, turn: int) -> Genotype:
    choice = {}
    for name, site in sites_of(supernet).items():
        site.fix(turn % len(site.candidates))
        choice[name] = site.candidates[turn % len(site.candidates)]
    return Genotype(choice)


@every_case
def test_growth_law(case: str) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "grow").eval()
    for turn in range(3):
        choose(supernet, turn)
        torch.testing.assert_close(supernet(x), model(x), rtol=1e-10, atol=1e-12)


@every_case
def test_one_hot_law_class_and_keys(case: str) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "fresh").eval()
    (site,) = sites_of(supernet).values()
    assert isinstance(site, HostedConv) and site.hosting.direct == CASES[case][2] and len(site.candidates) > 2
    for turn in range(len(site.candidates)):
        genotype = choose(supernet, turn)
        plain = dashfx.lower(supernet, genotype).eval()
        torch.testing.assert_close(plain(x), supernet(x), rtol=1e-10, atol=1e-12)
        assert type(plain.get_submodule("0")) is type(model.get_submodule("0"))
        assert list(plain.state_dict()) == list(model.state_dict())
        assert (plain.get_submodule("0").kernel_size, plain.get_submodule("0").dilation) == (
            genotype["0"].kernel,
            genotype["0"].dilation,
        )


@pytest.mark.parametrize("case", ["chomped", "causal"])
def test_causal_stays_causal(case: str) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "fresh").eval()
    later = x.clone()
    later[..., 10:] += 1
    torch.testing.assert_close(supernet(later)[..., :10], supernet(x)[..., :10])


@every_case
def test_every_candidate_trains(case: str) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "grow").train()
    supernet(x).square().mean().backward()
    (site,) = sites_of(supernet).values()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in [*site.weights, *site.host.parameters()])


def test_causal_surroundings_of_a_forward_of_its_own() -> None:
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), Doubled(2, 4, 3, dilation=2)).double(),
        torch.randn(2, 2, 21),
    )
    later = (x := x.double()).clone()
    later[..., 10:] += 1
    supernet = dashfx.rewrite(model, x, SPACE, "fresh").eval()
    for turn in range(3):
        plain = dashfx.lower(supernet, choose(supernet, turn)).eval()
        for net in (supernet, plain):
            torch.testing.assert_close(net(later)[..., :10], net(x)[..., :10])


@every_case
def test_a_fading_mixture_ends_as_the_mixture_alone(case: str) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "grow").eval()
    (site,) = sites_of(supernet).values()
    site.fade.fill_(0)
    faded = supernet(x)
    site.residual = None
    torch.testing.assert_close(supernet(x), faded)


def test_direct_kernels_are_mixed_like_results() -> None:
    model, x = built("standardised")
    supernet = dashfx.rewrite(model, x, SPACE, "grow").eval()
    (site,) = sites_of(supernet).values()
    coef = torch.rand(len(site.candidates), dtype=torch.float64)
    torch.nn.init.normal_(site.weights[0])
    runs = [run + 0 for run in site._runs((x,), {})]
    expected = sum(share * run for share, run in zip(site._shares(coef / coef.sum()), runs, strict=True))
    for name in ("mixed_results", "mixed_weights", "grouped_dilation", "fourier"):
        torch.testing.assert_close(site.mix(x, coef / coef.sum(), name), expected)


def test_what_cannot_be_padded_is_dropped() -> None:
    model, x = built("standardised")
    (site,) = sites_of(dashfx.rewrite(model, x, SPACE)).values()
    assert {c.kernel[0] for c in site.candidates} == {3, 5, 2}
    assert [str(c) for c in site.candidates if c.kernel[0] == 2] == ["k2 d2"]  # k2 d1: 1 and 0


def test_several_inputs_and_outputs() -> None:
    model, x = Speech().double().eval(), torch.randn(2, 2, 20, dtype=torch.float64)
    lengths = torch.tensor([20, 9])
    supernet = dashfx.rewrite(model, (x, lengths), SPACE, "grow").eval()
    assert set(supernet.sites) == {"one", "two"}
    torch.testing.assert_close(supernet(x, lengths), model(x, lengths), rtol=1e-10, atol=1e-12)
    plain = dashfx.lower(supernet, choose(supernet, 1)).eval()
    assert plain(x, lengths).shape == model(x, lengths).shape


class Gated(nn.Conv2d):
    """Its input by name, and a gate of the same size on some calls."""

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        weight = self.weight - self.weight.mean()
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return y if gate is None else y * gate


class Gates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 3, 3, padding=1)
        self.gated, self.twice = Gated(3, 3, 3, padding=1), Gated(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gated(x=self.plain(input=x), gate=x.sigmoid())
        return self.twice(self.twice(x), gate=x)


def test_convs_called_by_name_and_with_another_tensor_of_their_size() -> None:
    model, x = Gates().double().eval(), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    supernet = dashfx.rewrite(model, x, SPACE, "grow").eval()
    assert list(supernet.sites) == ["plain", "gated", "twice"]
    torch.testing.assert_close(supernet(x), model(x), rtol=1e-10, atol=1e-12)
    assert [len(place.sites) for place in find_places(supernet, x)] == [1, 1]
    genotype = choose(supernet, 2)
    drop_residuals(supernet)
    torch.testing.assert_close(dashfx.lower(supernet, genotype).eval()(x), supernet(x), rtol=1e-10, atol=1e-12)


class Fixed(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class PerTap(nn.Conv2d):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.scale = nn.Parameter(torch.ones(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale)


class Octave(nn.Conv2d):
    """Two resolutions: the other input keeps its size when the first grows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.ones(12, 12)


class Twice(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(super().forward(x))


@pytest.mark.parametrize(
    ("conv", "words"),
    [
        (lambda: Fixed(3, 3, 3), "with k5 d1 its output has another size"),
        (lambda: PerTap(3, 3, 3), "takes no other kernel: The size of tensor"),
        (lambda: Octave(3, 3, 3, padding=1), "takes no other kernel: it fails at other sizes of its input: The size"),
        (lambda: Twice(3, 3, 3), "makes 2 functional convs"),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(3, 3, 3)), "spectral norm keeps vectors"),
    ],
)
def test_what_is_left_alone(conv: Callable[[], nn.Module], words: str) -> None:
    program = dashfx.trace(nn.Sequential(conv()), torch.randn(2, 3, 12, 12))
    assert not program.sites and words in program.skips[0].reason


@pytest.mark.parametrize("case", ["standardised", "parametrised", "chomped"])
def test_a_loader_resizes_the_authors_class(case: str, tmp_path: Path) -> None:
    model, x = built(case)
    supernet = dashfx.rewrite(model, x, SPACE, "fresh").eval()
    plain = dashfx.lower(supernet, choose(supernet, 3)).eval()
    save_model(plain, str(tmp_path / "model.safetensors"))
    write_loader(tmp_path / "load_model.py", plain, model, names=["0"])
    loaded = runpy.run_path(str(tmp_path / "load_model.py"))["load"](built(case)[0])
    torch.testing.assert_close(loaded(x), plain(x))


def test_export(tmp_path: Path) -> None:
    model, x = built("same")
    supernet = dashfx.rewrite(model, x, SPACE, "fresh").eval()
    report = dashfx.export(dashfx.lower(supernet, choose(supernet, 3)), x, tmp_path / "model.onnx")
    assert report.path.is_file()


@pytest.mark.parametrize("make", [lambda: nn.Conv2d(3, 4, 3, padding=1), lambda: Standardised(3, 4, 3, padding=1)])
def test_a_frozen_conv_is_searched_and_frozen_again(make: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(make(), nn.ReLU())
    model[0].weight.requires_grad_(False)
    supernet = dashfx.rewrite(model, torch.randn(2, 3, 9, 9), SPACE)
    assert all(weight.requires_grad for weight in supernet.sites["0"].weights)
    plain = dashfx.lower(supernet, supernet.genotype())
    assert {n: p.requires_grad for n, p in plain.named_parameters()} == {
        n: p.requires_grad for n, p in model.named_parameters()
    }


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, parametrizations.weight_norm], ids=["hook", "parametrization"])
@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
def test_weight_norm_around_a_forward_of_its_own(norm: Callable[[nn.Module], nn.Module], frozen: bool) -> None:
    model, x = nn.Sequential(norm(Causal(2, 4, 5)), nn.Tanh(), norm(Chomped(4, 3, 3, 2))), torch.randn(2, 2, 20)
    if frozen:
        model[0].requires_grad_(False)
    expected = model(x)
    supernet = dashfx.rewrite(model, x, SPACE, init="grow")
    assert set(supernet.sites) == {"0", "2"} and isinstance(supernet.sites["0"], HostedConv)
    torch.testing.assert_close(supernet(x), expected, rtol=1e-4, atol=1e-6)
    for site in supernet.sites.values():
        site.fix(site.candidates.index(dashfx.Candidate(3, 2)))
        site.residual = None
    plain = dashfx.lower(supernet, Genotype(dict.fromkeys(supernet.sites, dashfx.Candidate(3, 2))))
    torch.testing.assert_close(plain(x), supernet(x), rtol=1e-4, atol=1e-6)
    assert list(plain.state_dict()) == list(model.state_dict())
    assert [p.requires_grad for p in plain.parameters()] == [p.requires_grad for p in model.parameters()]
    torch.testing.assert_close(model(x), expected)  # the user's own is as it was
