"""Procedures composed of stored trainings, and the tables of them, by rows whose answers were worked out by hand."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from benchmarks import verdict_table
from benchmarks.ucr.intervals import difference, summary
from benchmarks.ucr.measured import accuracies, read
from benchmarks.ucr.procedures import (
    PROCEDURES,
    Missing,
    Scores,
    Trainings,
    averaged,
    averaged_with_winner,
    best_of,
    by_best,
    by_loss,
    outcomes,
    raced,
    rung_winner,
    seeds_of,
    seeds_with_winner,
)
from benchmarks.ucr.rows import Rows

ANSWERS = np.array([0, 0, 1, 1])


def scores(*of_class_1: float) -> np.ndarray:
    """Scores of two classes, by what speaks for the second one."""
    return np.array([[0.0, value] for value in of_class_1], np.float16)


RIGHT = {  # scores of the four test rows: untouched has 3 right, k11 2, ms3 2; untouched and k11 together 4
    "untouched": scores(-4, -4, 4, -0.5),
    "k11": scores(0.5, 0.5, 4, 4),
    "ms3": scores(1, 1, 1, 1),
}


def add(rows: Rows, variant: str, seed: int = 0, name: str = "toy", **facts: Any) -> None:
    row = {"valid": 0.5, "best": 0.5, "valid_loss": 1.0, "seconds": 10.0, "parameters": 100, "macs": 1000, "test": 0.5}
    test = RIGHT.get(variant, scores(-1, -1, 1, 1))
    test = facts.pop("test_scores", test)
    best = facts.pop("test_scores_best", test)
    rows.add(
        {"set": name, "seed": seed, "variant": variant, **row, "test_best": 0.5, **facts},
        {"test": test, "test_best": best, "test_y": ANSWERS},
    )


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    made = Rows(tmp_path)
    add(made, "untouched", valid=0.7, best=0.8, valid_loss=0.9)
    add(made, "wide12", valid=0.7, best=0.9, valid_loss=0.8, seconds=12.0, parameters=220)
    add(made, "k11", valid=0.75, best=0.7, valid_loss=1.2, seconds=15.0, parameters=230, macs=2500)
    add(made, "ms3", valid=0.6, best=0.95, valid_loss=0.95, seconds=18.0)
    for name, loss in (("k7d3", 0.5), ("k11", 0.4), ("k19", 0.6), ("ms3", 0.3)):
        add(made, f"{name}-rung", valid_loss=loss, seconds=2.0)
    return made


@pytest.fixture
def toy(rows: Rows) -> Trainings:
    return Trainings(rows, "toy", 0)


def kept(outcome: Any) -> list[str]:
    return [variant for _, _, variant in outcome.kept]


def test_the_untouched_model_keeps_ties(toy: Trainings) -> None:
    assert kept(best_of(["wide12"], toy)) == ["untouched"]
    assert kept(best_of(["wide12"], toy, by_best)) == ["wide12"]
    assert kept(best_of(["wide12", "k11", "ms3"], toy)) == ["k11"]
    assert kept(best_of(["k11", "ms3"], toy, by_loss)) == ["untouched"]
    assert kept(best_of(["wide12", "ms3"], toy, by_loss)) == ["wide12"]


def test_the_rung_of_the_lowest_loss_wins_and_all_rungs_are_paid(toy: Trainings) -> None:
    winner, rungs = rung_winner(("k7d3", "k11", "k19"), toy)
    assert winner == "k11" and {variant for *_, variant in rungs} == {"k7d3-rung", "k11-rung", "k19-rung"}
    assert rung_winner(("k19", "ms3", "absent"), toy)[0] == "ms3"
    with pytest.raises(Missing):
        rung_winner(("absent",), toy)


def test_a_race_trains_its_rungs_its_winner_and_the_untouched_model(toy: Trainings, rows: Rows) -> None:
    outcome = raced(("k7d3", "k11", "k19"), toy)
    assert kept(outcome) == ["k11"] and Scores(rows).cost(outcome) == pytest.approx((10 + 15 + 3 * 2) / 10)
    more = raced(("k7d3", "k11", "k19"), toy, more=("wide12", "k11"))
    assert Scores(rows).cost(more) == pytest.approx((10 + 12 + 15 + 3 * 2) / 10)  # the winner is trained once
    assert kept(raced(("k11", "ms3"), toy)) == ["untouched"]  # ms3 wins the race, and loses to the untouched model


def test_averages_are_of_probabilities(toy: Trainings, rows: Rows) -> None:
    found = Scores(rows)
    # row 4: the untouched model gives class 1 .38, k11 .98; rows 1 and 2: .02 and .62
    assert found.accuracy(averaged(["untouched", "k11"], toy)) == 1.0
    assert found.accuracy(averaged(["untouched"], toy)) == 0.75
    assert found.accuracy(averaged(["ms3"], toy)) == 0.5
    outcome = averaged_with_winner(("k7d3", "k11"), toy)
    assert kept(outcome) == ["untouched", "k11"] and found.size(outcome) == pytest.approx(3.3)
    assert found.size(outcome, "macs") == pytest.approx(3.5) and found.cost(outcome) == pytest.approx(2.9)


def test_a_winner_that_is_averaged_anyway_counts_once(toy: Trainings) -> None:
    outcome = averaged_with_winner(("k7d3", "k11"), toy, more=("untouched", "k11"))
    assert kept(outcome) == ["untouched", "k11"]


def test_probabilities_not_scores(rows: Rows, toy: Trainings) -> None:
    add(rows, "random1", test_scores=scores(8, -8, -8, -8))
    add(rows, "random2", test_scores=scores(-2, -2, -2, -2))
    add(rows, "dash", test_scores=scores(-2, -2, -2, -2))
    # row 1: scores of class 1 would sum to 4 > 0, its probabilities to 1 + .12 + .12 < 1.5
    assert Scores(rows).accuracy(averaged(["random1", "random2", "dash"], toy)) == 0.5


def test_weights_of_the_best_epoch_are_another_column(rows: Rows, toy: Trainings) -> None:
    add(rows, "random1", test_scores=scores(-1, -1, 1, 1), test_scores_best=scores(-1, -1, -1, -1))
    outcome = averaged(["random1"], toy)
    assert Scores(rows).accuracy(outcome) == 1.0 and Scores(rows, "_best").accuracy(outcome) == 0.5


def test_untouched_models_by_other_seeds_follow_in_turn(rows: Rows) -> None:
    for seed in (1, 4):
        add(rows, "untouched", seed, seconds=20.0)
    found = {seed: seeds_of("untouched", 2, Trainings(rows, "toy", seed)) for seed in (0, 1, 4)}
    assert [[seed for _, seed, _ in found[seed].kept] for seed in (0, 1, 4)] == [[0, 1], [1, 4], [4, 0]]
    assert Scores(rows).cost(found[1]) == pytest.approx(40 / (50 / 3))  # over the mean of the set's three
    toy = Trainings(rows, "toy", 0)
    for variant, count in (("untouched", 4), ("k11", 2)):
        with pytest.raises(Missing):
            seeds_of(variant, count, toy)
    assert kept(seeds_of("untouched", 3, toy, ["k11"])) == ["untouched"] * 3 + ["k11"]
    outcome = seeds_with_winner(("k7d3", "k11"), 2, toy)
    assert kept(outcome) == ["untouched", "untouched", "k11"]
    assert Scores(rows).cost(outcome) == pytest.approx((10 + 20 + 15 + 2 * 2) / (50 / 3))


def test_a_search_is_paid_beside_its_training(rows: Rows, toy: Trainings) -> None:
    add(rows, "dash", seconds=15.0, search_seconds=25.0)
    assert Scores(rows).cost(best_of(["dash"], toy)) == pytest.approx(5.0)


def test_what_lacks_a_training_is_left_out(rows: Rows) -> None:
    add(rows, "untouched", 1)
    assert set(outcomes(PROCEDURES["untouched"], rows)) == {("toy", 0), ("toy", 1)}
    assert set(outcomes(PROCEDURES["ladder or untouched"], rows)) == {("toy", 0)}
    assert outcomes(PROCEDURES["DASH or untouched"], rows) == {}


def test_each_set_counts_once() -> None:
    found = summary({("a", 0): 0.01, ("a", 1): 0.03, ("a", 2): 0.02, ("b", 0): -0.04})
    assert found.mean == pytest.approx(-0.01) and (found.sets, found.runs) == (2, 4)
    assert (found.wins, found.ties, found.losses, found.harm) == (3, 0, 1, 0.25)
    assert found.low == pytest.approx(-0.04) and 0.019 < found.high <= 0.03


def test_ties_are_within_half_a_point_and_harm_begins_beyond_two() -> None:
    found = summary({("a", 0): 0.005, ("b", 0): -0.005, ("c", 0): 0.0051, ("d", 0): -0.02})
    assert (found.wins, found.ties, found.losses, found.harm) == (1, 2, 1, 0.0)


def test_the_interval_is_over_sets_and_then_seeds() -> None:
    same = summary({("a", seed): 0.02 for seed in range(3)})
    assert (same.low, same.high) == (0.02, 0.02)
    seeds = summary({("a", 0): 0.0, ("a", 1): 0.1})
    assert (seeds.low, seeds.high) == (0.0, 0.1)
    assert summary({("a", 0): 0.0, ("b", 0): 0.1}) == summary({("a", 0): 0.0, ("b", 0): 0.1})


def test_differences_are_paired() -> None:
    assert difference({("a", 0): 3.0, ("a", 1): 5.0}, {("a", 1): 4.0, ("b", 0): 1.0}) == {("a", 1): 1.0}


def test_judges_decide_differently(rows: Rows) -> None:
    table = verdict_table.judges_table(Scores(rows), rows)
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    # the race is won by ms3 (validation .6 on the last epochs, .95 at its best), which has 2 of 4 right where 3 are
    assert "+0.000" in lines["mean of the last 3"] and "-0.250" in lines["best epoch"]


def test_agreement_counts_sites_and_winners(rows: Rows) -> None:
    add(rows, "dash", genotype={"a": "k3 d1", "b": "k5 d1"})
    add(rows, "dash", 1, genotype={"a": "k3 d1", "b": "k7 d1"})
    for name, loss in (("k7d3", 0.1), ("k11", 0.4)):
        add(rows, f"{name}-rung", 1, valid_loss=loss)
    table = verdict_table.agreement(rows)
    assert "1 of 2 (50 %)" in table and "0 of 1 (0 %)" in table


def test_the_page_is_printed(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(rows, "smoothing 0.1", test=0.75, valid_loss=0.4)
    (tmp_path / "published.csv").write_text("dataset,ResNet,Inception,InceptionTime,ROCKET\ntoy,0.9,0.91,0.92,0.93\n")
    options = ["table", str(tmp_path), "--published", str(tmp_path / "published.csv")]
    monkeypatch.setattr(sys, "argv", options)
    verdict_table.main()
    printed = capsys.readouterr().out
    assert "| ladder or untouched | -0.250 [-0.250, -0.250] | 0/0/1 | 100 % | 3.1 | 2.3 | 2.5 | 1, 1 |" in printed
    assert "| smoothing 0.1 | +0.250 [+0.250, +0.250], 1/0/0 | -0.500 |" in printed
    assert "| toy | 1 | 0.750 |" in printed and "| 0.900 | 0.910 | 0.920 | 0.930 |" in printed
    monkeypatch.setattr(sys, "argv", [*options, "--sets", "other"])
    with pytest.raises(SystemExit, match="2"):
        verdict_table.main()


def test_saved_figures_say_what_the_rows_say(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measured.csv"
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path), "--save", str(file)])
    verdict_table.main()
    of_rows = capsys.readouterr().out.split("\n\n")
    monkeypatch.setattr(sys, "argv", ["table", str(file)])
    verdict_table.main()
    of_file = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert of_file == of_rows[:3] and len(of_rows) > 3  # judges and weights need more than the figures
    figures = read(file)["ladder or untouched"]["toy", 0]
    assert (figures.accuracy, figures.cost, figures.parameters, figures.macs) == (0.5, 3.1, 2.3, 2.5)


@pytest.mark.parametrize("page", ["docs/reference/results.md", "README.md"])
def test_pages_say_what_the_kept_figures_say(page: str) -> None:
    root = Path(__file__).parents[2]
    found = read(root / "benchmarks" / "ucr" / "measured.csv")
    gains = {name: difference(of, accuracies(found)["untouched"]) for name, of in accuracies(found).items()}
    lines = [line.strip("| ").split(" | ") for line in (root / page).read_text(encoding="utf-8").splitlines()]
    named = [cells for cells in reversed(lines) if cells[0] in gains and len(cells) > 4 and cells[0] != "untouched"]
    told = {cells[0]: cells for cells in named}  # those of the page's first table
    assert len(told) > 8
    for name, cells in told.items():
        assert float(cells[1].split()[0]) == pytest.approx(mean_over_sets(gains[name]), abs=0.0006), name
        signs = [(value > 0.005) - (value < -0.005) for value in gains[name].values()]
        assert cells[2] == "/".join(str(signs.count(sign)) for sign in (1, 0, -1)), name
    name = "ladder or untouched"
    mean, low, high = (float(each.strip("[],")) for each in told[name][1].split())
    expected = summary(gains[name])
    assert (mean, low, high) == pytest.approx((expected.mean, expected.low, expected.high), abs=0.0011)


def mean_over_sets(gains: dict[tuple[str, int], float]) -> float:
    sets = {name for name, _ in gains}
    return fmean(fmean(value for (name, _), value in gains.items() if name == one) for one in sets)


def test_every_procedure_looks_at_validation_alone(rows: Rows) -> None:
    for name in ("random1", "dash", "untouched-3E", "k7d3", "k19", "sum"):
        add(rows, name)
    for name in ("untouched", "wide12", "ms3", "random1"):
        add(rows, name, 1)
    before = {name: outcomes(procedure, rows) for name, procedure in PROCEDURES.items()}
    rows.by_key = {key: {**row, "test": 1 - row["test"], "test_best": 0.0} for key, row in rows.by_key.items()}
    assert before == {name: outcomes(procedure, rows) for name, procedure in PROCEDURES.items()}
    assert all(before.values())


def test_procedures_are_functions_of_one_set_and_seed(toy: Trainings) -> None:
    assert partial(best_of, ["k11"])(toy) == best_of(["k11"], toy)
