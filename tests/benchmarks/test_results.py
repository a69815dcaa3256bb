"""The table of results: its data sets' options, the variants it adds, and what it prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import toys

from benchmarks.controls import run
from benchmarks.prepare import IGNORED, RESIDUES, peptides, waves
from benchmarks.results import call, metrics, seconds
from benchmarks.table import by_variant
from benchmarks.tasks import ENTRIES
from dashfx import Candidate, Genotype
from dashfx.config.files import assign
from dashfx.config.run import RunConfig
from dashfx.frontend.model import load_model


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ENTRIES)
def test_every_data_set_has_options_that_exist(name: str, full: bool) -> None:
    found = call(name, argparse.Namespace(full=full, data=Path("data"), out=Path("runs"), settings=[]))
    config = RunConfig.parse(assign({}, found.settings))
    assert load_model(found.model, assign({}, found.args)) and config.task
    assert not full or config.limit is None


def test_all_3_and_tuned_are_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    np.savez(tmp_path / "toy.npz", **toys.arrays())
    short = [
        "search.epochs=2",
        "retrain.epochs=3",
        "search.autotune=false",
        "space.kernels=[3,5]",
        "search.batch_size=16",
    ]
    options = argparse.Namespace(
        model=f"{toys.__file__}:ToyNet",
        args=[],
        data=str(tmp_path / "toy.npz"),
        settings=short,
        trials=2,
        out=tmp_path / "ENTRY",
    )
    for variant in ("all-3", "searched", "tuned"):
        run(options, variant, 0)
    of = {variant: Genotype.load(options.out / f"{variant}-0" / "genotype.json") for variant in ("all-3", "searched")}
    assert set(dict(of["all-3"].items()).values()) == {Candidate(3)}
    assert Genotype.load(options.out / "tuned-0" / "genotype.json") == of["searched"]
    trials = json.loads((options.out / "searched-0" / "tuned.json").read_text())["trials"]
    assert len(trials) == 2
    log = options.out / "tuned-0" / "log.jsonl"  # its own epochs round to nothing; here one was stopped for a while
    epochs = ({"event": "epoch", "stage": "retrain", "seconds": took} for took in (10.0, 900.0, 10.0, 10.0))
    log.write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
    assert seconds(by_variant(options.out), "tuned", options.out).endswith("40")


def test_the_best_on_validation_is_bold_not_the_best_on_test() -> None:
    def result(valid: float, test: float) -> dict[str, object]:
        return {"valid": valid, "test": test, "metric": "error", "maximise": False, "seconds": {}}

    results = {"untouched": [result(0.2, 0.1)], "searched": [result(0.1, 0.3), result(0.1, 0.5)]}
    results |= {"random": [result(0.0, 0.0)], "tuned": [result(0.1, 0.0)]}  # a control, and no better than the search
    assert metrics(results) == "error ↓ | 1-2 | 0.100 | 0.000 |  |  | **0.400 ± 0.141** | 0.000"


def test_marks_and_residues_are_read(tmp_path: Path) -> None:
    x, y = np.ones((2, 12, 40), np.int16), np.zeros((2, 12, 40), np.uint8)
    y[..., 10:12], y[..., 20:22] = 1, 3
    np.savez(tmp_path / "ludb.npz", x=x, y=y)
    found = waves(tmp_path / "ludb.npz")
    assert found["x"].shape == (24, 1, 20) and len(set(found["groups"])) == 2
    assert found["y"][0].tolist() == [IGNORED] * 5 + [1, 0, 0, 0, 0, 3] + [IGNORED] * 9
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_text(">0101\nACxW\n")
    made = peptides(tmp_path / "train.txt", tmp_path / "test.txt")
    assert made["y_train"].tolist() == [[0, 1, 0, 1]] and made["x_test"][0].sum() == 3
    assert made["x_test"][0, RESIDUES.index("W"), 3] == 1
