"""A user's own parts, in a file of theirs, run from the command line; mistakes are said before data are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import user_parts
import yaml
from toys import arrays

from dashfx.cli.main import run

NET = """
from toys import ToyNet
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and a user's parts; exporting takes seconds and is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))
    Path("net.py").write_text(NET)
    Path("mine.py").write_text(Path(user_parts.__file__).read_text())
    np.savez("data.npz", **arrays())
    return tmp_path


def search(out: str, *options: str) -> int:
    sizes = ("--kernels=3,5", "--dilations=1,2", "--epochs=2", "--retrain-epochs=1", "--batch-size=16", "--no-control")
    given = ("net.py:ToyNet", "--data=data.npz", f"--out={out}", "--device=cpu", "--quiet")
    return run(["search", *given, *sizes, *(f"--set={o}" if "." in o.split("=")[0] else f"--{o}" for o in options)])


GRADIENT = {
    "search.relaxation": "mine.py:Warming",
    "search.update": "mine.py:Sparing",
    "search.rule": "mine.py:Turns",
    "search.monitors": "[patience:epochs=9, mine.py:Slowing:start=0.2]",
    "search.terms": "[mine.py:Small:weight=0.01, expected-cost:cost=taps]",
    "search.edits": "[mine.py:First:most=2, within:share=0.9]",
    "search.cost": "mine.py:Kernel",
    "search.schedule": "mine.py:falling:floor=0.4",
    "search.optimizer": "mine.py:plain_sgd",
    "search.alpha_optimizer": "mine.py:heavy:momentum=0.9",
    "search.warm_start": "mine.py:Narrow",
    "search.warmup": "0",
    "blackbox.evaluations": "4",
    "retrain.schedule": "mine.py:falling",
}


def test_one_of_each_kind_in_one_search(place: Path) -> None:
    assert search("run", *(f"{name}={text}" for name, text in GRADIENT.items())) == 0
    genotype = json.loads(Path("run/genotype.json").read_text())
    assert genotype["rule"] == "turns" and len(Path("run/evaluations.jsonl").read_text().splitlines()) == 4
    log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    notes = [event.get("text", event.get("note", "")) for event in log if event["event"] == "note"]
    assert any("first: 2 candidates a site" in note for note in notes)
    rates = [event["lr"] for event in log if event["event"] == "epoch"]
    assert rates == pytest.approx([0.075, 0.04, 1.5e-3])
    written = yaml.safe_load(Path("run/config.yaml").read_text())["search"]
    assert written["relaxation"] == "mine.py:Warming" and written["terms"][0] == "mine.py:Small:weight=0.01"


def test_an_optimiser_and_an_evaluator(place: Path) -> None:
    assert search("run", "strategy=mine.py:Greedy", "evaluator=mine.py:Narrow", "evaluations=20") == 0
    genotype = json.loads(Path("run/genotype.json").read_text())
    assert genotype["rule"] == "Greedy by narrow" and {tuple(c["kernel"]) for c in genotype["sites"].values()} == {(3,)}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("search.relaxation=mine.py:Warmng", "did you mean 'Warming'"),
        ("search.update=mine.py:Small", "is no update"),
        ("search.monitors=[mine.py:Slowing:begin=1]", "no argument 'begin'"),
        ("search.terms=[expected-cst]", "did you mean 'expected-cost'"),
        ("search.edits=[within:share=-1]", "argument 'share'"),
        ("search.edits=[none.py:First]", "no such file: none.py"),
        ("search.schedule=cosin", "did you mean 'cosine'"),
        ("retrain.optimizer=adm", "did you mean 'adam'"),
        ("search.alpha_optimizer=sdg", "did you mean 'sgd'"),
        ("search.alpha_on=valid", "is called update now"),
        ("strategy=evolution:populaton=3", "did you mean 'population'"),
        ("strategy=mine.py:Small", "is no strategy, optimiser or rule"),
    ],
)
def test_mistakes_are_one_line_before_data_are_read(
    place: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    Path("data.npz").unlink()
    assert search("run", option) == 2
    line = capsys.readouterr().err.strip()
    assert said in line and "\n" not in line and not Path("run").exists()
