"""Relaxations give points of the simplex, zero where masked, and draw noise only from a generator."""

import pytest
import torch

from dashfx.ops.relaxations import Progress, SoftGumbel, Softmax

LOGITS = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
ALIVE = torch.ones(4, dtype=torch.bool)


@pytest.mark.parametrize("relaxation", [SoftGumbel(0.5), Softmax(0.5)])
def test_without_generator_it_is_the_softmax_and_draws_nothing(relaxation):
    state = torch.random.get_rng_state()
    coef = relaxation(LOGITS, ALIVE, None)
    assert torch.allclose(coef, (LOGITS.log_softmax(-1) / 0.5).softmax(-1))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("relaxation", [SoftGumbel(), Softmax()])
def test_masked_candidates_get_exactly_zero_and_finite_gradients(relaxation):
    mask = torch.tensor([[True, False, True, False], [False, False, False, True]])
    logits = LOGITS.repeat(2, 1).requires_grad_()
    coef = relaxation(logits, mask, torch.Generator().manual_seed(0))
    assert torch.equal(coef == 0, ~mask)
    assert torch.allclose(coef.sum(-1), torch.ones(2, dtype=torch.float64))
    assert coef[1, 3] == 1
    coef[:, 2].sum().backward()
    assert logits.grad.isfinite().all() and (logits.grad[~mask] == 0).all()


def test_noise_comes_from_the_generator_and_is_gumbel():
    draw = SoftGumbel(0.01)
    logits = LOGITS.repeat(20000, 1)
    one, again = (draw(logits, ALIVE, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, again)
    # Gumbel-max: at a low temperature candidate i wins with probability softmax(logits)_i
    wins = (one > 0.5).double().mean(0)
    assert torch.allclose(wins, LOGITS.softmax(-1), atol=0.015)


def test_the_temperature_falls_by_equal_factors_and_its_state_comes_back() -> None:
    falling = SoftGumbel(4.0, 1.0)
    temperatures = []
    for share in (0.0, 0.5, 1.0):
        falling.begin(Progress(0, share, True))
        temperatures.append(falling.temperature)
    assert temperatures == [4.0, 2.0, 1.0]
    again = SoftGumbel(4.0, 1.0)
    again.load_state_dict(falling.state_dict())
    assert again.temperature == 1.0


def test_temperature_is_a_plain_attribute():
    relaxation = SoftGumbel(1.0)
    relaxation.tau = 0.1
    assert relaxation(LOGITS, ALIVE, None)[2] > 0.99
    relaxation.after_step(None)


def test_a_noise_of_exactly_zero_leaves_a_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exponential of 0 would be Gumbel noise of infinity, and two of them a softmax of NaN."""
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, generator: self.zero_())
    coef = SoftGumbel()(torch.zeros(3), torch.ones(3, dtype=torch.bool), torch.Generator())
    torch.testing.assert_close(coef, torch.full((3,), 1 / 3))
