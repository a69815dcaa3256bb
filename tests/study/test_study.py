"""A study carried out by made-up searches and by real ones: resumed, calibrated, and what its files say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import FAST, arrays

from dashfx.cli.main import run
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, DivergedError, RunFolderError
from dashfx.genotype import Genotype
from dashfx.study import Plan, study
from dashfx.study.markdown import cells
from dashfx.study.plan import Trial
from dashfx.study.runs import Outcome, read_outcome
from dashfx.study.summary import CLEAR, summarised, verdict

OPTIONS = {"model": "net.py:Net", "data": "digits"}
FIRST = ["untouched-0", "random-0", "dash-0"]
Value = Callable[[str, int], float]


def result(config: RunConfig, test: float, **more: Any) -> dict[str, Any]:
    """What a run's folder holds in the end, of what a study reads."""
    work = 300.0 if config.method == "dash" else 100.0
    kept = {"kept": True, "genotype": {"conv": {"kernel": [3 + 2 * config.seed], "dilation": [1]}}, "test": test}
    kept |= {"valid": test, "parameters": 10, "macs": 20, "work": work}
    return {
        "metric": "accuracy",
        "maximise": True,
        "seconds": {"search": 1.0, "export": 9.0},
        "finalists": [kept],
    } | more


class Searching:
    """Writes results that are made up, and remembers what it was asked for."""

    def __init__(self, value: Value, dies: Callable[[str], bool] = lambda name: False, **more: Any) -> None:
        self.value, self.dies, self.more, self.asked = value, dies, more, list[str]()

    def __call__(self, config: RunConfig, folder: Path, resume: bool) -> None:
        self.asked.append(folder.name + (" again" if resume else ""))
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(config.to_yaml())
        if self.dies(folder.name):
            raise KeyboardInterrupt
        test = self.value(str(config.method), config.seed)
        if math.isnan(test):
            raise DivergedError("the loss is nan")
        (folder / "result.json").write_text(json.dumps(result(config, test, **self.more)))


def plan(*methods: str, **more: Any) -> Plan:
    return Plan(methods or ("dash",), **{"seeds": 3, "random": 8, "options": OPTIONS, **more})


def planted(method: str, seed: int) -> float:
    """One method is better than all random choices, the others are like them."""
    rng = np.random.default_rng([seed, *map(ord, method)])
    return float(rng.uniform(0.5, 0.6)) + (0.2 if method == "dash" else 0.0)


def test_an_oracle_is_found_and_chance_is_not(tmp_path: Path) -> None:
    found = study(plan("dash", "gaea"), tmp_path / "s", search=Searching(planted)).summary
    dash, gaea, chance, untouched = found.rows
    assert dash.against and dash.against.p == 1 / math.comb(11, 3) and dash.against.ri > 0 and dash.adjusted == 2 / 165
    assert gaea.against and gaea.against.p > CLEAR and chance.against is None and untouched.against
    assert len(chance.values) == 8 and chance.mean == pytest.approx(np.mean(chance.values))
    assert dash.cost == 3.0 and untouched.cost == 1.0 and untouched.lead is None and untouched.adjusted is None
    assert dash.lead and dash.lead[0] == pytest.approx(dash.mean - untouched.mean) and dash.lead[1] < dash.lead[0]
    said = verdict(found, plan("dash", "gaea"))
    assert "better than random choices" in said and "dash" in said and said.endswith("not shown to be better: gaea")


def test_a_method_that_is_random_keeps_zero_in_its_interval() -> None:
    """Twenty studies by fixed seeds of a method that draws as random choices do; over 2,000 it was .94 of them."""
    held = 0
    for repeat in range(20):
        rng = np.random.default_rng(repeat)
        drawn = [outcome(trial.method, trial.seed, float(rng.normal(0.7, 0.03))) for trial in plan().trials()]
        against = summarised(plan(), drawn).row("dash").against
        assert against is not None
        held += against.low <= 0 <= against.high
    assert held >= 18


def outcome(method: str, seed: int, test: float) -> Outcome:
    return Outcome(Trial(method, seed), Path("x"), Genotype({}), test, test, 1, 1, 100.0, 1.0, "accuracy")


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    root = tmp_path / "s"
    dying = Searching(planted, lambda name: name == "random-1")
    with pytest.raises(KeyboardInterrupt):
        study(plan(), root, search=dying)
    partly = json.loads((root / "study.json").read_text())
    assert [each["folder"] for each in partly["runs"]] == ["untouched-0", "random-0", "dash-0", "untouched-1"]
    assert any("4 of 14 runs" in note for note in partly["notes"]) and "4 of 14 runs" in (root / "study.md").read_text()
    going_on = Searching(planted)
    study(plan(), root, resume=True, search=going_on)
    assert going_on.asked[0] == "random-1 again" and len(going_on.asked) == 14 - 4
    whole = study(plan(), tmp_path / "w", search=Searching(planted))
    assert (root / "study.json").read_text() == (whole.folder / "study.json").read_text()
    assert (root / "study.md").read_text() == (whole.folder / "study.md").read_text()


def test_a_study_may_grow_but_not_change(tmp_path: Path) -> None:
    root = tmp_path / "s"
    study(plan(seeds=2, random=5), root, search=Searching(planted))
    more = Searching(planted)
    study(plan("dash", "gaea", seeds=3, random=6), root, resume=True, search=more)
    assert sorted(more.asked) == ["dash-2", "gaea-0", "gaea-1", "gaea-2", "random-5", "untouched-2"]
    with pytest.raises(RunFolderError, match="not empty"):
        study(plan(), root, search=more)
    with pytest.raises(RunFolderError, match="other options"):
        study(plan(options={**OPTIONS, "limit": 3}), root, resume=True, search=more)
    with pytest.raises(RunFolderError, match="no study's folder"):
        study(plan(), tmp_path / "none", resume=True, search=more)


