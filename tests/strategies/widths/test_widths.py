"""Widths: what they cost, which channels leave, and a gated model that becomes a narrower one."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from widths_nets import Drawn

from dashfx.config.search import SearchConfig
from dashfx.cost.counts import flops_of, parameters_of
from dashfx.cost.macs import Macs
from dashfx.cost.parameters import Parameters
from dashfx.data import load_data
from dashfx.frontend.tracing import Program, trace
from dashfx.ops.gates import Gate, SigmoidGates, Taylor, TrainableGate
from dashfx.passes.narrow import Channels, channels_of, narrowed
from dashfx.strategies.widths import Gated, WidthCost
from dashfx.strategies.widths.costs import leaving
from dashfx.task import Task
from dashfx.task.load import load_task

NET = Drawn((("grouped", True, 0), ("concat", True, 0), ("gated", True, 0), ("scaled", False, 0)), flat=True)
X = NET.example()


@pytest.fixture(scope="module")
def program() -> Program:
    return trace(NET.model(), X)


@pytest.fixture(scope="module")
def channels(program: Program) -> Channels:
    return channels_of(program)


def kept(channels: Channels, seed: int) -> dict[str, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    drawn = {g.name: (torch.rand(len(g.units), generator=generator) < 0.6).nonzero().flatten() for g in channels.groups}
    return {name: places.tolist() or [0] for name, places in drawn.items()}


@pytest.mark.parametrize("seed", range(3))
def test_costs_are_those_of_the_narrower_model(program: Program, channels: Channels, seed: int) -> None:
    widths = kept(channels, seed)
    stays = torch.tensor(channels.kept(widths))
    narrow = narrowed(NET.model(), X, widths)
    macs = WidthCost.of(channels, program, Macs(), 1.0)
    assert float(macs.total(stays)) == pytest.approx(flops_of(narrow, X[:1]) / 2, rel=1e-12)
    parameters = WidthCost.of(channels, program, Parameters(), 1.0)
    assert float(parameters.total(stays)) == pytest.approx(parameters_of(narrow), rel=1e-12)


@pytest.mark.parametrize("cost", [Macs(), Parameters()])
def test_what_a_channel_costs_is_the_difference_without_it(program: Program, channels: Channels, cost: object) -> None:
    known = WidthCost.of(channels, program, cost, 1.0)  # type: ignore[arg-type]
    stays = torch.tensor(channels.kept(kept(channels, 1)))
    each = known.each(stays)
    for unit in stays.nonzero().flatten().tolist():
        without = stays.clone()
        without[unit] = False
        assert float(each[unit]) == pytest.approx(float(known.total(stays) - known.total(without)), rel=1e-9)


def test_the_least_worth_for_its_cost_leaves_first_and_every_group_keeps_one(
    program: Program, channels: Channels
) -> None:
    groups = [group.units for group in channels.groups]
    cost = WidthCost.of(channels, program, Macs(), 1.0)
    stays = torch.ones(channels.count, dtype=torch.bool)
    worth = torch.arange(1.0, channels.count + 1)
    whole = float(cost.total(stays))
    gone = leaving(worth, stays, groups, cost, 0.7 * whole, 0.0)
    first = int((worth / cost.each(stays)).argmin())
    assert gone[0] == first and stays.all()
    left = stays.clone()
    left[gone] = False
    assert float(cost.total(left)) <= 0.7 * whole
    left[gone[-1]] = True
    assert float(cost.total(left)) > 0.7 * whole  # not one more than has to
    all_gone = leaving(worth, stays, groups, cost, 0.0, 0.0)
    left[:] = True
    left[all_gone] = False
    assert [int(left[list(units)].sum()) for units in groups] == [1] * len(groups)
    half = leaving(worth, stays, groups, cost, 0.0, 0.5)
    assert len(half) == sum(len(units) // 2 for units in groups)


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(48, 2, 8, generator=generator), torch.randint(0, 3, (48,), generator=generator)


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("classify", load_data(rows()))


def gated(task: Task, gate: Gate, share: float = 0.5, epochs: int = 4) -> Gated:
    """A gated net, to half of its multiply-adds."""
    program = trace(NET.model(torch.float32), NET.example(torch.float32))
    channels = channels_of(program)
    whole = Macs().whole(program)
    cost = WidthCost.of(channels, program, Macs(), share * whole)
    config = SearchConfig(epochs=epochs, lr=0.01)
    return Gated(program.model, channels, [cost], gate, task, config, Accelerator(cpu=True))


def train(learner: Gated, first: int, last: int) -> None:
    """Epochs of three steps."""
    x, y = rows()
    epochs = learner.config.epochs
    learner.train_mode()
    for epoch in range(first, last):
        torch.manual_seed(epoch)
        for step in range(3):
            learner.begin_step((epoch + step / 3) / epochs)
            learner.step((x[16 * step : 16 * step + 16], y[16 * step : 16 * step + 16]))
        learner.finished(epoch)


@pytest.mark.parametrize("gate", [Taylor(), TrainableGate(), SigmoidGates()])
def test_a_gated_model_becomes_the_narrower_one_within_its_budget(task: Task, gate: Gate) -> None:
    learner = gated(task, gate)
    train(learner, 0, 4)
    x = NET.example(torch.float32)
    learner.model.eval()
    expected = learner.model(x).detach()
    costs = [each.cost for each in learner.log]
    assert all(a >= b for a, b in pairwise(costs)) and costs[-1] < costs[0] <= learner.costs[0].most * 2
    keys = NET.model().state_dict().keys()
    model, places = learner.released()
    assert model.state_dict().keys() == keys and not any(m._forward_pre_hooks for m in model.modules())
    narrow = narrowed(model, x, places)
    torch.testing.assert_close(narrow(x), expected, rtol=1e-4, atol=1e-5)
    share = flops_of(narrow, x[:1]) / flops_of(NET.model(torch.float32), x[:1])
    assert 0.4 < share <= 0.5


def test_a_killed_training_goes_on_bit_for_bit(task: Task) -> None:
    whole, begun = gated(task, SigmoidGates()), gated(task, SigmoidGates())
    train(whole, 0, 3)
    train(begun, 0, 2)
    state = copy.deepcopy(begun.state_dict())
    again = gated(task, SigmoidGates())
    again.load_state_dict(state)
    train(again, 2, 3)
    for key, value in whole.state_dict()["model"].items():
        assert torch.equal(value, again.state_dict()["model"][key]), key
    logs = [[(each.epoch, each.cost, each.widths) for each in learner.log] for learner in (again, whole)]
    assert logs[0] == logs[1] and again.gate.state_dict() == whole.gate.state_dict()


def test_gates_that_are_all_open_change_nothing(task: Task) -> None:
    learner = gated(task, Taylor())
    learner.model.eval()
    x = NET.example(torch.float32)
    plain: nn.Module = NET.model(torch.float32)
    torch.testing.assert_close(learner.model(x), plain(x), rtol=1e-6, atol=1e-7)
