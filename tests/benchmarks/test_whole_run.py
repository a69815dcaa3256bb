"""The benchmark of whole runs: its commands can be parsed, a set is run once, and the table counts what it should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import whole_run
from benchmarks.whole_run import CASES, account_of, command, environment, main, table
from dashfx.config.run import RunConfig
from dashfx.frontend.model import load_model
from dashfx.run.outcome.account import Account

ROWS = {"import": {"other": 5.0}, "control": {"training": 20.0, "validation": 4.0}, "ladder": {"other": 2.0}}
ACCOUNT = Account({**ROWS, "retrain": {"training": 48.0}}, 24.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_set_has_a_network_and_options_that_exist(case: Any) -> None:
    arguments = dict(each.split("=") for each in case.arguments)
    assert load_model(case.model, {name: int(value) for name, value in arguments.items()})
    config = RunConfig.parse({"retrain": {"batch_size": 16}, "limit": 900})
    assert all(each.split("=")[0] in ("retrain.batch_size", "limit") for each in case.settings) and config.limit == 900


def test_ten_sets_by_one_command_each(tmp_path: Path) -> None:
    assert len({case.name for case in CASES}) == 10
    given = command(CASES[1], tmp_path, tmp_path / "out")
    assert given[1:4] == ["-m", "dashfx", "search"] and given[-2:] == ["cpu", "--quiet"]
    assert given[given.index("--set") + 1 :][:2] == ["retrain.batch_size=16", "limit=900"]
    assert command(CASES[4], tmp_path, tmp_path)[6] == str(tmp_path / "FacesUCR.npz")
    assert environment(tmp_path / "out")["XDG_CACHE_HOME"] == str(tmp_path / "out-cache")


def test_a_set_is_run_once_and_one_that_was_interrupted_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, calls = tmp_path / "digits", list[list[str]]()
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 0\n")

    def run(given: list[str], **_: Any) -> None:
        assert not folder.exists()
        calls.append(given)
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps({"account": ACCOUNT.to_dict()}))

    monkeypatch.setattr(whole_run.subprocess, "run", run)
    assert account_of(CASES[0], tmp_path, folder) == ACCOUNT == account_of(CASES[0], tmp_path, folder)
    assert len(calls) == 1
    main(["--data", str(tmp_path), "--out", str(tmp_path), "--only", "digits"])
    assert "| digits | 79.0 | 14 % | 3.29 |" in capsys.readouterr().out and len(calls) == 1


def test_the_table_counts_medians_and_what_is_aimed_at() -> None:
    slow = Account({**ROWS, "race": {"training": 60.0, "data": 28.0}}, 24.0)
    lines = table({"a": ACCOUNT, "b": slow, "c": slow})
    assert (
        lines[2]
        == "| a | 79.0 | 14 % | 3.29 | 5.0 | 0.0 | 0.0 | 0.0 | 48.0 | 24.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 | 2.0 |"
    )
    assert "not training 32.8 [23.3, 32.8] %, aimed at 15: missed" in lines[-2]
    assert "trainings 4.96 [4.12, 4.96], aimed at 3.5: missed" in lines[-2]
    assert lines[-1] == "by kind: training 67.2 %, validation 3.4 %, other 5.9 %, data 23.5 %"
    good = table({"a": ACCOUNT})
    assert "not training 13.9 %, aimed at 15: hit" in good[-2] and "trainings 3.29, aimed at 3.5: hit" in good[-2]


def test_data_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--out", str(tmp_path)])
    assert f"no FacesUCR.npz in {tmp_path}" in capsys.readouterr().err
