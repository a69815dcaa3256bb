"""`dashfx rank` and `dashfx search-task`: what they show and write, for models, for genotypes, and for mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dashfx.blackbox.genotype_table import GenotypeTable
from dashfx.cli.main import run
from dashfx.cli.proxy_input import proxy_input

NETS = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self, width=2):
        super().__init__(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(width, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 3))

class Net3(Net):
    def __init__(self):
        super().__init__(3)

class Net4(Net):
    def __init__(self):
        super().__init__(4)

class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(256, 4))
"""
NAMES = ["net.py:Net", "net.py:Net3", "net.py:Net4"]
NOISE = ["--input", "1x16x16", "--batch-size", "4"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETS)
    Path("truth.csv").write_text("model,seed,accuracy\nnet.py:Net,0,0.1\nnet.py:Net3,0,0.5\nnet.py:Net4,0,0.7\n")
    return tmp_path


def test_models_are_ranked_beside_known_results(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--proxies", "synflow,naswot", "--truth", "truth.csv", "--csv", "ranks.csv", "--plot", "ranks.png"]
    assert run(["rank", *NAMES, *NOISE, *options]) == 0
    told = capsys.readouterr()
    order = [line.split()[0] for line in told.out.splitlines() if line.strip().startswith("net.py")]
    assert sorted(order) == NAMES and "seconds a model" in told.out
    agreement = next(line.split() for line in told.out.splitlines() if line.split()[:1] == ["params"] and "to" in line)
    assert agreement[1] == "1.000"
    rows = list(csv.DictReader(Path("ranks.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == NAMES and set(rows[0]) == {
        "name",
        "params",
        "flops",
        "synflow",
        "naswot",
        "seconds",
        "note",
    }
    assert Path("ranks.png").stat().st_size > 1000 and "claim to test" in told.err and "rank 3/3" in told.err


def test_errors_as_known_results_are_turned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rank", *NAMES, *NOISE, "--proxies", "params", "--truth", "truth.csv", "--lower-is-better"]) == 0
    said = capsys.readouterr().out
    assert next(line.split()[1] for line in said.splitlines() if "to" in line and "params" in line) == "-1.000"


def test_the_genotypes_of_a_space_are_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--space", "baby", "--sample", "5", "--proxies", "params,flops", "--csv", "ranks.csv"]
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(size=(30, 1, 16, 16)).astype(np.float32), y=np.arange(30) % 3)
    assert run(["rank", "net.py:Net", "--data", "data.npz", *options]) == 0
    said = capsys.readouterr().out
    assert "untouched" in said and "choices of the best" in said
    table = GenotypeTable.load("ranks.csv", "params")
    assert len(table.values) == 6 and max(table.values.values()) > min(table.values.values())


def test_the_genotypes_of_a_table_are_ranked_against_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"genotype": {"0": f"{k},1", "3": f"{k},1"}, "valid": k, "test": -k} for k in (3, 5, 7)]
    Path("known.json").write_text(json.dumps({"rows": rows}))
    options = ["--proxies", "params", "--truth", "known.json"]
    for column, rho in ((), "1.000"), (("--column", "test"), "-1.000"):
        assert run(["rank", "net.py:Net", *NOISE, *options, *column]) == 0
        said = capsys.readouterr().out
        assert next(line.split()[1] for line in said.splitlines() if "to" in line and "params" in line) == rho


def test_data_are_read_as_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(5, 1, size=(30, 1, 16, 16)).astype(np.float32)
    np.savez("data.npz", x=x, y=np.arange(30) % 3)
    flags = {"data": "data.npz", "input": None, "seed": 0}
    assert abs(float(proxy_input({**flags, "assignments": None}, 8)[0].mean())) < 0.2  # normalised
    assert float(proxy_input({**flags, "assignments": ["normalise=false"]}, 8)[0].mean()) > 4
    both = ["--data", "data.npz", "--set", "limit=4", "--set", "normalise=false"]
    assert run(["rank", NAMES[0], *both, "--proxies", "params", "--batch-size", "4"]) == 0
    capsys.readouterr()
    for verb in (["rank", NAMES[0]], ["search-task", "truth.csv"]):
        assert run([*verb, *both, "--set", "search.lr=1"]) == 2
        assert "--set 'search.lr=1': here it says how --data is read, by reading" in capsys.readouterr().err


