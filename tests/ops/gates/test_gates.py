"""Gates: exact in value, with the slopes that they promise; and the mixtures that hold them."""

from __future__ import annotations

import pytest
import torch

from dashfx.ops.gates import GATES, ChannelGates, GatedChannels, SigmoidGates, Taylor, TrainableGate, trainable_gate

W = torch.linspace(-2, 2, 4001, dtype=torch.float64)[1:-1] + 1e-7


@pytest.mark.parametrize(("slope", "m"), [(1.0, 1e3), (0.3, 50.0)])
def test_a_trainable_gate_is_a_step_with_a_slope(slope: float, m: float) -> None:
    w = W.clone().requires_grad_()
    value = trainable_gate(w, slope, m)
    step = (W > 0).double()
    assert float((value - step).detach().abs().max()) <= slope / m * (1 + 1e-9)
    (gradient,) = torch.autograd.grad(value.sum(), w)
    torch.testing.assert_close(gradient, torch.full_like(W, slope), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", GATES)
def test_gates_begin_open_and_closed_ones_are_zero(name: str) -> None:
    gate = GATES[name]()
    mask = torch.tensor([True, True, False])
    values = gate(gate.start(3), mask, None)
    assert not gate.simplex and bool((values[:2] > 0.9).all()) and values[2] == 0


def test_the_gradient_of_a_taylor_gate_is_its_channels() -> None:
    mixture = GatedChannels("conv", 3, Taylor())
    (mixture() * torch.tensor([1.0, -2.0, 0.0])).sum().backward()
    mixture.look()
    (mixture() * torch.tensor([1.0, 0.0, 0.0])).sum().backward()  # gradients add up where nobody clears them
    mixture.look()
    torch.testing.assert_close(mixture.worth(), torch.tensor([(1 + 4) / 2, (4 + 4) / 2, 0.0]))
    mixture.forget()
    assert mixture.worth().tolist() == [0, 0, 0]


def test_lambda_rises_while_too_few_leave_and_falls_else() -> None:
    gate = SigmoidGates(step=0.5)
    told = []
    for left in (0, 1, 2, 5, 0):
        gate.after_pruning(left, 2)
        told.append(gate.lam)
    assert told == [0.5, 1.0, 0.5, 0.25, 0.75]
    again = SigmoidGates()
    again.load_state_dict(gate.state_dict())
    assert again.lam == gate.lam


def test_the_price_of_resources_by_hand() -> None:
    gate = SigmoidGates()
    gate.lam = 2.0
    values, each = torch.tensor([0.2, 0.6, 0.0]), torch.tensor([0.5, 0.25, 9.0])
    expected = 2 * (0.5 * torch.log1p(torch.tensor(0.5)) + 0.25 * torch.log1p(torch.tensor(1.5)))
    torch.testing.assert_close(gate.penalty(values, each, torch.tensor(1.0), 0.5), expected)
    trainable = TrainableGate(rho=3.0)
    torch.testing.assert_close(trainable.penalty(values, each, torch.tensor(0.9), 0.5), torch.tensor(3 * 0.16))
    assert trainable.penalty(values, each, torch.tensor(0.4), 0.5) == 0


def test_gates_of_a_model_are_in_the_order_of_its_channels() -> None:
    gates = ChannelGates({"a": (0, 2), "b": (3, 1)}, TrainableGate())
    a, b = gates.mixtures
    assert gates.joined([torch.tensor([10, 12]), torch.tensor([13, 11])]).tolist() == [10, 11, 12, 13]
    gates.close([2, 3])
    assert a.mask.tolist() == [True, False] and b.mask.tolist() == [False, True]
    assert gates.mask.tolist() == [True, True, False, False]
    assert (gates() > 0).tolist() == [True, True, False, False]


def test_some_channels_of_a_group_alone() -> None:
    mixture = GatedChannels("conv", 4, TrainableGate())
    with torch.no_grad():
        mixture.alpha.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    left = mixture.only(3, 1)
    assert left.candidates == (3, 1) and left.alpha.tolist() == [4, 2] and left.kept.tolist() == [3, 1]
    assert len(mixture.candidates) == 4
