"""The probe: it ranks the planted layer first, as probing each site alone does, and leaves the model as it is."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from engines import TASK, X, engine
from torch import Tensor, nn
from toys import toy_data

import dashfx
from dashfx import SearchSpace
from dashfx.config.run import RetrainConfig
from dashfx.data import Data, load_data
from dashfx.ops import sites_of
from dashfx.strategies.start.probe import _NewTaps, batches_of, gains, left_alone
from dashfx.task import Task, load_task
from dashfx.train.fit import Supervised, fit
from dashfx.train.processes import make_accelerator

CPU = torch.device("cpu")


class Three(nn.Module):
    """Only `far` can gain: `near` sees no signs, and it is signs that tell planted classes; `late` is too coarse."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv1d(1, 8, 3, padding=1)
        self.far = nn.Conv1d(1, 8, 3, padding=1)
        self.late = nn.Conv1d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        early = torch.relu(torch.cat([self.near(x.abs()), self.far(x)], 1))
        return self.fc(torch.relu(self.late(nn.functional.max_pool1d(early, 16))).amax(-1))


@cache
def planted() -> tuple[Data, Task, nn.Module]:
    """Data, task and the supernet of a trained model."""
    data = load_data("planted")
    task = load_task(None, data)
    torch.manual_seed(0)
    model = Three()
    fit(Supervised(model, task, RetrainConfig(epochs=5, batch_size=32), make_accelerator("cpu")), data, stage="retrain")
    return data, task, dashfx.rewrite(model, torch.zeros(2, 1, 96), SearchSpace.product([3, 5, 7], [1, 3, 7]))


def loss_of(model: nn.Module, data: Data, task: Task) -> float:
    x, y = data.valid.__getitems__(range(len(data.valid)))
    with torch.no_grad():
        return float(task.loss(model(x), y))


def gain_alone(name: str) -> float:
    """The plain reference: train this site's candidates and nothing else; what the validation loss loses."""
    data, task, supernet = planted()
    model = copy.deepcopy(supernet)
    before, optimiser = loss_of(model, data, task), torch.optim.Adam(sites_of(model)[name].weights, 3e-3)
    for x, y in batches_of(data, 20, 64, seed=1):
        optimiser.zero_grad()
        task.loss(model(x), y).backward()
        optimiser.step()
    return before - loss_of(model, data, task)


def test_the_planted_layer_gains_most_as_when_probed_alone() -> None:
    data, task, supernet = planted()
    found = gains(supernet, batches_of(data, 30, 64, seed=0), task, CPU)
    alone = {name: gain_alone(name) for name in found}
    assert max(found, key=found.__getitem__) == max(alone, key=alone.__getitem__) == "far"
    assert found["far"] > 3 * max(0, found["near"], found["late"])


def test_the_first_step_gains_what_the_formula_says() -> None:
    data, task, supernet = planted()
    batches = list(batches_of(data, 2, 64, seed=0))
    found = gains(supernet, batches, task, CPU)["far"]
    model = copy.deepcopy(supernet).train()
    site = sites_of(model)["far"]
    new = [torch.tensor([float(tap not in (-1, 0, 1)) for tap in site.spec.offsets(i)[0]]) for i in range(9)]

    def gradient(batch: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [
            g * n
            for g, n in zip(torch.autograd.grad(task.loss(model(batch[0]), batch[1]), site.weights), new, strict=True)
        ]

    first = gradient(batches[0])
    moved = copy.deepcopy(site)
    with torch.no_grad():
        for weight, g in zip(moved.weights, first, strict=True):
            weight += g
        scale = 0.001 * float(site.kernel().norm() / (moved.kernel() - site.kernel()).norm())
    with torch.no_grad():
        for weight, g in zip(site.weights, first, strict=True):
            weight -= scale * g
    expected = scale * sum(float((a * b).sum()) for a, b in zip(first, gradient(batches[1]), strict=True))
    assert found == pytest.approx(expected, rel=0.2)  # the other sites have moved a little too


@pytest.mark.parametrize("kernels", [[3, 5], [3, 5, 7, 9, 11]])
def test_a_step_goes_equally_far_however_many_candidates_share_its_taps(kernels: list[int]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1))
    site = sites_of(dashfx.rewrite(model, X, SearchSpace.product(kernels, [1])))["0"]
    with torch.no_grad():
        before = site.kernel()
        _NewTaps(site).step([torch.ones_like(weight) for weight in site.weights])
        assert float((site.kernel() - before).norm() / before.norm()) == pytest.approx(0.001, rel=1e-4)


def test_the_supernet_stays_and_a_site_without_new_taps_gains_nothing() -> None:
    made = engine("grow")
    made.keep("conv1", [0])
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    found = gains(made.model, batches_of(toy_data(), 4, 16, seed=0), TASK, CPU)
    assert found["conv1"] == 0 != found["conv2"] and not any(p.grad is not None for p in made.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())


def test_new_taps_are_those_that_the_conv_did_not_have() -> None:
    model = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1))
    site = sites_of(dashfx.rewrite(model, X, SearchSpace.product([3, 5], [1, 2])))["0"]
    found = {str(c): taps.tolist() for c, taps in zip(site.candidates, site.new_taps(), strict=True)}
    assert found == {"k3 d1": [0, 0, 0], "k3 d2": [1, 0, 1], "k5 d1": [1, 0, 0, 0, 1], "k5 d2": [1, 1, 0, 1, 1]}


def test_batches_go_round_and_round() -> None:
    data = toy_data()
    batches = list(batches_of(data, 9, 16, seed=0))
    assert [len(x) for x, _ in batches] == [16] * 9 and len(data.train) < 9 * 16
    assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, batches_of(data, 9, 16, seed=0), strict=True))


def test_the_best_share_that_gains_is_searched() -> None:
    gained = {"a": 0.1, "b": -0.2, "c": 0.4, "d": 0.0}
    assert set(left_alone(gained, 0.25)) == {"a", "b", "d"} and set(left_alone(gained, 1.0)) == {"b", "d"}
    assert left_alone(gained, 0.25)["a"] == "the probe ranks it 2 of 4, gain 0.1"
    assert left_alone({"a": -1.0, "b": -2.0}, 0.5).keys() == {"b"}  # the best is searched in any case
