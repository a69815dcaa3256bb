"""DARTS-PT: what it asks, that rescalings change nothing, what it keeps, and that a killed run asks the rest alike."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import DATA, Interrupt, engine, same, state
from toys import FAST, ToyNet

import dashfx
from dashfx.errors import ConfigError
from dashfx.ops import drop_residuals
from dashfx.strategies.engine import Engine
from dashfx.strategies.judge import Judge
from dashfx.strategies.one_by_one import OneByOne
from dashfx.strategies.rules import Argmax, Perturbation
from dashfx.train.fit import fit
from dashfx.train.progress import Observer


def mixed(seed: int = 0, **options: Any) -> Engine:
    """With logits and weights of a seed."""
    made = engine(rule="perturbation", **options)
    generator = torch.Generator().manual_seed(seed)
    for site in made.sites.values():
        site.alpha.data.normal_(generator=generator)
        for weight in site.weights:
            weight.data.normal_(0, 0.3, generator=generator)
    return made


def chosen(made: Engine) -> Any:
    return Perturbation().judged_by(Judge(made, DATA), made.sites)


def rescaled(made: Engine, seed: int) -> Engine:
    """Other coefficients with the same products of coefficient and weight: the same function."""
    other, generator = copy.deepcopy(made), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for site in other.sites.values():
            before = site.coefficients()
            site.alpha.normal_(0, 2, generator=generator)
            for weight, share in zip(site.weights, before / site.coefficients(), strict=True):
                weight.mul_(share)
    return other


def test_rescalings_that_leave_the_function_alone_never_change_the_choice() -> None:
    changed = 0
    for seed in range(15):
        made = mixed(seed)
        other = rescaled(made, seed)
        assert dict(chosen(made)) == dict(chosen(other))
        changed += dict(Argmax().select(made.sites)) != dict(Argmax().select(other.sites))
    assert changed > 5  # which the largest coefficient sees


class Planted:
    """A judge whose loss only the coefficients of two candidates bring down."""

    def __init__(self, made: Engine) -> None:
        self.made, self.seen = made, []

    def coefficients(self) -> dict[str, torch.Tensor]:
        return {name: site.coefficients().detach() for name, site in self.made.sites.items()}

    def loss(self, coef: Any) -> float:
        self.seen.append(coef)
        return -float(coef["conv1"][2] + coef["conv2"][1])


def test_the_candidate_without_which_most_is_lost_is_kept_however_small_its_share() -> None:
    made = mixed()
    made.sites["conv1"].alpha.data[2] = made.sites["conv2"].alpha.data[1] = -4.0
    judge, before = Planted(made), {name: site.coefficients() for name, site in made.sites.items()}
    found: Any = Perturbation().judged_by(judge, made.sites)  # type: ignore[arg-type]
    assert found == {"conv1": made.sites["conv1"].candidates[2], "conv2": made.sites["conv2"].candidates[1]}
    first = min(before, key=lambda name: float(judge.seen[-1][name].max()))  # the other is decided by the last look
    for look, coef in enumerate(judge.seen[:4]):
        (name,) = (n for n in before if not torch.equal(coef[n], before[n]))
        assert coef[name][look] == 0 and torch.equal(coef[name].nonzero(), (before[name] * (coef[name] > 0)).nonzero())
        assert name != first and float(coef[name].sum()) == pytest.approx(1 - float(before[name][look].detach()))
    assert all(float(coef[name].max()) == 1 for coef in judge.seen[4:])


def test_what_has_no_weight_is_not_missed() -> None:
    made = mixed()
    made.sites["conv1"].weights[0].data.zero_()
    judge = Judge(made, DATA)
    coef, loss = judge.coefficients(), judge.loss(judge.coefficients())
    coef["conv1"][0] = 0.0
    assert judge.loss(coef) == pytest.approx(loss, abs=1e-6) and (judge.looks, judge.rows) == (2, 16)
    coef["conv1"][1] = 0.0
    assert abs(judge.loss(coef) - loss) > 1e-4


def test_the_judge_leaves_the_search_as_it_was_and_sees_no_row_that_weights_see() -> None:
    made = mixed()
    made.training_data(DATA)
    before, judge = state(made), Judge(made, DATA)
    made.model.train()
    judge.loss(judge.coefficients())
    assert same(before, state(made)) and made.model.training and made.plain.norm.training
    assert (judge._held.index == made._held_data.train.index).all()
    made.model.eval()
    judge.loss(judge.coefficients())
    assert not made.plain.norm.training


def one_by_one() -> OneByOne:
    made = mixed()
    drop_residuals(made.model)
    return OneByOne(made, Perturbation(), Judge(made, DATA))


def test_an_interrupted_run_asks_the_rest_alike(tmp_path: Path) -> None:
    straight, resumed = one_by_one(), one_by_one()
    fit(straight, DATA, stage="one-by-one")
    with pytest.raises(KeyboardInterrupt):
        fit(one_by_one(), DATA, stage="one-by-one", folder=tmp_path, observer=Interrupt(1))
    fit(resumed, DATA, stage="one-by-one", folder=tmp_path, resume=True)
    assert same(state(resumed), state(straight)) and resumed.judge.looks == straight.judge.looks == 8
    assert {n: s.candidates for n, s in resumed.sites.items()} == {n: s.candidates for n, s in straight.sites.items()}


class Heard(Observer):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("discretise", ["at-once", "one-by-one"])
def test_a_search_says_how_often_it_looked(discretise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
    search = {**FAST["search"], "rule": "perturbation", "discretise": discretise, "epochs": 1}
    heard = Heard()
    result = dashfx.search(ToyNet, DATA, config={**FAST, "search": search}, observer=heard)
    assert result.genotype.rule == "perturbation"
    assert "rule perturbation looked 8 times at the loss on 16 held-out rows" in heard.notes


def test_without_a_search_it_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"use it as search\.rule with search\.strategy=dash") as raised:
        Perturbation().select(engine().sites)
    assert "\n" not in str(raised.value)
