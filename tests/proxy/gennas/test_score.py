"""GenNAS: scores repeat, leave the module alone, fall with training; bad batches and models are refused."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from dashfx.backbones import CifarResNet, ResNet18, WRN1d
from dashfx.errors import ProxyError
from dashfx.proxy import GenNAS

IMAGES = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return CifarResNet(depth=8)


def test_the_score_repeats_and_leaves_module_and_random_state_alone() -> None:
    net, proxy = small_net().eval(), GenNAS("combo", iterations=3)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    first = proxy.score(net, IMAGES)
    torch.rand(5)  # whatever was drawn in between
    assert proxy.score(net, IMAGES) == first
    torch.set_rng_state(state)
    proxy.score(net, IMAGES)
    assert torch.equal(torch.get_rng_state(), state) and not net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert GenNAS("combo", seed=1, iterations=3).score(net, IMAGES) != first


def test_what_the_network_draws_itself_comes_from_the_seed() -> None:
    net, x = WRN1d(3, 3, width=2, dropout=0.5), IMAGES.flatten(2)[..., :64]
    first = GenNAS("single", iterations=2).score(net, x)
    torch.rand(5)
    assert GenNAS("single", iterations=2).score(net, x) == first


@pytest.mark.parametrize("task", ["combo", "single"])
def test_training_lowers_the_score(task: str) -> None:
    scores = [GenNAS(task, iterations=n).score(small_net(), IMAGES) for n in (1, 60)]
    assert scores[1] < scores[0] - 0.05


def test_a_diverged_run_is_the_worst() -> None:
    proxy = GenNAS("single", iterations=30, lr=1e12)
    assert proxy.score(small_net(), IMAGES) == proxy.worst == math.inf


class Tokens(nn.Module):
    def __init__(self, cell: type[nn.RNNBase], batch_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.lower = cell(6, 8, batch_first=batch_first)
        self.upper = cell(8, 10, 2, batch_first=batch_first, bidirectional=True)
        self.decoder = nn.Linear(20, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.upper(self.lower(self.embedding(tokens))[0])[0])


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_networks_learn_sequences(cell: type[nn.RNNBase], batch_first: bool) -> None:
    torch.manual_seed(0)
    net, tokens = Tokens(cell, batch_first), torch.randint(20, (4, 9))
    first, later = (GenNAS("single", iterations=n).score(net, tokens) for n in (1, 100))
    assert later < first - 0.02
    assert GenNAS("single", iterations=1).score(net, tokens) == first


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        (torch.rand(1, 3, 32, 32), "at least two inputs"),
        (torch.rand(2, 3, 4, 32, 32), "at least two inputs"),
        (torch.rand(8), "not one input"),
        (torch.full((2, 3, 32, 32), math.nan), "not finite"),
        ((torch.rand(3, 3, 32, 32), torch.zeros(2)), "2 labels for 3 inputs"),
    ],
)
def test_bad_batches_are_refused_in_one_line(batch: Tensor | tuple[Tensor, Tensor], why: str) -> None:
    with pytest.raises(ProxyError, match=why) as error:
        GenNAS("single", iterations=1).score(small_net(), batch)
    assert "\n" not in str(error.value)


def test_a_model_without_spatial_stages_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(ProxyError, match="no spatial stage"):
        GenNAS("single", iterations=1).score(net, IMAGES)


class Views(nn.Module):
    """Its views need the plain layout of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.after(x.view(x.shape[0], -1).view(x.shape)).mean((-2, -1))


def test_a_model_that_refuses_channels_last_is_scored_all_the_same() -> None:
    first, later = (GenNAS("combo", iterations=n).score(Views(), IMAGES) for n in (1, 30))
    assert later < first < math.inf


def test_few_channels_do_not_crash_the_process() -> None:
    torch.manual_seed(0)
    score = GenNAS("single", iterations=1).score(ResNet18(width=4), torch.randn(4, 3, 48, 48))  # a segmentation fault
    assert math.isfinite(score)
