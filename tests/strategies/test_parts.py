"""Parts of a strategy: what they remember is in the checkpoints, monitors set options and go back, terms and edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from engines import BATCH, DATA, Interrupt, alphas, engine, moved, same, state
from torch import nn
from toys import FAST, ToyNet, arrays
from user_parts import First, Greedy, Kernel, Narrow, Slowing, Small, Sparing, Turns, Warming

import dashfx
from dashfx import Candidate, Gradient, SearchSpace
from dashfx.errors import ConfigError, TrainingError
from dashfx.ops import sites_of
from dashfx.ops.relaxations import Progress, Relaxation, SoftGumbel
from dashfx.run.folder import existing_folder
from dashfx.stages.reopen import lowered_of
from dashfx.strategies.edits import Within
from dashfx.strategies.engine import Engine
from dashfx.strategies.evaluated.blackbox import BlackBox
from dashfx.strategies.monitors import Action, Context, Drop, Monitor, Rollback, Set
from dashfx.strategies.rules import Energy
from dashfx.strategies.terms import Moment, Term
from dashfx.strategies.updates import OneLevel
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import fit
from dashfx.train.progress import Epoch, Observer


class KilledIn(Observer):
    """Stops after so many epochs of a stage."""

    def __init__(self, stage: str, after: int) -> None:
        self._stage, self._after = stage, after

    def epoch(self, facts: Epoch) -> None:
        if (facts.stage, facts.epoch + 1) == (self._stage, self._after):
            raise KeyboardInterrupt


def own_parts() -> Gradient:
    return Gradient(Warming(), Sparing(), Turns(), (Slowing(),), (Small(),), (First(),))


@pytest.mark.parametrize("stage", ["search", "one-by-one"])
def test_a_killed_run_with_parts_that_remember_resumes_bit_for_bit(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    options = {"epochs": 3, "warmup": 0, "discretise": "one-by-one", "recovery": 0.5, "cost_weight": 0}
    config = {**FAST, "search": {**FAST["search"], **options}}
    straight = dashfx.search(ToyNet, DATA, config=config, strategy=own_parts())
    strategy = own_parts()
    with pytest.raises(KeyboardInterrupt):
        dashfx.search(ToyNet, DATA, config=config, strategy=strategy, out=tmp_path / "run", observer=KilledIn(stage, 1))
    assert strategy == own_parts()  # a search works on copies
    resumed = dashfx.search(ToyNet, DATA, config=config, strategy=own_parts(), out=tmp_path / "run", resume=True)
    assert [(e.loss, e.metric) for e in resumed.history] == [(e.loss, e.metric) for e in straight.history]
    assert resumed.genotype == straight.genotype and resumed.genotype.rule == "turns"
    assert same(dict(resumed.model.state_dict()), dict(straight.model.state_dict()))


def test_every_part_matters_to_that_test() -> None:
    """Without what one of them remembers the search is another one."""

    def fitted(forget: str | None) -> Engine:
        made = with_parts(epochs=3, warmup=0, cost_weight=0)
        fit(made, DATA, stage="search", observer=Forgetful(made, forget))
        return made

    straight = state(fitted(None))
    assert same(straight, state(fitted(None)))
    for part in ("relaxation", "update", "terms", "monitors"):
        assert not same(straight, state(fitted(part))), part


def with_parts(*monitors: Monitor, **options: Any) -> Engine:
    made, parts = engine(**options), own_parts()
    more = monitors or parts.monitors
    return Engine(
        made.plain, made.task, made.config, made.accelerator, parts.update, parts.relaxation, more, parts.terms
    )


class Forgetful(Observer):
    def __init__(self, made: Engine, part: str | None) -> None:
        self._made, self._part = made, part

    def epoch(self, facts: Epoch) -> None:
        found = {"terms": self._made._terms[1:], "monitors": self._made._monitors}
        for each in found.get(self._part or "", [getattr(self._made, self._part or "", None)]):
            if each is not None:
                each.count = 0


def test_a_black_box_strategy_of_objects() -> None:
    config = {**FAST, "blackbox": {"evaluations": 20}}
    result = dashfx.search(ToyNet, DATA, config=config, strategy=BlackBox(Greedy(), Narrow()))
    assert set(result.genotype.values()) <= {Candidate(3, 1), Candidate(3, 2)}
    assert result.genotype.rule == "Greedy by narrow" and len(result.evaluations) == 20


def test_a_strategy_object_is_told_in_the_configuration() -> None:
    from dashfx.run.prepare import configured

    assert configured(None, ToyNet, None, strategy=Gradient(rule=Energy(0.5))).search.strategy.endswith(" from Python")


def test_options_of_parts_beside_an_object_are_refused() -> None:
    for search in ({"rule": "energy"}, {"tau": (2.0, 1.0)}, {"update": "first-order"}):
        with pytest.raises(ConfigError, match="does nothing beside a strategy that is an object"):
            dashfx.search(ToyNet, DATA, config={"search": search}, strategy=Gradient())


def test_a_run_of_an_object_is_opened_again_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
    Path("net.py").write_text("from toys import ToyNet\n")
    np.savez("data.npz", **arrays())
    config = {**FAST, "search": {**FAST["search"], "epochs": 1}, "retrain": {"epochs": 1, "batch_size": 16}}
    result = dashfx.search("net.py:ToyNet", "data.npz", config=config, strategy=Gradient(rule=Energy(0.5)), out="run")
    lowered, genotype = lowered_of("run")
    assert genotype == result.genotype and genotype.rule == "energy"
    learned = torch.load("run/checkpoints/search-last.pt", weights_only=True)["learner"]["model"]
    assert torch.equal(lowered.fc.weight, learned["fc.weight"])
    with pytest.raises(ConfigError, match="was given from Python"):
        dashfx.search("net.py:ToyNet", "data.npz", config=existing_folder("run")[1], out="run", resume=True)


class At(Monitor):
    """Does what it is told after the epochs given, once each."""

    ring = 3

    def __init__(self, **actions: list[Action]) -> None:
        self.actions = actions

    def on_epoch(self, ctx: Context) -> list[Action]:
        return self.actions.pop(f"after_{ctx.epoch}", [])

    def state_dict(self) -> dict[str, Any]:
        return {"left": list(self.actions)}

    def load_state_dict(self, left: Any) -> None:
        self.actions = {name: each for name, each in self.actions.items() if name in left["left"]}


def run(monitor: Monitor | None = None, folder: Path | None = None, **more: Any) -> tuple[Engine, Fitted]:
    plain = engine("grow", epochs=5, warmup=0, lead=0.5, optimizer="adamw")
    made = Engine(plain.plain, plain.task, plain.config, plain.accelerator, OneLevel(), None, [monitor or At()])
    return made, fit(made, DATA, stage="search", folder=folder, **more)


def losses(fitted: Fitted) -> list[tuple[float, float, float]]:
    return [(epoch.loss, epoch.metric, epoch.best) for epoch in fitted.history]


@pytest.mark.parametrize("back", [-1, 1])
def test_a_search_that_went_back_is_as_if_it_had_not_been_there(back: int) -> None:
    """Candidates that left meanwhile are there again, and steps that were taken back are counted."""
    gone: list[Action] = [Drop("conv1", Candidate(5, 2)), Set("lr", 1e-3)]
    monitor = At(**{f"after_{back + 1}": gone, f"after_{back + 2}": [Rollback(back)]})
    (made, fitted), (plain, expected) = run(monitor), run()
    assert same(state(made), state(plain)) and losses(fitted) == losses(expected)
    assert len(made.sites["conv1"].candidates) == 4 and fitted.best_epoch == expected.best_epoch
    assert sum(epoch.steps for epoch in fitted.history) == 7 * expected.history[0].steps


def test_options_may_change_where_it_went_back_to() -> None:
    returned, fitted = run(At(after_2=[Rollback(1, {"lr": 0.001, "alpha_lr": 0.5})]))
    changed, expected = run(At(after_1=[Set("lr", 0.001), Set("alpha_lr", 0.5)]))
    assert same(state(returned), state(changed)) and losses(fitted) == losses(expected)
    assert not same(state(returned), state(run()[0])) and returned.config.lr == 0.001


@pytest.mark.parametrize("after", [2, 3])
def test_a_killed_search_goes_back_all_the_same(after: int, tmp_path: Path) -> None:
    def monitor() -> Monitor:
        return At(after_1=[Drop("conv1", Candidate(5, 2))], after_2=[Rollback(0, {"lr": 0.001})])

    straight, expected = run(monitor())
    with pytest.raises(KeyboardInterrupt):
        run(monitor(), tmp_path, observer=Interrupt(after))
    resumed, fitted = run(monitor(), tmp_path, resume=True)
    assert same(state(resumed), state(straight)) and losses(fitted) == losses(expected)
    assert resumed.config.lr == 0.001


def test_going_back_for_ever_is_refused() -> None:
    class Stubborn(Monitor):
        ring = 2

        def on_epoch(self, ctx: Context) -> list[Action]:
            return [Rollback(0)] if ctx.epoch == 1 else []

    with pytest.raises(TrainingError, match="goes back to epoch 0 again with the same changes"):
        run(Stubborn())
    with pytest.raises(TrainingError, match="goes back from epoch 4 to 0, and only the states of 1, 2, 3 are kept"):
        run(At(after_4=[Rollback(0)]))


def test_only_what_a_search_reads_again_can_be_set() -> None:
    with pytest.raises(ConfigError, match=r"sets search.patience, which is settled .* it may set epochs"):
        run(At(after_0=[Set("patience", 3)]))
    with pytest.raises(ConfigError, match="option 'lr'"):
        run(At(after_0=[Set("lr", -1)]))
    assert len(run(At(after_0=[Set("epochs", 2)]))[1].history) == 2


def test_the_weight_of_the_cost_can_be_set() -> None:
    made = engine(cost_weight=0, cost="taps", warmup=0)
    coef = {name: torch.nn.functional.one_hot(torch.tensor(3), 4).float() for name in made.sites}
    without = made.loss(BATCH, coef=coef)
    made.change({"cost_weight": 2.0})
    assert float((made.loss(BATCH, coef=coef) - without).detach()) == pytest.approx(2.0)


def test_optimisers_remember_across_a_change_of_options() -> None:
    made, other = (engine(warmup=0, optimizer="adamw") for _ in range(2))
    for each in (made, other):
        each.step(BATCH)
    made.change({"clip": 1.0})  # as it was
    for each in (made, other):
        each.begin_epoch(1, 1)
        each.step(BATCH)
    assert same(state(made), state(other))


def test_terms_of_one_part_stay_out_of_the_others_loss() -> None:
    class Alphas(Small):
        part = "alphas"

    class Weights(Small):
        part = "weights"

    def added(term: Term, part: Any, warm: bool) -> bool:
        made = engine(cost_weight=0)
        made._terms.append(term)
        made.warm = warm
        coef = {name: site.coefficients().detach() for name, site in made.sites.items()}
        full = made.loss(BATCH, coef=coef, part=part)
        made._terms.pop()
        return not torch.equal(full, made.loss(BATCH, coef=coef, part=part))

    for part, found in (("both", (True, True)), ("weights", (True, False)), ("alphas", (False, True))):
        assert (added(Weights(), part, True), added(Alphas(), part, True)) == found
    assert added(Weights(), "both", False) and not added(Alphas(), "both", False)


def test_a_term_sees_the_step() -> None:
    seen: list[Moment] = []

    class Watching(Term):
        part = "weights"

        def __call__(self, now: Moment) -> torch.Tensor:
            seen.append(now)
            return now.output.sum() * 0

    made = engine(update="first-order")
    made._terms.append(Watching())
    made.training_data(DATA)
    made.step(BATCH)
    (now,) = seen
    assert now.engine is made and now.batch is BATCH and now.part == "weights" and set(now.coef) == set(made.sites)
    assert now.output.requires_grad


class Listening(SoftGumbel):
    """Starts uneven; every copy of it writes into one list."""

    heard: ClassVar[list[Any]] = []

    def begin(self, progress: Progress) -> None:
        self.heard.append((progress.epoch, progress.share, progress.warm))

    def start(self, n: int) -> torch.Tensor:
        return torch.eye(n)[2]


def test_a_relaxation_hears_how_far_the_search_is() -> None:
    Listening.heard.clear()
    config = {**FAST, "search": {**FAST["search"], "epochs": 2, "warmup": 0.5, "discretise": "one-by-one"}}
    dashfx.search(ToyNet, DATA, config=config, strategy=Gradient(Listening()))
    assert Listening.heard == [(0, 0.0, False), (1, 0.5, True), (0, 1.0, True), (1, 1.0, True)]


def test_gates_are_not_decided_by_certainty() -> None:
    class Gates(Relaxation):
        simplex = False

        def __call__(self, logits: Any, mask: Any, generator: Any = None) -> torch.Tensor:
            return logits.sigmoid() * mask

    config = {**FAST, "search": {**FAST["search"], "discretise": "one-by-one"}}
    with pytest.raises(ConfigError, match="Gates do not add up to 1"):
        dashfx.search(ToyNet, DATA, config=config, strategy=Gradient(Gates()))
    result = dashfx.search(ToyNet, DATA, config=FAST, strategy=Gradient(Gates()))
    assert set(result.genotype) == {"conv1", "conv2"}


def test_within_leaves_out_what_spans_too_much() -> None:
    made = engine()
    assert Within(1.0).apply(made.sites) == ""
    said = Within(5 / made.sites["conv1"].site.input_size[0]).apply(made.sites)
    assert said.startswith("within: 2 candidates") and len(made.sites["conv1"].candidates) == 3  # k5 d2 spans 9
    Within(1e-3).apply(made.sites)
    assert made.sites["conv1"].candidates == (made.sites["conv1"].original,)


def test_within_leaves_a_convs_own_kernel_however_far_it_spans() -> None:
    wide = dashfx.rewrite(
        nn.Sequential(nn.Conv1d(2, 3, 5, padding=2)), torch.zeros(2, 2, 24), SearchSpace.product([3, 5], [1])
    )
    (site,) = sites_of(wide).values()
    Within(3 / 24).apply({"conv": site})
    assert site.candidates == (Candidate(3, 1), Candidate(5, 1))


def test_another_cost_by_name(tmp_path: Path) -> None:
    made = engine(cost=f"{Path(__file__).parents[1] / 'user_parts.py'}:Kernel", cost_weight=1.0, warmup=0)
    assert made._cost.table["conv1"].tolist() == Kernel().of(made.sites["conv1"]) == [3, 3, 5, 5]
    before = alphas(made)
    made.step(BATCH)
    assert all(moved(before, alphas(made)))


def test_a_checkpoint_of_an_earlier_version_still_loads() -> None:
    made, other = engine(), engine()
    made.step(BATCH)
    old = {name: made.state_dict()[name] for name in ("model", "weights", "alphas", "monitors")}
    other.load_state_dict(old)
    assert same(state(made), state(other))
