"""What every part of its kind must hold, whoever wrote it: terms, edits, relaxations, schedules and updates by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engines import BATCH, DATA, alphas, engine, moved, same, state

from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.genotype import Genotype
from dashfx.ops.relaxations import RELAXATIONS
from dashfx.plugins import find
from dashfx.strategies.base import Evaluating, Evaluator
from dashfx.strategies.edits import EDITS
from dashfx.strategies.terms import TERMS, Moment
from dashfx.strategies.updates import UPDATES
from dashfx.train.schedule import SCHEDULES

BUDGETS = ["params=1000"]  # for terms that read what a budget limits
NEEDED = {"learned-cost": "learned-cost:cost=params,networks=20"}  # arguments that hold for a toy


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_a_scalar_with_gradient_whose_state_comes_back(name: str) -> None:
    text = NEEDED.get(name, name)
    made, term = engine(budgets=BUDGETS, warmup=0), find("term", text)
    term.begin(made)
    coef = made.coefficients()
    found = term(Moment(made, BATCH, made.answer(BATCH[0], coef), coef, "both"))
    assert found.shape == () and found.isfinite() and found.requires_grad
    again = find("term", text)
    again.begin(made)
    term.after_epoch(made)
    made.model.eval()  # in training each pass moves what batch norm remembers
    again.load_state_dict(term.state_dict())
    values = [each(Moment(made, BATCH, made.answer(BATCH[0], coef), coef, "both")).detach() for each in (term, again)]
    assert torch.equal(*values)


def rows(path: Path) -> str:
    """A table of all genotypes of the toy, in which k5 d2 does harm in both convs."""
    pairs = product(("3,1", "3,2", "5,1", "5,2"), repeat=2)
    found = [{"genotype": dict(zip(("conv1", "conv2"), p, strict=True)), "valid": -p.count("5,2")} for p in pairs]
    path.write_text(json.dumps({"rows": found}))
    return str(path)


class FewTaps(Evaluator):
    """Worth more with fewer taps."""

    def begin(self, context: Any, engine: Any = None) -> Evaluating:
        def values(genotypes: Sequence[Genotype]) -> list[float]:
            return [-float(sum(choice.taps for choice in each.values())) for each in genotypes]

        return SimpleNamespace(values=values, maximise=True)  # type: ignore[return-value]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_does_the_same_at_every_call(name: str, tmp_path: Path) -> None:
    table = rows(tmp_path / "rows.json")
    needed = {
        "prune-by-importance": f"prune-by-importance:rows={table},drop=2,predictor=ridge",
        "prune-by-norms": f"prune-by-norms:rows={table},drop=2",
        "friendly": "friendly:cost=params",
    }
    edit = find("edit", needed.get(name, name), evaluator=FewTaps())  # of those that take one
    limits = engine(budgets=BUDGETS).limits
    runs: list[Any] = [SimpleNamespace(sites=engine().sites, limits=limits, config=RunConfig()) for _ in range(2)]
    said = [edit.settle(run) for run in runs]
    left = [{place: site.candidates for place, site in run.sites.items()} for run in runs]
    assert said[0] == said[1] and left[0] == left[1] and all(left[0].values())
    edit.settle(runs[0])
    assert {place: site.candidates for place, site in runs[0].sites.items()} == left[0]


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_relaxation_gives_nothing_to_who_has_left_and_is_quiet_without_a_generator(name: str) -> None:
    relaxation, mask = find("relaxation", name), torch.tensor([[True, False, True, True], [False, False, False, True]])
    logits = (relaxation.start(4).double() + torch.arange(1, 5) / 10).repeat(2, 1).requires_grad_()
    before = torch.random.get_rng_state()
    quiet = [relaxation(logits, mask, None) for _ in range(2)]
    noisy = [relaxation(logits, mask, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(*quiet) and torch.equal(*noisy)
    for coef in (quiet[0], noisy[0]):
        assert coef.shape == logits.shape and not coef[~mask].any() and coef.isfinite().all()
        if relaxation.simplex:
            torch.testing.assert_close(coef.sum(-1), torch.ones(2, dtype=torch.float64))
        (slope,) = torch.autograd.grad(coef[:, 2:].sum(), logits, retain_graph=True, allow_unused=True)
        assert slope is None or (slope.isfinite().all() and not slope[~mask].any())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_a_share_of_the_peak(name: str) -> None:
    schedule, config = find("schedule", name), SearchConfig()
    values = [schedule(step / 50, config) for step in range(51)]
    assert all(0 <= value <= 1 for value in values) and max(values) > 0.9
    assert values == [schedule(step / 50, config) for step in range(51)]


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_moves_weights_from_the_first_step_and_mixtures_once_they_may(name: str) -> None:
    made = engine("grow", update=name, warmup=0.5)
    data = made.training_data(DATA)
    batch = data.train.__getitems__(range(16))
    for epoch, warm in ((0, False), (5, True)):
        made.begin_epoch(epoch, 1)
        made.train_mode()
        before, own = alphas(made), state(made)
        loss = made.step(batch)
        assert loss.shape == () and not loss.requires_grad
        assert any(moved(before, alphas(made))) == (warm and made.update.moves_mixtures)
        assert not torch.equal(own["fc.weight"], made.plain.state_dict()["fc.weight"])
    again, kept = engine("grow", update=name, warmup=0.5), made.state_dict()
    again.load_state_dict(kept)
    assert same(state(again), state(made))
