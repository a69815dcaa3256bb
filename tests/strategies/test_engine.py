"""The engine and the two ways of learning a mixture: what moves when, what the loss is, where noise is drawn."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engines import BATCH, DATA, alphas, engine, moved, same, state, weights
from torch import Tensor, nn
from toys import ToyNet

from dashfx.strategies.engine import hold_out, mixing
from dashfx.train.batchnorm import recalibrate
from dashfx.train.fit import fit


@pytest.mark.parametrize("family", ["dense", "beside"])
def test_nothing_is_kept_of_candidates_that_have_left(family: str) -> None:
    """Neither gradients nor what an optimiser remembers."""
    made = engine(family=family, momentum=0.9)
    made.step(BATCH)
    site = made.sites["conv1"]
    gone = [weakref.ref(weight) for weight in site.weights[1:]]
    moments = [weakref.ref(made.optimisers["weights"].state[weight]["momentum_buffer"]) for weight in site.weights[1:]]
    assert gone and all(each() is not None for each in moments)
    made.keep("conv1", [0])
    gc.collect()
    assert not any(each() is not None for each in (*gone, *moments))
    held = {p for group in made.optimisers["weights"].param_groups for p in group["params"]}
    assert set(made.optimisers["weights"].state) <= held and set(site.weights) <= held


def test_every_parameter_belongs_to_one_optimiser() -> None:
    made = engine()
    held = [p for o in made.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in made.model.parameters()} and len(held) == len(set(map(id, held)))
    assert len(made.alphas) == 2


@pytest.mark.parametrize("update", ["one-level", "first-order"])
def test_mixtures_wait_for_the_warm_up(update: str) -> None:
    made = engine(update=update, warmup=0.5)
    data = made.training_data(DATA)
    for epoch, warm in ((4, False), (5, True)):
        made.begin_epoch(epoch, 1)
        made.model.train()
        before, own = alphas(made), state(made)
        made.step(data.train.__getitems__(range(16)))
        assert moved(before, alphas(made)) == [warm] * 2
        # a bias in front of a batch norm has the gradient 0: whether it moves is up to rounding
        learn = {name for name, _ in made.model.named_parameters() if not name.endswith("alpha")} - {"conv1.bias"}
        now = state(made)
        assert learn and not any(torch.equal(now[name], own[name]) for name in learn)


def test_one_level_learns_both_from_the_training_batch() -> None:
    made = engine(warmup=0, cost_weight=0)
    coef = made.coefficients()
    made.begin_epoch(0, 1)  # the same noise again
    expected = torch.autograd.grad(made.loss(BATCH, coef=coef), made.alphas)
    made.begin_epoch(0, 1)
    made.step(BATCH)
    for alpha, gradient in zip(made.alphas, expected, strict=True):
        torch.testing.assert_close(alpha.grad, gradient)


def test_first_order_learns_the_mixture_from_rows_that_the_weights_never_see() -> None:
    made = engine(update="first-order", warmup=0, held_out=0.25)
    kept = made.training_data(DATA)
    assert len(kept.train) == round(0.75 * len(DATA.train)) and kept.valid is DATA.valid
    seen: list[Tensor] = []
    held = {
        tuple(row.flatten().tolist())
        for row in made._held_data.train.__getitems__(range(len(made._held_data.train)))[0]
    }
    train = {tuple(row.flatten().tolist()) for row in kept.train.__getitems__(range(len(kept.train)))[0]}
    assert not held & train and len(held | train) == len(DATA.train)
    loss = made.loss
    made.loss = lambda batch, **rest: seen.append(batch[0]) or loss(batch, **rest)
    for start in range(0, 32, 16):
        made.step(kept.train.__getitems__(range(start, start + 16)))
    rows = [{tuple(row.flatten().tolist()) for row in x} for x in seen]
    assert all(part <= train for part in rows[::2]) and all(part <= held for part in rows[1::2])


def test_first_order_asks_for_no_held_out_loss_while_mixtures_wait() -> None:
    made = engine(update="first-order", warmup=0.5)
    batch, loss, parts = made.training_data(DATA).train.__getitems__(range(16)), made.loss, []
    made.loss = lambda batch, **rest: parts.append(rest["part"]) or loss(batch, **rest)
    made.step(batch)
    assert parts == ["weights"]
    made.begin_epoch(5, 1)
    made.step(batch)
    assert parts == ["weights", "weights", "alphas"]


def test_first_order_does_not_move_weights_by_held_out_rows() -> None:
    made, other = (engine(update="first-order", warmup=0, cost_weight=0) for _ in range(2))
    batch = made.training_data(DATA).train.__getitems__(range(16))
    other.training_data(DATA)
    held = other._held_data
    other._held_data = type(held)(**{**vars(held), "train": held.train.subset(np.arange(3))})
    made.step(batch)
    other.step(batch)
    assert not any(moved(weights(made), weights(other)))
    assert any(moved(alphas(made), alphas(other)))


def test_held_out_rows_are_the_same_every_time() -> None:
    first, second = hold_out(DATA, 0.3), hold_out(DATA, 0.3)
    assert all(np.array_equal(a.train.index, b.train.index) for a, b in zip(first, second, strict=True))


def test_the_loss_is_a_function_of_weights_and_coefficients() -> None:
    made = engine(cost_weight=0)
    coef = made.coefficients()
    mine = dict(made.model.named_parameters())
    assert torch.equal(made.loss(BATCH, coef=coef), made.loss(BATCH, mine, coef))
    zeros = {name: torch.zeros_like(p) for name, p in mine.items()}
    assert float(made.loss(BATCH, zeros, coef).detach()) == pytest.approx(np.log(3), rel=1e-5)
    assert all(site.given is None for site in made.sites.values())
    assert any(moved(weights(made), [torch.zeros_like(weight) for weight in weights(made)]))


def test_the_cost_is_part_of_the_loss_after_the_warm_up() -> None:
    made = engine(cost_weight=2.0, cost="taps", warmup=0.5)
    coef = {name: torch.nn.functional.one_hot(torch.tensor(3), 4).float() for name in made.sites}
    without = made.loss(BATCH, coef=coef)
    made.warm = True
    assert float((made.loss(BATCH, coef=coef) - without).detach()) == pytest.approx(2.0)  # the largest has a share of 1


def test_coefficients_are_those_that_a_site_would_draw_alone() -> None:
    made = engine()
    made.sites["conv1"].mask[1] = False
    made.model.eval()
    for name, coef in made.coefficients().items():
        torch.testing.assert_close(coef, made.sites[name].coefficients())
    made.model.train()
    noisy = made.coefficients()
    assert all(float(c.sum().detach()) == pytest.approx(1) for c in noisy.values()) and float(noisy["conv1"][1]) == 0
    assert any(moved([noisy["conv2"].detach()], [made.sites["conv2"].coefficients().detach()]))


def test_noise_depends_on_the_epochs_seed_only() -> None:
    def drawn(seed: int) -> list[Tensor]:
        made = engine()
        made.begin_epoch(0, seed)
        torch.rand(7)
        return [c.detach() for c in made.coefficients().values()]

    assert not any(moved(drawn(3), drawn(3))) and all(moved(drawn(3), drawn(4)))


def test_mixing_gives_the_sites_back_even_after_an_error() -> None:
    made = engine()
    with pytest.raises(ZeroDivisionError), mixing(made.sites, made.coefficients()):
        assert all(site.given is not None for site in made.sites.values())
        1 / 0  # noqa: B018
    assert all(site.given is None for site in made.sites.values())


def test_temperature_and_fade_follow_their_schedules() -> None:
    made = engine("grow", tau=(4.0, 1.0), fade=0.5)
    found = []
    for epoch in (0, 5, 9):
        made.begin_epoch(epoch, 1)
        found.append((made.relaxation.temperature, float(made.sites["conv1"].fade)))
    assert found[0] == (4.0, 1.0) and found[1] == (2.0, 0.0) and 1 < found[2][0] < 2


def test_a_residual_fades_at_every_step() -> None:
    made, found = engine("grow", fade=1.0, epochs=3), []
    for progress in (0.0, 0.1, 1 / 3, 0.5, 2 / 3, 0.9):
        made.begin_step(progress)
        found.append(float(made.sites["conv1"].fade))
    assert found[0] == 1 and found[4:] == [0, 0] and found == sorted(found, reverse=True) and len(set(found)) == 5


def test_freezing_leaves_all_but_the_searched_convs_as_they_are() -> None:
    made = engine("grow", freeze="unsearched", epochs=2, lr=0.1)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    fit(made, DATA, stage="search")
    changed = {name for name, value in made.model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"conv1", "conv2"} and "conv1.bias" in changed
    assert all(p.requires_grad for p in made.model.parameters())  # whatever retrains the model may train all of it


def test_the_rest_learns_at_its_own_rate() -> None:
    def steps(lr_rest: float) -> dict[str, Tensor]:
        made = engine("grow", epochs=1, schedule="constant", momentum=0.0, weight_decay=0.0, clip=0, lr_rest=lr_rest)
        before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
        one_batch = replace(DATA, train=DATA.train.subset(np.arange(16)))
        fit(made, one_batch, stage="search")
        return {name: p.detach() - before[name] for name, p in made.model.named_parameters()}

    full, tenth = steps(1.0), steps(0.1)
    for name, step in full.items():
        if not name.endswith("alpha"):
            torch.testing.assert_close(tenth[name], step if name.startswith("conv") else 0.1 * step)


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_no_residual_is_left_in_the_last_epoch(epochs: int) -> None:
    made = engine("grow", fade=1.0, epochs=epochs)
    made.begin_epoch(epochs - 1, 1)
    assert all(float(site.fade) == 0 for site in made.sites.values())


def test_sites_share_the_engines_relaxation() -> None:
    made = engine()
    assert all(site.relaxation is made.relaxation for site in made.sites.values())


def test_a_search_that_has_settled_stops() -> None:
    def fitted(**options: Any) -> int:
        return len(fit(engine(alpha_lr=1e-6, **options), DATA, stage="search").history)

    assert fitted(patience=0) == 10
    assert fitted(patience=2, warmup=0.2, fade=0.5) == 8  # 5 epochs of fading, and two more without a change


def test_a_resumed_search_remembers_earlier_choices() -> None:
    first, resumed = engine(patience=2, warmup=0, fade=0), engine(patience=2, warmup=0, fade=0)
    assert [first.finished(epoch) for epoch in range(2)] == [None, None]
    resumed.load_state_dict(first.state_dict())
    assert first.finished(2) == resumed.finished(2) == "no choice has changed for 2 epochs"


def test_a_choice_that_changed_lately_does_not_stop() -> None:
    made = engine(patience=3, warmup=0, fade=0)
    answers = []
    for epoch in range(8):
        made.sites["conv1"].alpha.data.copy_(torch.eye(4)[epoch if epoch < 4 else 3])
        answers.append(made.finished(epoch))
    assert answers == [None] * 6 + ["no choice has changed for 3 epochs"] * 2


def test_mixtures_name_the_top_candidate() -> None:
    made = engine()
    made.sites["conv1"].alpha.data[3] = 3.0
    value, text = made.mixtures()["conv1"]
    assert text == "k5 d2" and value == pytest.approx(float(made.sites["conv1"].coefficients()[3].detach()))


def test_validation_sees_the_norms_of_the_noise_free_mixture() -> None:
    made = engine()
    made.model.norm.running_mean.fill_(100.0)
    made.before_validation(DATA)
    x, _ = DATA.train.__getitems__(range(len(DATA.train)))
    made.model.eval()
    mean = made.model.conv1(x).mean((0, 2)).detach()
    torch.testing.assert_close(made.model.norm.running_mean, mean, rtol=0.05, atol=0.05)


def test_recalibrating_touches_statistics_only() -> None:
    model = ToyNet().train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    momentum = model.norm.momentum
    model.norm.running_mean += 5
    recalibrate(model, [BATCH[0], BATCH[0]])
    torch.testing.assert_close(model.norm.running_mean, model.conv1(BATCH[0]).mean((0, 2)).detach())
    assert model.training and model.norm.momentum == momentum
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    recalibrate(nn.Linear(1, 1), [])  # nothing to do


@pytest.mark.parametrize("update", ["one-level", "first-order"])
@pytest.mark.parametrize("init", ["fresh", "grow"])
def test_a_search_learns(update: str, init: str) -> None:
    made = engine(init, update=update, lr=0.1, epochs=25, cost_weight=0.01)
    fitted = fit(made, DATA, stage="search")
    history = fitted.history
    assert fitted.best_weights == {}  # nothing goes back to an earlier mixture
    assert history[-1].loss < 0.9 * history[0].loss and set(history[-1].mixtures) == {"conv1", "conv2"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_fork_goes_on_as_the_search_would(optimizer: str) -> None:
    made = engine("grow", optimizer=optimizer, warmup=0)
    made.step(BATCH)
    child, before = made.fork(), state(made)
    child.step(BATCH)
    assert same(before, state(made))  # the search itself stays where it is
    made.step(BATCH)
    assert same(state(child), state(made)) and not same(before, state(made))


def test_a_fork_begins_with_what_it_keeps() -> None:
    made = engine("grow", warmup=0, optimizer="adamw")
    made.step(BATCH)
    child = made.fork({"conv1": [1, 3]})
    site, own = made.sites["conv1"], child.sites["conv1"]
    assert own.candidates == (site.candidates[1], site.candidates[3]) and len(site.candidates) == 4
    assert torch.equal(own.alpha, site.alpha[[1, 3]]) and torch.equal(own.weights[1], site.weights[3])
    moments = [each.optimisers["alphas"].state[each.sites["conv1"].alpha]["exp_avg"] for each in (made, child)]
    assert torch.equal(moments[1], moments[0][[1, 3]])
    child.step(BATCH)
    assert child.sites["conv2"].candidates == made.sites["conv2"].candidates
