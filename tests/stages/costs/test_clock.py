"""The clock of a run: what late stages decide by what is left, and that a resumed run keeps to it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.config.run import RunConfig
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.costs.clock import CLOSING, Decision, by_clock, decided, files_of, kept_back
from dashfx.stages.finalists import decision
from dashfx.stages.finalists.decision import _epochs_left
from dashfx.stages.finalists.lengths import LONGER_STAGE

DATA = toy_data()


def begun(folder: Path | None, **changes: Any) -> Run:
    run = prepare(ToyNet, DATA, config={**FAST, "budget": "60s", **changes})
    if folder:
        run.open_folder(folder)
        run.session.folder.budget.write_text(  # type: ignore[union-attr]
            json.dumps({"budget": 60.0, "spent": 1.0, "measured": {"retrain": 2.0}, "epochs": {"retrain": 5}})
        )
    return run


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("dashfx.run.session.Session.elapsed", property(lambda self: seconds))


def test_what_was_decided_by_the_clock_stays_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path / "run")
    at(monkeypatch, 20.0)
    assert by_clock(run, "control-longer", int) == 40
    at(monkeypatch, 55.0)
    assert by_clock(run, "control-longer", int) == 40 and by_clock(run, "ensemble", int) == 5
    assert decided(run.session.folder) == Decision(
        60.0, 1.0, {"retrain": 2.0}, {"retrain": 5}, {"control-longer": 40, "ensemble": 5}
    )


def test_a_run_without_a_folder_asks_the_clock_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(None)
    at(monkeypatch, 50.0)
    assert by_clock(run, "ensemble", lambda left: int(left > 2 * CLOSING)) == 0
    at(monkeypatch, 30.0)
    assert by_clock(run, "ensemble", lambda left: int(left > 2 * CLOSING)) == 1


def test_every_file_has_its_time_kept_back() -> None:
    def files(**options: Any) -> int:
        return files_of(RunConfig.parse({**FAST, **options}))

    assert files() == 1 and files(ensemble={"count": 2}) == 2
    assert files(ensemble={"count": 2}, export={"int8": True, "preprocess": True}) == 4
    assert kept_back(60, 2) == 2 * CLOSING and kept_back(3600, 2) == 360


@pytest.mark.parametrize(
    ("elapsed", "epochs"),
    [(0.0, 25), (49.0, 0), (58.0, 0)],
    ids=["all of it", "less than an epoch after the files", "nothing"],
)
def test_the_longer_control_gets_what_the_clock_has_left(
    elapsed: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, history = begun(tmp_path / "run"), [SimpleNamespace(seconds=2.0)] * 4
    at(monkeypatch, elapsed)
    untouched = SimpleNamespace(seeds=[SimpleNamespace(history=history)])
    assert _epochs_left(run, untouched) == epochs  # type: ignore[arg-type]
    assert _epochs_left(begun(None, budget=None), untouched) == math.inf  # type: ignore[arg-type]


def test_a_longer_control_without_time_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "_epochs_left", lambda run, untouched: 0)
    options = {"finalists": {"longer": True}, "control": True}
    result = dashfx.search(ToyNet, DATA, config={**FAST, **options, "search": {**FAST["search"], "epochs": 1}})
    assert not [epoch for epoch in result.history if epoch.stage == LONGER_STAGE]
