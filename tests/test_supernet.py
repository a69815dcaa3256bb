"""rewrite and lower from the outside: what a supernet is, what may be asked for, and what is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dashfx
from dashfx import Candidate, Genotype, SearchSpace, Supernet
from dashfx.cost.counts import Taps
from dashfx.errors import ConfigError, GenotypeError, ModelError, SpaceError
from dashfx.ops import sites_of

X = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
SPACE = SearchSpace.product([3, 5], [1, 2])


class Net(nn.Module):
    scale = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 5, padding=2, bias=False)
        self.fc = nn.Linear(4, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.fc(self.features(x).mean((2, 3)))


def supernet(**options: Any) -> Any:
    torch.manual_seed(0)
    return dashfx.rewrite(Net(), X, SPACE, **options)


def test_a_supernet_is_the_users_model() -> None:
    net = supernet()
    assert isinstance(net, Net) and isinstance(net, Supernet) and type(net).__name__ == "SuperNet"
    assert net.features(X).shape == (2, 4, 12, 12) and net.scale == 2.0
    assert list(net.sites) == ["conv1", "conv2"] and net.sites["conv1"] is net.conv1
    with pytest.raises(AttributeError, match="nothing"):
        _ = net.nothing


def test_supernets_can_be_copied_saved_and_moved() -> None:
    net = supernet().double()
    twin = copy.deepcopy(net)
    assert torch.equal(twin(X.double()), net(X.double())) and twin.sites["conv1"] is not net.sites["conv1"]
    other = supernet(init="fresh").double()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(X.double()), net(X.double()))
    assert dashfx.lower(twin, twin.genotype()).conv1.weight.dtype is torch.float64


def test_genotypes_follow_the_rule() -> None:
    net = supernet()
    net.conv1.alpha.data[2] = 1.0
    assert net.genotype()["conv1"] == net.conv1.candidates[2] and net.genotype().rule == "argmax"
    assert net.genotype("energy").rule == "energy"
    with pytest.raises(ConfigError, match="did you mean 'argmax'"):
        net.genotype("argmx")


def test_a_model_that_is_one_conv_says_so() -> None:
    with pytest.raises(ModelError, match=r"no conv to search \(the model itself is one conv: wrap it"):
        dashfx.rewrite(nn.Conv1d(2, 2, 3), torch.randn(2, 2, 8), SPACE)


def test_include_and_exclude() -> None:
    assert list(supernet(exclude=["conv1"]).sites) == ["conv2"]
    assert list(supernet(include=["*2"]).sites) == ["conv2"]
    with pytest.raises(ModelError, match=r"no conv to search \(conv1: not included by stem\*; conv2"):
        supernet(include=["stem*"])


def test_lower_gives_the_users_class_back_and_leaves_the_supernet() -> None:
    net = supernet()
    genotype = Genotype({"conv1": Candidate((5, 5), (2, 2)), "conv2": Candidate((3, 3))})
    plain = dashfx.lower(net, genotype)
    assert type(plain) is Net and not hasattr(plain, "_example")
    assert plain.conv1.kernel_size == (5, 5) and plain.conv1.dilation == (2, 2) and plain.conv2.kernel_size == (3, 3)
    assert torch.equal(plain.fc.weight, net.fc.weight) and len(net.conv1.candidates) == 4
    with pytest.raises(ModelError, match=r"expected what dashfx\.rewrite returned, got Net"):
        dashfx.lower(plain, genotype)


def test_fresh_weights_when_lowering() -> None:
    net = supernet()
    torch.manual_seed(1)
    first = dashfx.lower(net, net.genotype(), weights="fresh")
    torch.manual_seed(1)
    assert torch.equal(dashfx.lower(net, net.genotype(), weights="fresh").conv1.weight, first.conv1.weight)
    assert not torch.equal(first.fc.weight, net.fc.weight)


def test_rewriting_twice() -> None:
    net = supernet()
    plain = dashfx.lower(net, net.genotype())
    again = dashfx.rewrite(plain, X, SPACE)
    torch.testing.assert_close(again(X), plain(X))
    assert type(dashfx.lower(again, again.genotype())) is Net


def test_a_supernet_is_not_rewritten_again() -> None:
    net = supernet()
    with pytest.raises(ModelError, match="the model is a supernet already: rewrite what it was made from"):
        dashfx.rewrite(net, X, SearchSpace.product([7]))
    with pytest.raises(ModelError, match="Sequential has a supernet at '0'"):
        dashfx.rewrite(nn.Sequential(net), X, SearchSpace.product([7]))


def test_wrappers_are_to_be_taken_off_before_lowering() -> None:
    net = supernet()
    with pytest.raises(ModelError, match=r"got DataParallel: pass \.module"):
        dashfx.lower(nn.DataParallel(net), net.genotype())


@pytest.mark.parametrize("init", ["grow", "fresh"])
def test_supernets_are_pickled_whole(init: str, tmp_path: Path) -> None:
    net = supernet(init=init)
    net.conv1.alpha.data[1] = 1.0
    net.conv2.generator = torch.Generator().manual_seed(0)
    torch.save(net, tmp_path / "net.pt")
    for twin in (torch.load(tmp_path / "net.pt", weights_only=False), pickle.loads(pickle.dumps(net))):
        assert type(twin) is type(net) and list(twin.sites) == list(net.sites)
        assert torch.equal(twin.eval()(X), net.eval()(X)) and twin.genotype() == net.genotype()
        plain = dashfx.lower(twin, twin.genotype())
        assert type(plain) is Net and torch.equal(plain(X), dashfx.lower(net, net.genotype())(X))


def test_parameters_are_sorted_into_weights_and_mixtures() -> None:
    net = supernet()
    arch, weights = net.arch_parameters(), net.weight_parameters()
    assert [id(p) for p in arch] == [id(net.conv1.alpha), id(net.conv2.alpha)]
    assert sorted(map(id, [*arch, *weights])) == sorted(map(id, net.parameters()))


def test_progress_fades_residuals_and_cools_mixtures() -> None:
    net = supernet(init="grow")
    found = []
    for share in (0.0, 0.25, 0.5, 1.0):
        net.progress(share, faded=0.5, tau=(4.0, 1.0))
        found.append((float(net.conv2.fade), net.conv2.relaxation.temperature))
    assert found[0] == (1.0, 4.0) and found[1] == (pytest.approx(0.5), pytest.approx(4**0.75))
    assert found[2] == (0.0, pytest.approx(2.0)) and found[3] == (0.0, pytest.approx(1.0))
    net.progress(0.5)
    assert 0 < float(net.conv2.fade) < 1 and net.conv2.relaxation.temperature == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"1\.5 is not between 0 and 1: give step / steps"):
        net.progress(1.5)


def test_the_cost_is_that_expected_under_the_mixtures() -> None:
    net = supernet()
    for site in net.sites.values():
        site.fix(3)  # the widest: 5 taps, 2 apart, over 12 positions
    assert float(net.cost().detach()) == pytest.approx(9 / 12) and float(net.cost("taps").detach()) == 1
    for site in net.sites.values():
        site.free()
    (gradient, _) = torch.autograd.grad(net.cost(Taps()), net.arch_parameters())
    assert gradient[0] < 0 < gradient[3]  # descent favours the small kernel
    with pytest.raises(ConfigError, match="did you mean 'span'"):
        net.cost("spam")


class Priced(Net):
    def cost(self) -> str:
        return "the user's own"


def test_a_method_of_the_users_stays() -> None:
    net = dashfx.rewrite(Priced(), X, SPACE)
    assert net.cost() == "the user's own" and Supernet.cost(net).requires_grad


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_lowering_says_that_residuals_are_lost(share: float, caplog: pytest.LogCaptureFixture) -> None:
    net = dashfx.rewrite(Net(), X, SearchSpace.product([3], [1]))  # conv2 has 5 taps
    net.progress(share)
    dashfx.lower(net, net.genotype())
    assert ("the original kernels still count at 1 sites (conv2 first)" in caplog.text) == (share == 0)


@pytest.mark.parametrize("init", ["grow", "fresh"])
def test_specialise_gives_the_genotype_without_a_search(init: str) -> None:
    model = Net()
    choice = Candidate((5, 5))
    plain = dashfx.specialise(model, X, Genotype({"conv1": choice}), init)
    assert (
        type(plain) is Net and plain.conv1.kernel_size == (5, 5) and torch.equal(plain.conv2.weight, model.conv2.weight)
    )
    middle = plain.conv1.weight[..., 1:4, 1:4]
    assert torch.equal(middle, model.conv1.weight) == (init == "grow")
    if init == "grow":
        torch.testing.assert_close(plain(X), model(X))  # the original's taps all lie in the new support


def test_specialise_drops_what_lies_outside_the_support() -> None:
    model = Net()
    plain = dashfx.specialise(model, X, Genotype({"conv2": Candidate((3, 3))}))
    assert torch.equal(plain.conv2.weight, model.conv2.weight[..., 1:4, 1:4])


def test_specialise_refuses_what_does_not_fit() -> None:
    with pytest.raises(SpaceError, match="empty genotype"):
        dashfx.specialise(Net(), X, Genotype())
    with pytest.raises(GenotypeError, match=r"names 'conv3'.*did you mean"):
        dashfx.specialise(Net(), X, Genotype({"conv1": Candidate((3, 3)), "conv3": Candidate((3, 3))}))


def test_names_with_glob_characters() -> None:
    model = nn.ModuleDict({"a[0]": nn.Conv2d(1, 2, 3), "a*": nn.Conv2d(2, 2, 3)})
    net = nn.Sequential(*model.values())
    net._modules = dict(model._modules)  # names that only ModuleDict would take
    plain = dashfx.specialise(net, X, Genotype({"a[0]": Candidate((5, 5)), "a*": Candidate((1, 1))}))
    assert [m.kernel_size for m in plain] == [(5, 5), (1, 1)]


def test_a_model_without_convs() -> None:
    with pytest.raises(ModelError, match="it has no convs"):
        dashfx.rewrite(nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), X, SPACE)


def test_pointwise_convs_only() -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(5)))
    with pytest.raises(ModelError, match=r"0: pointwise.*; and 2 more, see `dashfx check`"):
        dashfx.rewrite(model, X, SPACE)


def test_gradients_reach_every_candidate_and_the_logits() -> None:
    net = supernet()
    net(X).square().sum().backward()
    for aggconv in sites_of(net).values():
        assert aggconv.alpha.grad is not None
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in aggconv.weights)
