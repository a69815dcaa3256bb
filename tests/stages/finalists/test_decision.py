"""The decision: what is told apart by what, ties, choices that are the untouched model, and equal training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proposing import D2, DATA, K3, K5, names, run, stages
from toys import FAST, ToyNet

import dashfx
from dashfx.run.result import Result
from dashfx.stages import retrain as retraining
from dashfx.stages.finalists import training
from dashfx.stages.retrain import Retrained
from dashfx.train.convergence import Convergence
from dashfx.train.fit import derive_seed

Judge = Callable[[Mapping[str, tuple[float, float]]], None]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Says by stage what a training is worth: the best epoch's metric, and what it is judged by."""

    def set_to(worth: Mapping[str, tuple[float, float]]) -> None:
        usual = retraining.retrain

        def retrain(run_: Any, model: Any, stage: str) -> Retrained:
            done = usual(run_, model, stage)
            valid, judged = worth.get(stage, (0.0, 0.0))
            return Retrained(done.model, valid, judged, done.loss, done.history)

        monkeypatch.setattr(training, "retrain", retrain)

    return set_to


def kept(result: Result) -> str:
    assert result.kept is not None
    return result.kept.name


def test_the_last_epochs_decide_and_not_the_best_one(judge: Judge) -> None:
    judge({"retrain": (0.9, 0.5), "control": (0.6, 0.6)})
    result = run(K5)
    assert kept(result) == "untouched" and result.valid == 0.6
    assert "searched 0.5000, untouched 0.6000; untouched is kept" in result.verdict
    judge({"retrain": (0.6, 0.6), "control": (0.9, 0.5)})
    assert kept(run(K5)) == "searched"


def test_ties_are_the_plainest_models(judge: Judge) -> None:
    tied = (0.5, 0.5)
    every = {"retrain": tied, "retrain-k3 d2": tied, "control": tied, "control-wider": tied, "control-longer": tied}
    wanted: dict[str, Any] = {"count": 2, "wider": {"width": 6}, "longer": True}
    judge(every)
    assert kept(run(K5, D2, **wanted)) == "untouched"
    judge({**every, "control": (0.4, 0.4)})
    assert kept(run(K5, D2, **wanted)) == "untouched, longer"
    judge({**every, "control": (0.4, 0.4), "control-longer": (0.4, 0.4)})
    assert kept(run(K5, D2, **wanted)) == "untouched, wider"
    judge({"retrain": tied, "retrain-k3 d2": tied})
    assert kept(run(K5, D2, **wanted)) == "k5 d1"  # of searched ones the likelier


def test_a_choice_that_is_the_untouched_model_is_trained_once_and_wins_nothing() -> None:
    result = run(K3)
    assert stages(result) == ["retrain"] and names(result) == ["searched"] and not result.changed
    assert "unchanged" in result.outcome and "nobody has won" in result.verdict
    assert kept(result) == "searched"
    (entry,) = result.to_dict()["finalists"]
    assert entry["cost"] == 1.0 and entry["lead"] is None and result.to_dict()["control"] is None


def test_a_search_that_had_nothing_to_choose_announces_no_winner() -> None:
    one = {"kernels": [3], "dilations": [1]}
    result = dashfx.search(ToyNet, DATA, config={**FAST, "control": True, "space": one})
    assert stages(result) == ["search", "retrain"] and names(result) == ["searched"]
    assert "nobody has won" in result.verdict and "is kept" not in result.verdict
    searched = result.finalist("searched")
    assert searched is not None and searched.cost is not None and searched.cost > 1  # it inherits what the search did


def test_beside_an_unchanged_choice_a_wider_model_may_still_be_kept(judge: Judge) -> None:
    judge({"retrain": (0.5, 0.5), "control-wider": (0.6, 0.6)})
    result = run(K3, wider={"width": 6})
    assert names(result) == ["searched", "untouched, wider"] and kept(result) == "untouched, wider"
    assert result.model.conv1.out_channels == 6


def test_a_random_choice_that_is_another_model_is_not_trained_again() -> None:
    result = run(K5, more={"random_control": True, "space": {"kernels": [5], "dilations": [1], "keep_original": False}})
    assert names(result) == ["searched", "untouched"]
    assert any("random choice is a model that is trained already" in note for note in result.notes)


def test_seeds_are_judged_by_their_mean_and_the_best_ones_weights_stand(judge: Judge) -> None:
    judge({"retrain": (0.7, 0.4), "retrain-seed-2": (0.8, 0.6), "control": (0.5, 0.5), "control-seed-2": (0.5, 0.5)})
    result = run(K5, seeds=2)
    searched, untouched = result.finalist("searched"), result.finalist("untouched")
    assert searched is not None and untouched is not None
    assert (searched.judged, searched.valid, searched.seeds) == (0.5, 0.8, 2)
    assert searched.spread == pytest.approx(0.02**0.5) and untouched.spread == 0
    assert kept(result) == "untouched"  # a tie of means
    assert searched.steps == 2 * 6 * 3 and searched.steps == untouched.steps


