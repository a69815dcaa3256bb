"""InstaTune: every genotype starts as the model, learns from its answers, and moves what it holds alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from engines import BATCH, TASK, alphas, engine, moved, same, state
from smooth import SmoothNet, batch, smooth
from torch import Tensor, nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.errors import ConfigError
from dashfx.ops import AggConv
from dashfx.ops.ties import tie
from dashfx.strategies.engine import Engine
from dashfx.strategies.updates import Sandwich
from dashfx.strategies.updates.sampled.sandwich import drawn, full, smallest

X = BATCH[0]


def one_hot(sites: Mapping[str, AggConv], places: Mapping[str, int]) -> dict[str, Tensor]:
    """The same as coefficients, which every site mixes its kernels with."""
    return {
        n: F.one_hot(torch.tensor(place), len(sites[n].candidates)).to(sites[n].alpha) for n, place in places.items()
    }


def places_of(made: Engine, draws: int) -> list[dict[str, int]]:
    """The genotypes of the next step; the draws are made from a copy of the generator."""
    again = torch.Generator().manual_seed(0)
    again.set_state(made.generator.get_state())
    fixed = [{name: each(site) for name, site in made.sites.items()} for each in (full, smallest)]
    return fixed + [drawn(made.sites, again) for _ in range(draws)]


def test_every_genotype_starts_as_the_model_that_was_given() -> None:
    torch.manual_seed(0)
    plain = ToyNet(dropout=0.0).eval()
    made = engine("grow", update="sandwich")
    made.model.eval()
    with torch.no_grad():
        expected = plain(X)
        for places in places_of(made, 20):
            torch.testing.assert_close(made.answer(X, one_hot(made.sites, places)), expected)
        made.begin_step(1.0)  # nothing is left of the residual kernels
        whole, *others = (made.answer(X, one_hot(made.sites, places)) for places in places_of(made, 20))
    torch.testing.assert_close(whole, expected)
    assert not all(torch.allclose(other, expected) for other in others)


def test_a_step_moves_only_what_its_genotypes_hold() -> None:
    made = engine("grow", update="sandwich:draws=1", weight_decay=0.1, momentum=0.9)
    for _ in range(6):
        genotypes, before = places_of(made, 1), state(made)
        made.step(BATCH)
        for name, site in made.sites.items():
            held = {places[name] for places in genotypes}
            now = state(made)
            moves = {
                i for i in range(len(site.weights)) if not torch.equal(before[key := f"{name}.weights.{i}"], now[key])
            }
            assert moves == held and 0 < len(held) < 4


def test_the_gradient_is_that_of_labels_and_of_answers_added_up() -> None:
    net = SmoothNet(1)
    net.conv1 = nn.Conv1d(2, 3, 3, padding=2, dilation=2)  # which is not the smallest of its candidates
    made, (x, y) = smooth(update=Sandwich(draws=2, temperature=2.0), net=net, lr=0.1), batch(1, 3)
    (largest, *others), before = places_of(made, 2), [w.detach().clone() for w in made.learning]
    output = made.answer(x, one_hot(made.sites, largest))
    assert largest != others[0]
    loss, told = F.cross_entropy(output, y), (output.detach() / 2).softmax(1)
    for places in others:
        answer = made.answer(x, one_hot(made.sites, places))
        loss = loss + 4 * F.kl_div((answer / 2).log_softmax(1), told, reduction="batchmean")
    expected = torch.autograd.grad(loss, made.learning, allow_unused=True)
    found = made.step((x, y))
    assert float(found) == pytest.approx(float(F.cross_entropy(output, y).detach()))
    for weight, gradient in zip(made.learning, expected, strict=True):
        own = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(own, torch.zeros_like(own) if gradient is None else gradient, rtol=1e-5, atol=1e-7)
    assert any(moved(before, [w.detach() for w in made.learning]))


def test_mixtures_stay_at_the_full_model() -> None:
    made = engine("grow", update="sandwich", warmup=0)
    before = alphas(made)
    for _ in range(3):
        made.step(BATCH)
    assert not any(moved(before, alphas(made)))
    made.model.eval()
    for name, coef in made.coefficients().items():
        whole = F.one_hot(torch.tensor(full(made.sites[name])), 4)
        torch.testing.assert_close(coef, whole.to(coef))
        assert made.sites[name].candidates[full(made.sites[name])] == made.sites[name].original


def test_the_genotypes_of_an_epoch_come_from_its_seed() -> None:
    one, other = (engine("grow", update="sandwich") for _ in range(2))
    for each in (one, other):
        each.begin_epoch(1, 7)
        each.train_mode()
        each.step(BATCH)
    assert same(state(one), state(other))


def test_sites_that_choose_together_are_drawn_alike() -> None:
    made = engine("grow")
    tie(made.sites, "all")
    seen: set[int] = set()
    for _ in range(20):
        places = drawn(made.sites, made.generator)
        assert len(set(places.values())) == 1
        seen |= set(places.values())
    assert seen == {0, 1, 2, 3}


def test_candidates_that_have_left_are_not_drawn() -> None:
    made = engine("grow")
    site = made.sites["conv1"]
    site.mask[:2] = False
    assert full(site) == 2 and smallest(site) == 2  # 5 taps, the narrower one
    assert {drawn(made.sites, made.generator)["conv1"] for _ in range(20)} == {2, 3}


def test_what_it_cannot_do_is_one_line() -> None:
    config = {**FAST, "search": {**FAST["search"], "strategy": "dash", "update": "sandwich"}}
    with pytest.raises(ConfigError, match=r"leaves mixtures as they are.*--evaluator supernet"):
        dashfx.search(ToyNet, toy_data(), config=config)
    with pytest.raises(ConfigError, match="give its Task an `average`"):
        made = engine("grow")
        Engine(made.plain, replace(TASK, average=None), made.config, made.accelerator, Sandwich())