def test_what_diverges_is_said_and_not_tried_again(tmp_path: Path) -> None:
    def value(method: str, seed: int) -> float:
        return math.nan if (method, seed) in (("dash", 1), ("random", 0)) else planted(method, seed)

    first = Searching(value)
    found = study(plan(), tmp_path / "s", search=first).summary
    row = found.row("dash")
    assert (len(row.values), row.failed, row.against) == (2, 1, None) and row.lead
    assert "diverged" in " ".join(found.notes) and cells(row)[1] == "2 of 3"
    assert len(found.row("random").values) == 7
    again = Searching(value)
    study(plan(), tmp_path / "s", resume=True, search=again)
    assert again.asked == []
    facts = json.loads((tmp_path / "s" / "study.json").read_text())
    failed = next(each for each in facts["runs"] if each["failure"])
    assert failed["test"] is None and "nan" in failed["failure"]


def test_two_searches_beside_five_choices_cannot_tell(tmp_path: Path) -> None:
    found = study(plan("dash", "gaea", seeds=1, random=5), tmp_path / "s", search=Searching(planted)).summary
    assert any("p is 0.17 at least" in note for note in found.notes)


def test_runs_of_two_tasks_are_refused(tmp_path: Path) -> None:
    study(plan(seeds=2, random=5), tmp_path / "s", search=Searching(planted))
    with pytest.raises(RunFolderError, match="accuracy and f1"):
        study(plan(seeds=3, random=5), tmp_path / "s", resume=True, search=Searching(planted, metric="f1"))


def test_a_damaged_result_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"finalists": []}')
    with pytest.raises(RunFolderError, match="damaged"):
        read_outcome(Trial("dash", 0), tmp_path)


def test_objects_have_no_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="by name"):
        study(plan(options={"data": "digits"}), tmp_path / "s", search=Searching(planted))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and data by name, and exports and pages that take no time."""
    np.savez(tmp_path / "waves.npz", **arrays(60))
    (tmp_path / "net.py").write_text("from toys import ToyNet as Net\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
    monkeypatch.setattr("dashfx.stages.files.deliver.write_report", lambda *_: None)
    return tmp_path


def real(*methods: str) -> Plan:
    small = {key: FAST[key] for key in ("space", "device")}
    fit = {"batch_size": 16, "epochs": 1}
    options = {"model": "net.py:Net", "data": "waves.npz", **small, "search": fit, "retrain": fit}
    return Plan(methods, seeds=1, random=5, options=options)


def test_what_a_method_cannot_take_is_known_before_training(files: Path) -> None:
    usual = real("dash", "gaea")
    options = {**usual.options, "search": {**usual.options["search"], "lead": 0.5}}
    with pytest.raises(ConfigError, match=r"method gaea: .*search\.lead"):
        study(Plan(usual.methods, 1, 5, options), files / "s")
    assert not (files / "s").exists()


COMMAND = ["study", "net.py:Net", "--data", "waves.npz", "--out", "s", "--device", "cpu", "--kernels", "3,5"]
SHORT = ["--dilations", "1", "--epochs", "1", "--retrain-epochs", "1", "--batch-size", "16", "--seeds", "1"]
SHORT += ["--set", "search.autotune=false", "retrain.autotune=false"]


def test_the_table_of_the_command_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dashfx.study.carry_out.check_methods", lambda *_: None)
    monkeypatch.setattr("dashfx.study.carry_out._searching", lambda *_: Searching(planted))
    assert run([*COMMAND, *SHORT, "--methods", "dash,gaea,random", "--seeds", "3", "-q"]) == 0
    assert run(["study", "--resume", "--out", "s", "--methods", "dash"]) == 0
    shown = capsys.readouterr().out
    assert "methods, at equal training" in shown and "better than random choices" in shown and "0.006" in shown
    assert "s/study.md" in shown and max(map(len, shown.splitlines())) <= 80
    assert run(["study", "--resume", "--out", "s", "--epochs", "2"]) == 2
    assert "other options (search)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_real_searches_from_the_command_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMMAND, *SHORT, "--methods", "dash,random", "--random", "5"]) == 0
    shown = capsys.readouterr().out
    assert "methods, at equal training" in shown and "not shown to be better: dash" in shown
    assert "s/study.md" in shown and max(map(len, shown.splitlines())) <= 80
    facts = json.loads(Path("s/study.json").read_text())
    dash, _, untouched = facts["methods"]
    assert dash["cost"] > 1 == untouched["cost"] and [run["folder"] for run in facts["runs"]][:3] == FIRST
    known = {str(run["genotype"]) for run in facts["runs"] if run["method"] in ("random", "untouched")}
    assert [each["n"] for each in dash["correlations"]] == [len(known)]
    assert run(["study", "--resume", "--out", "s", "--methods", "dash", "-q"]) == 0
    assert json.loads(Path("s/study.json").read_text()) == facts


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (COMMAND, "--methods: name what to compare"),
        ([*COMMAND, "--methods", "dash,drats"], "no method 'drats'"),
        ([*COMMAND, "--methods", "dash", "--random", "3"], "fewer than 5"),
        ([*COMMAND, "--methods", "dash", "--set", "tune.trials=3"], "equal training"),
        (["study", "--resume"], "--resume needs --out"),
        (["study", "--data", "waves.npz", "--methods", "dash"], "no model"),
        (["study", "net.py:Net", "--methods", "dash"], "no data"),
    ],
)
def test_mistakes_are_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("error:") and "\n" not in error
    assert not (files / "s").exists()