def test_seeds_draw_other_weights_and_another_order() -> None:
    result = run(K5, seeds=2)
    first, second = ([e.loss for e in result.history if e.stage == stage] for stage in ("retrain", "retrain-seed-2"))
    assert first != second
    alone = run(K5)
    assert first == [e.loss for e in alone.history if e.stage == "retrain"]  # more seeds leave the first as it is
    assert derive_seed(0, "finalists", 2) != derive_seed(0, "finalists", 3)


def test_a_longer_untouched_model_has_all_the_training_that_led_to_the_searched_one() -> None:
    result = run(K5, D2, count=1, longer=True)
    work = {each.name: each.cost for each in result.finalists}
    searched, untouched, longer = (result.finalist(origin) for origin in ("searched", "untouched", "longer"))
    assert searched and untouched and longer and searched.figures and untouched.figures
    ratio = searched.figures.flops / untouched.figures.flops
    assert untouched.cost == 1 and searched.cost is not None and work["untouched, longer"] == longer.cost
    assert searched.cost > ratio * (1 + 1 / 6) > 0  # its training, its rung and that of the other one
    assert abs(longer.cost - searched.cost) <= 1 / 12 + 1e-9  # half an epoch of six
    epochs = [epoch for epoch in result.history if epoch.stage == "control-longer"]
    assert len(epochs) == round(6 * searched.cost) == epochs[0].epochs  # a complete schedule
    assert "after equal training" in result.verdict


def test_where_nothing_led_to_the_searched_model_there_is_no_longer_one() -> None:
    result = run((D2, K3), longer=True)  # as many multiply-adds as the untouched model, and no search
    assert names(result) == ["searched", "untouched"] and "after equal training" in result.verdict


@pytest.mark.parametrize(("converged", "trained"), [(True, False), (False, True)])
def test_by_default_only_what_has_not_converged_is_trained_longer(
    converged: bool, trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Convergence("accuracy", 6, 0.5, 0.1, 0.1, 0.1, plateau=converged)
    monkeypatch.setattr("dashfx.stages.retrain.convergence", lambda *_: ended)
    result = run(K5, longer="auto")
    assert ("untouched, longer" in names(result)) == trained
    assert says_why_not_longer(result.verdict) == (not trained)


def test_a_model_that_was_trained_more_is_said_to_be(judge: Judge) -> None:
    judge({"retrain": (0.9, 0.9)})
    result = run(K5)
    assert says_why_not_longer(result.verdict)
    untouched = result.finalist("untouched")
    assert untouched is not None and untouched.lead is not None and untouched.lead.rows == len(result_rows())


def says_why_not_longer(verdict: str) -> bool:
    return any(text in verdict for text in ("more training may explain such a difference", "had converged, so more"))


def result_rows() -> range:
    return range(15)  # of the toys' validation part


def test_folds_judge_on_other_rows_and_the_runs_own_split_gives_the_weights(judge: Judge) -> None:
    judge({"retrain": (0.6, 0.3), "retrain-fold-2": (0.9, 0.6), "retrain-fold-3": (0.9, 0.9), "control": (0.7, 0.7)})
    result = run(K5, folds=3)
    searched = result.finalist("searched")
    assert searched is not None and searched.judged == pytest.approx(0.6) and searched.seeds == 3
    assert searched.valid == 0.6 and kept(result) == "searched"  # the untouched one has 0 on its other folds
    assert stages(result)[:3] == ["retrain", "retrain-fold-2", "retrain-fold-3"] and len(stages(result)) == 6


def test_seeds_and_folds_go_together(judge: Judge) -> None:
    judge({"retrain-seed-2": (0.4, 0.4), "retrain-seed-2-fold-2": (0.9, 0.9)})
    result = run(K5, folds=2, seeds=2, more={"control": False})
    assert stages(result) == ["retrain", "retrain-fold-2", "retrain-seed-2", "retrain-seed-2-fold-2"]
    searched = result.finalist("searched")
    assert searched is not None and searched.valid == 0.4 and searched.judged == pytest.approx(1.3 / 4)


def test_folds_that_leave_a_class_out_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    from toys import arrays

    from dashfx.data import load_data
    from dashfx.errors import DataError

    rows = arrays(90)
    rows["y"] = np.where((rows["y"] == 2) & (np.arange(90) > 24), 0, rows["y"])
    with pytest.raises(DataError, match=r"finalists.folds 9: fold \d would have no row of class 2"):
        run(K5, folds=9, data=load_data(rows), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
