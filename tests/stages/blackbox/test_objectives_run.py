"""Several objectives through the pipeline: what is evaluated, the front in files and on the page, starts, resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import FAST, SIZE, ToyNet, toy_data

import dashfx
from dashfx.blackbox.base import row_of
from dashfx.blackbox.genotype_table import genotype_in
from dashfx.blackbox.objectives import dominates
from dashfx.cost.counts import parameters_of
from dashfx.errors import DashfxError
from dashfx.run.result import Result
from dashfx.supernet import specialise
from dashfx.train.progress import Observer, read_log

DATA = toy_data()
STRATEGIES = [
    "nsga2:population=4",
    "linas:population=6,predicted=12,predictor=ridge",
    "surrogate:ridge,start=6",
    "evolution",
]


def settings(strategy: str, **blackbox: Any) -> dict[str, Any]:
    few = {"evaluator": "naswot", "evaluations": 10, "objectives": ["valid", "params", "macs"], **blackbox}
    short = {"epochs": 1, "batch_size": 16}
    return {**FAST, "search": {"strategy": strategy}, "blackbox": few, "retrain": short}


def search(strategy: str = STRATEGIES[0], out: Path | None = None, **blackbox: Any) -> Result:
    return dashfx.search(ToyNet, DATA, config=settings(strategy, **blackbox), out=out)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_best_by_the_first_objective_is_chosen_and_the_front_is_kept(strategy: str) -> None:
    result = search(strategy)
    rows = result.evaluations
    front = {row.point for row in result.evaluated_front.rows}
    assert front == {row.point for row in rows if not any(dominates(other.point, row.point) for other in rows)}
    assert result.chosen == result.evaluated_front.rows[0].genome and result.chosen.rule.endswith("by naswot")
    assert result.evaluated_front.rows[0].fitness == max(row.fitness for row in rows)
    assert any("genotypes are on the front of valid, params, macs" in note for note in result.notes)
    told = json.loads(json.dumps(result.to_dict()))["evaluated_front"]
    assert [each["number"] for each in told] == [row.number for row in result.evaluated_front.rows]
    assert told[0].keys() == {"number", "valid", "params", "macs", "genotype"}


def test_costs_are_those_of_the_models() -> None:
    for row in search().evaluated_front.rows:
        plain = specialise(ToyNet(), torch.zeros(2, 2, SIZE), row.genome, "fresh")
        assert row.others["params"] == parameters_of(plain)


class Kill(Observer):
    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if done == 5:
            raise KeyboardInterrupt


def test_a_killed_run_has_the_same_front_and_a_finished_one_is_read_again(tmp_path: Path) -> None:
    straight, config = search(), settings(STRATEGIES[0])
    with pytest.raises(KeyboardInterrupt):
        dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run", observer=Kill())
    result = dashfx.search(ToyNet, DATA, config=config, out=tmp_path / "run", resume=True)

    def facts(of: Result) -> list[Any]:
        return [(row.genome, row.point, row.others) for row in of.evaluations]

    assert facts(result) == facts(straight) and result.evaluated_front.points == straight.evaluated_front.points
    page = (tmp_path / "run/report.html").read_text()
    assert f"{len(result.evaluated_front.rows)} of them are on the front" in page
    lines = read_log(tmp_path / "run/evaluations.jsonl")
    assert [row_of(line, genotype_in(line["genome"])).point for line in lines] == [r.point for r in result.evaluations]


def test_a_run_starts_from_another_ones_front(tmp_path: Path) -> None:
    first = search(out=tmp_path / "first")
    rows = str(tmp_path / "first/evaluations.jsonl")
    result = search("tpe", objectives=["valid", "params"], start=rows, started=3)
    best = [row.genome for row in first.evaluated_front.rows[:3]]
    assert [row.genome for row in result.evaluations[: len(best)]] == best


def test_a_budget_holds_for_all_that_is_evaluated() -> None:
    config = settings("linas:population=4,predicted=8,predictor=ridge", evaluations=8)
    config["search"]["budgets"] = ["params=1.0x"]
    result = dashfx.search(ToyNet, DATA, config=config)
    own = parameters_of(ToyNet())
    assert all((row.others["params"] or 0) <= own for row in result.evaluations)


MISTAKES = [
    ({"objectives": ["valid", "watts"]}, "nsga2", "no cost 'watts' of a whole network; there are params, macs"),
    ({"objectives": ["valid", "taps"]}, "nsga2", "no cost 'taps'"),
    ({"objectives": ["params", "valid"]}, "nsga2", "write valid, by which the choice is made, then costs, each once"),
    ({"objectives": ["valid", "params", "params"]}, "nsga2", "each once"),
    ({}, "dash", "strategy dash evaluates no genotypes one by one; take --strategy nsga2"),
    ({}, "optuna:sampler=nsga4", "no sampler 'nsga4'"),
    ({}, "surrogate:forest", "no predictor 'forest'"),
    ({}, "surrogate:ridge,start=10", "and there are 10 in all"),
    ({"evaluations": 13}, "bohb", "asks for shorter and longer trainings, which evaluator naswot does not make"),
    ({"start": "none.jsonl"}, "tpe", "none.jsonl' cannot be read"),
]


@pytest.mark.parametrize(("blackbox", "strategy", "said"), MISTAKES)
def test_mistakes_are_one_line_before_anything_is_written(
    blackbox: dict[str, Any], strategy: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DashfxError, match=said) as raised:
        search(strategy, out=tmp_path / "run", **blackbox)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


def test_a_start_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"rows": [{"genotype": {"conv9": "3,1"}, "valid": 1}]}')
    with pytest.raises(DashfxError, match="none of its genotypes can be evaluated here"):
        search("tpe", start=str(tmp_path / "t.json"))
