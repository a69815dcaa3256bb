"""The benchmark of budgets at toy size: it runs, is not run again, and counts what holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from benchmarks import budgets
from benchmarks.budgets import CASES, Case, main, settings, table
from dashfx.config.run import RunConfig
from dashfx.frontend.model import load_model

SHORT = {"search": {"epochs": 2, "batch_size": 16}, "retrain": {"epochs": 1, "batch_size": 16}}
TOY = Case("toy", "toy.npz", "dashfx.backbones:WRN1d", {"num_classes": 3, "in_channels": 2, "width": 2}, (0,), SHORT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_options_that_exist(case: Case) -> None:
    config = RunConfig.parse(settings(case, 3, ["latency=0.7x"]))
    assert config.seed == 3 and config.search.budgets == ("latency=0.7x",) and config.search.kind == "dash"
    assert load_model(case.model, case.model_args)
    assert sum(len(each.seeds) for each in CASES) == 10


def test_it_runs_once_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "toy.npz", **toys.arrays())
    monkeypatch.setattr(budgets, "CASES", (TOY,))
    monkeypatch.setattr(budgets, "SPACE", {"kernels": [1, 3], "dilations": [1]})
    call = ["--data", str(tmp_path), "--out", str(tmp_path / "runs"), "--share", "5"]
    main(call)
    first = capsys.readouterr().out
    assert "| toy | 0 |" in first and "1 of 1 hold; enough" in first
    rows = json.loads((tmp_path / "runs/rows.json").read_text())
    assert [row["variant"] for row in rows] == ["budget", "free"] and 0 < rows[0]["measured"] <= rows[0]["limit"]
    monkeypatch.setattr("dashfx.search", lambda *_, **__: pytest.fail("it is there already"))
    main(call)
    assert capsys.readouterr().out == first


def test_what_does_not_hold_is_counted() -> None:
    def row(seed: int, held: bool) -> dict[str, Any]:
        costs = {"held": held, "limit": 2.0, "measured": 1.0 if held else 3.0, "estimated": 1.0}
        return {"case": "a", "seed": seed, "variant": "budget", "metric": "accuracy", "searched": 0.5, **costs}

    assert table([row(i, i < 9) for i in range(10)], 0.7)[-1] == "9 of 10 hold; enough"
    lines = table([row(i, i < 8) for i in range(10)], 0.7)
    assert lines[-1] == "8 of 10 hold; too few" and "| a | 9 | 1.500 | no | 0.5000 |  |  |" in lines


def test_data_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--out", str(tmp_path), "--only", "ECG200"])
    assert f"no ucr/ECG200.npz in {tmp_path}" in capsys.readouterr().err
