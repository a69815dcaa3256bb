"""Performance profiles from run folders: ratios, ties, both directions, missing runs, and what cannot be compared."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.report.profiles import Standings, standings
from dashfx.report.profiles_page import write_profiles


def make_run(root: Path, data: str, strategy: str, seed: int, test: float, **facts: Any) -> Path:
    folder = root / data / f"{facts.pop('name', strategy)}-{seed}"
    folder.mkdir(parents=True)
    config = RunConfig.parse({"data": f"sets/{data}.npz", "search": {"strategy": strategy}, "seed": seed})
    (folder / "config.yaml").write_text(config.to_yaml())
    result = {"metric": "accuracy", "maximise": True, "test": test, **facts}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two tasks in both directions; "Waves" has no run of random."""
    root = tmp_path / "runs"
    for seed, (untouched, searched) in enumerate([(0.6, 0.9), (0.8, 0.9)]):
        make_run(root, "Leaf", "untouched", seed, untouched)
        make_run(root, "Leaf", "dash", seed, searched)
    make_run(root, "Leaf", "random", 0, 0.9)
    error = {"metric": "mae", "maximise": False}
    make_run(root, "Waves", "untouched", 0, 0.2, **error)
    make_run(root, "Waves", "dash", 0, 0.5, **error)
    return root


@pytest.fixture
def found(runs: Path) -> Standings:
    return standings([runs])


def test_seeds_are_averaged_and_controls_come_first(found: Standings) -> None:
    assert found.methods == ("untouched", "random", "searched") and list(found.tasks) == ["Leaf", "Waves"]
    cell = found.cells["Leaf", "untouched"]
    assert (cell.mean, cell.n) == (pytest.approx(0.7), 2) and cell.deviation == pytest.approx(math.sqrt(0.02))
    assert found.cells["Leaf", "random"].deviation is None


def test_ratios_are_of_errors_in_both_directions(found: Standings) -> None:
    assert found.ratios("Leaf") == pytest.approx([3, 1, 1])
    assert found.ratios("Waves") == [1, math.inf, 2.5]


def test_equal_methods_share_a_rank_and_missing_ones_come_last(found: Standings) -> None:
    assert found.ranks("Leaf") == [3, 1.5, 1.5] and found.ranks("Waves") == [1, 3, 2]
    assert found.missing == [("Waves", "random")]


def test_the_profile_is_the_share_of_tasks_within_tau(found: Standings) -> None:
    taus = (1, 2.5, 2.9, 3.1)
    assert found.profile("untouched", taus) == [0.5, 0.5, 0.5, 1]
    assert found.profile("random", taus) == [0.5] * 4
    assert found.profile("searched", taus) == [0.5, 1, 1, 1]


def test_an_error_of_nothing_is_beaten_by_none(tmp_path: Path) -> None:
    for strategy, test in (("untouched", 1.0), ("random", 1.0), ("dash", 0.9)):
        make_run(tmp_path, "Easy", strategy, 0, test)
    assert standings([tmp_path]).ratios("Easy") == [1, 1, math.inf]


def test_a_run_with_its_own_controls_gives_a_score_each(tmp_path: Path) -> None:
    models = {name: {"test": test} for name, test in (("searched", 0.8), ("untouched", 0.9))}
    folder = make_run(tmp_path, "Leaf", "dash", 0, 0.9, models=models)  # the untouched model was handed back
    found = standings([folder])
    assert found.cells["Leaf", "searched"].mean == 0.8 and found.cells["Leaf", "untouched"].mean == 0.9
    assert standings([folder], "folder").cells["Leaf", "dash"].mean == 0.8


def test_folders_names_tell_variants_of_a_strategy_apart(runs: Path) -> None:
    make_run(runs, "Leaf", "dash", 0, 0.85, name="held-out")
    with pytest.raises(RunFolderError, match=r"are both 'searched' on Leaf with seed 0.*--method folder"):
        standings([runs])
    assert standings([runs], "folder").methods == ("untouched", "random", "dash", "held-out")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"metric": "f1"}, "has accuracy, .* has f1"),
        ({"test": math.nan}, "is missing"),
        ({"test": 1.5}, "gives no ratio"),
        ({"test": None}, "is missing"),
    ],
)
def test_what_cannot_be_compared_is_named(runs: Path, facts: dict[str, Any], message: str) -> None:
    make_run(runs, "Leaf", "dash", 7, **{"test": 0.5, **facts})
    with pytest.raises(RunFolderError, match=message):
        standings([runs])


def test_a_broken_result_is_named(runs: Path) -> None:
    path = make_run(runs, "Leaf", "dash", 7, 0.5) / "result.json"
    for text, message in (("{", "cannot be read"), ("[]", "no JSON object"), ("{}", "not a result")):
        path.write_text(text)
        with pytest.raises(RunFolderError, match=f"dash-7.*{message}"):
            standings([runs])


def test_the_files_say_the_same(found: Standings, tmp_path: Path) -> None:
    paths = write_profiles(tmp_path / "out", found)
    assert [path.name for path in paths] == ["profiles.html", "standings.csv", "profiles.png", "errors.png"]
    rows = list(csv.DictReader(paths[1].open()))
    assert len(rows) == 6 and rows[0]["ratio"].startswith("3.0") and rows[4]["seeds"] == "0"
    page = paths[0].read_text()
    for words in ("0.7000 ± 0.1414 (2)", "no run", "Waves: no run of random", "mae (lower is better)"):
        assert words in page, words
    assert "http" not in page and page.count("<svg") == 2
