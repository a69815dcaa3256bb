"""`dashfx pick` on a run that has kept to a budget: what each writes and says, and what cannot be picked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from dashfx.cli.main import run
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.space import Candidate
from dashfx.stages.costs import deployed
from dashfx.stages.costs.pick import repicked

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))
"""
OWN = 4 * 4 + 4 * 13 + 5 * 3  # parameters
EPOCHS = ["--epochs", "2", "--retrain-epochs", "1", "--batch-size", "16", "--no-control"]
SEARCH = ["search", "net.py:Net", "--data", "data.npz", "--kernels", "3,5", "--dilations", "1,2", *EPOCHS, "-q"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run within the tightest budget that can be held, whose sites were decided one by one."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.normal(size=(60, 1, 12)).astype(np.float32), y=np.arange(60) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        budgets = ["--max", f"params={OWN}", "latency=9s"]
        settled = ["--set", "search.discretise=one-by-one"]
        assert run([*SEARCH, *budgets, *settled, "--out", "run"]) == 0
    return folder


@pytest.fixture
def user(searched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(searched)
    return searched


def test_the_run_tells_of_its_budgets(user: Path) -> None:
    facts = json.loads(Path("run/result.json").read_text())
    params, latency = facts["budgets"]
    assert params["measured"] == params["limit"] == facts["parameters"] == OWN and params["held"]
    assert latency["cost"] == "latency" and 0 < latency["measured"] < 9 and latency["sentence"] in facts["notes"]
    assert params["sentence"] in Path("run/report.html").read_text()
    entries = json.loads(Path("run/latency.json").read_text()).values()
    whole = [entry["layer"] for entry in entries if entry["layer"].startswith("the model with")]
    assert (
        len(entries) == 2 * 4 + 1 + len(whole)
        and len(whole) >= 6
        and "the untouched model" in {entry["layer"] for entry in entries}
    )


def test_another_point_without_another_search(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.is_file()}
    assert run(["pick", "run", "--max", f"params={OWN + 8}", "macs=9M"]) == 0
    said = capsys.readouterr().out
    assert f"budget params={OWN + 8}: the model has" in said and "budget macs=9M" in said
    found = Genotype.load("run/picked-1/genotype.json")
    assert found["2"].taps == 3  # a k5 there costs 32 parameters
    assert run(["pick", "run", "--max", "params=1k", "--out", "loose", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in taken} == taken
    load = "from load_model import load; print(load()[2].kernel_size)"
    loaded = subprocess.run([sys.executable, "-c", load], cwd="loose", capture_output=True, text=True)
    assert loaded.stdout.strip() == f"({Genotype.load('loose/genotype.json')['2'].kernel[0]},)", loaded.stderr


def test_kernels_and_precisions_together(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = 4 * (4 * 3 + 4 * 4 * 3 + 4 + 4 + 4 * 3 + 3)
    small = own - 3 * 4 * 4 * 3 + 4 * 13  # the second conv in int8
    assert run(["pick", "run", "--int8", "--max", f"size={small}B", "--out", "small"]) == 0
    said = capsys.readouterr().out
    found = Genotype.load("small/genotype.json")
    assert found.bits == {"2": 8} and found["2"].taps == 3
    graph = onnx.load("small/model.int8.onnx").graph
    maker = {name: node.op_type for node in graph.node for name in node.output}
    small_nodes = [n.name for n in graph.node if n.op_type in ("Conv", "Gemm") and maker.get(n.input[1])]
    assert small_nodes == ["2"] and "int8: model.int8.onnx" in said and f"budget size={small}B: model.int8.onnx" in said


def test_what_each_candidate_takes(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "net.py:Net", "--input", "1x12", "--kernels", "3,5", "--dilations", "1", "--latency"]) == 0
    said = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(said) if "latency of the convs" in line)
    rows = [line.split() for line in said[start:] if " d1 " in line]
    assert [row[:-2] for row in rows] == [["0", "k3", "d1"], ["k5", "d1"], ["2", "k3", "d1"], ["k5", "d1"]]
    assert rows[0][-1] == rows[2][-1] == "1.00" and all(float(row[-2]) > 0 for row in rows)
    assert "the model takes" in " ".join(said) and "CPUExecutionProvider" in " ".join(said)


def test_a_front_of_choices(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path("run").iterdir())
    assert run(["pick", "run", "--pareto", "9"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if " d1" in line or " d2" in line]
    costs, scores = ([float(row[place]) for row in rows if row[0].isdigit()] for place in (0, 1))
    assert costs == sorted(costs) and costs[0] == OWN and scores == sorted(scores)
    assert sorted(Path("run").iterdir()) == before


def test_an_export_tells_what_its_file_costs(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "run", "--out", "again.onnx", "--max", "macs=9M", "size=1B"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"budget params={OWN}: the model has {OWN}, held" in said and "budget latency=9s: the model has" in said
    assert "budget macs=9M: the model has" in said
    assert f"budget size=1B: the model has {4 * OWN} B" in said and "missed by" in said  # of the file's own weights
    assert run(["export", "run/load_model.py", "--out", "again.onnx", "--max", "macs=9M"]) == 2
    assert "--max with run/load_model.py" in " ".join(capsys.readouterr().err.split())
    assert run(["export", "run", "--out", "never.onnx", "--max", "macs"]) == 2 and not Path("never.onnx").exists()


def test_a_retraining_tells_and_keeps_to_budgets(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--epochs", "1", "-q"]
    assert run(["retrain", "run", "--out", "second", *short]) == 0
    params, latency = json.loads(Path("second/result.json").read_text())["budgets"]
    assert params["held"] and params["measured"] == OWN and latency["cost"] == "latency"
    own = Genotype.load("run/genotype.json")
    loose, tight = ["--max", f"params={OWN + 8}"], ["--max", f"params={OWN - 1}"]
    assert run(["retrain", "run", "--out", "third", *loose, *short]) == 0
    assert Genotype.load("third/genotype.json") == own
    assert run(["retrain", "run", "--out", "third", *loose, "--resume", *short]) == 0
    assert run(["retrain", "run", "--out", "fourth", *tight, *short]) == 2 and not Path("fourth").exists()
    assert f"the least that this model and space can have is {OWN}" in " ".join(capsys.readouterr().err.split())


def test_a_retraining_chooses_again_where_its_choice_costs_too_much(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Within this budget no option leaves before the search, as those do that can never fit.
    assert run([*SEARCH, "--max", f"params={OWN + 8 + 32}", "--out", "roomy"]) == 0
    wide = Genotype({name: Candidate(5) for name in ("0", "2")})
    monkeypatch.setattr("dashfx.stages.costs.pick.searched_of", lambda folder: wide)
    _, found = repicked("roomy", [f"params={OWN + 8}"])
    assert found != wide and found["2"].taps == 3
    assert repicked("roomy", ["params=1k"])[1] == wide
    assert repicked("roomy", [f"params={OWN}"], known=wide)[1] == wide  # of a run that is resumed
    monkeypatch.setattr("dashfx.stages.costs.pick.has_mixtures", lambda folder: False)
    with pytest.raises(ConfigError, match=r"missed by .* no trained mixtures to choose again from, so search with"):
        repicked("roomy", [f"params={OWN + 8}"])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "pick needs either --max"),
        (["--max", "params=1k", "--pareto", "3"], "pick needs either --max"),
        (["--pareto", "3", "--cost", "parms"], "no cost 'parms' (did you mean 'params'?)"),
        (["--max", f"params={OWN - 1}"], f"the least that this model and space can have is {OWN}"),
        (["--max", "params=1ms"], "'1ms' is no limit in parameters"),
        (["--max", "params=1k", "--out", "net.py"], "cannot be written"),
    ],
)
def test_mistakes(user: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str) -> None:
    before = sorted(Path("run").iterdir())
    assert run(["pick", "run", *arguments]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert why in said and sorted(Path("run").iterdir()) == before


def test_a_run_without_mixtures_has_nothing_to_pick(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = Path("run/checkpoints/search-last.pt")
    state.rename("away.pt")
    try:
        assert run(["pick", "run", "--max", "params=1k"]) == 2
    finally:
        Path("away.pt").rename(state)
    assert "no mixtures to choose from" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("more", [[], ["--deploy", "sessions"]])
def test_a_run_of_widths_holds_other_budgets_by_another_search_only(
    more: list[str], user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, before = Path("run/config.yaml"), Path("run/config.yaml").read_text()
    options.write_text(before.replace("widths: ''", "widths: taylor"))
    try:
        assert options.read_text() != before and run(["pick", "run", "--max", "params=0.9x", *more]) == 2
    finally:
        options.write_text(before)
    said = capsys.readouterr().err
    assert "its widths hold the budgets" in said and said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.parametrize("command", [
    ["search", "net.py:Net", "--data", "data.npz"], ["retrain", "run"], ["export", "run"],
    ["pick", "run", "--max", "params=90"],
])  # fmt: skip
def test_a_drop_needs_an_int8_file_and_a_number(
    command: list[str], user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert run([*command, "--max-drop", "0.1"]) == 2
    assert "none is asked for: add --int8" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert run([*command, "--int8", "--max-drop", "5%"]) == 2
    assert "max_drop': give a number in the metric's units" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1 and {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_choice_goes_together_with_its_session(
    user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployed, "POINTS", 2)
    monkeypatch.setattr(deployed, "SECONDS", 0.01)
    ways = "sessions:threads=[2,1],precisions=[float32]"
    assert run(["pick", "run", "--max", "params=90", "latency=9s", "--deploy", ways, "--out", "pair"]) == 0
    said = capsys.readouterr().out
    assert "deploy: model.onnx, float32 on 1 thread, graph level all" in said and "held" in said
    told = json.loads(Path("pair/session_options.cpu.json").read_text())["files"]["model.onnx"]
    assert told["session_options"]["intra_op_num_threads"] == 1 and Path("pair/load_model.py").is_file()
    assert run(["pick", "run", "--max", "latency=1us", "--deploy", ways, "--out", "none"]) == 2
    said = capsys.readouterr().err
    assert "no choice and session hold latency=1us; the nearest" in said and said.count("\n") == 1
    assert not Path("none").exists()
    for wrong in (["--int8"], ["--deploy", "phones"]):
        assert run(["pick", "run", "--max", "latency=9s", "--deploy", "sessions", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert run(["pick", "run", "--deploy", "sessions"]) == 2 and "needs either --max" in capsys.readouterr().err