def test_a_task_is_searched_used_and_continued(capsys: pytest.CaptureFixture[str]) -> None:
    results = "".join(f"net.py:N{w},{w}\n" for w in range(6))
    Path("net.py").write_text(NETS + "".join(f"\ndef N{w}():\n    return Net({w + 1})\n" for w in range(6)))
    Path("known.csv").write_text("model,accuracy\n" + results)
    small = ["--population", "2", "--tournament", "1", "--iterations", "2", "--held-out", "0.5", *NOISE]
    assert run(["search-task", "known.csv", *small, "--evaluations", "2"]) == 0
    assert "the task found" in capsys.readouterr().out and Path("task.jsonl").is_file()
    assert run(["search-task", "known.csv", *small, "--evaluations", "3"]) == 2
    assert "or --resume" in capsys.readouterr().err
    assert run(["search-task", "known.csv", *small, "--evaluations", "3", "--resume"]) == 0
    assert json.loads(Path("task.json").read_text())["found"]["evaluations"] == 3
    assert run(["rank", "net.py:Net", *NOISE, "--proxies", "gennas:task.json", "--quiet"]) == 0
    assert "gennas-searched" in capsys.readouterr().out


BAD: dict[str, tuple[list[str], str]] = {
    "no model": (["rank", *NOISE], "no model"),
    "no input": (["rank", *NAMES], "--input 3x32x32"),
    "no such class": (["rank", "net.py:Nett", *NOISE], "did you mean 'Net'"),
    "timm": (["rank", "timm:resnet18", *NOISE], "timm"),
    "unknown proxy": (["rank", *NAMES, *NOISE, "--proxies", "synflw"], "did you mean 'synflow'"),
    "no such task": (["rank", *NAMES, *NOISE, "--proxies", "gennas:none.json"], "none.json"),
    "unknown preset": (["rank", NAMES[0], *NOISE, "--space", "babby"], "did you mean 'baby'"),
    "a space of two models": (["rank", *NAMES, *NOISE, "--space", "baby"], "give one MODEL"),
    "two known results": (
        ["rank", *NAMES[:2], *NOISE, "--proxies", "params", "--truth", "truth.csv"],
        "give 3 or more",
    ),
    "no such results": (["rank", *NAMES, *NOISE, "--truth", "none.csv"], "none.csv' cannot be read"),
    "no such column": (["rank", *NAMES, *NOISE, "--truth", "truth.csv", "--column", "accurcy"], "mean 'accuracy'"),
    "plot of nothing": (["rank", *NAMES, *NOISE, "--plot", "a.png"], "--plot needs --truth"),
    "plot as text": (["rank", *NAMES, *NOISE, "--plot", "a.txt", "--truth", "truth.csv"], "give a .png file"),
    "no folder": (["rank", *NAMES, *NOISE, "--csv", "none/a.csv"], "no folder"),
    "few known results": (["search-task", "truth.csv", *NOISE], "3 known results: give 6 or more"),
    "no runs": (["search-task", ".", *NOISE], "no finished runs"),
    "out": (["search-task", "truth.csv", *NOISE, "--out", "task.txt"], "give a .json file"),
    "nothing to resume": (["search-task", "truth.csv", *NOISE, "--resume"], "no task.jsonl to continue"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0], errors


def test_constant_results_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("flat.csv").write_text("model,accuracy\n" + "".join(f"{name},0.5\n" for name in NAMES))
    assert run(["rank", *NAMES, *NOISE, "--proxies", "params", "--truth", "flat.csv"]) == 2
    assert "nothing can be ranked" in capsys.readouterr().err


def test_a_model_without_stages_comes_last_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rank", "net.py:Flat", "net.py:Net", *NOISE, "--proxies", "single"]) == 0
    said = capsys.readouterr().out
    assert said.index("net.py:Net ") < said.index("net.py:Flat ") and "without a score" in said
