"""The complete stage: a run writes complete files where they are asked for, and what it cannot know is said early."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from toys import FAST, ToyNet, arrays

import dashfx
from dashfx.cli.main import run
from dashfx.deploy.complete.running import CompleteModel
from dashfx.errors import ConfigError, VerifyError
from dashfx.run.prepare import prepare
from dashfx.stages.files import complete as stage
from dashfx.stages.files.complete import check_meaning
from dashfx.task import Task, load_task

NAMES = np.array(["low", "mid", "high"])


def named() -> dict[str, Any]:
    given = arrays()
    return {"x": given["x"] * 7 + 3, "y": NAMES[given["y"]]}


def options(**export: Any) -> dict[str, Any]:
    return {**FAST, "export": {"dynamic_size": False, **export}}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dashfx.Result:
    out = tmp_path_factory.mktemp("runs") / "run"
    return dashfx.search(ToyNet, named(), out=out, config=options(preprocess=True, postprocess=True))


def test_a_run_hands_back_a_file_that_names_classes_of_raw_rows(result: dashfx.Result) -> None:
    assert result.folder is not None
    session = onnxruntime.InferenceSession(str(result.folder / "model.complete.onnx"))
    x = named()["x"][:20]
    probabilities, index, label = session.run(None, {"rows": x})
    facts = json.loads((result.folder / "data.json").read_text())
    told, normalisation = facts["labels"], facts["normalisation"]
    mean, std = (np.array(normalisation[name])[None, :, None] for name in ("mean", "std"))
    with torch.no_grad():
        expected = result.model(torch.from_numpy((x - mean) / std).float()).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert label.tolist() == [told[place] for place in index] and set(label) <= set(NAMES)
    assert (result.folder / "model.onnx").is_file()
    assert [
        note for note in result.notes if note.startswith("complete: model.complete.onnx takes float32 rows of 2x24")
    ]


def test_eval_measures_a_complete_file_and_a_run_with_one(
    result: dashfx.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "data.npz", **named())
    assert result.folder is not None
    values = []
    for file in ("model.onnx", "model.complete.onnx"):
        assert run(["eval", str(result.folder / file), "--data", str(tmp_path / "data.npz")]) == 0
        values.append(capsys.readouterr().out.split()[-1])
    assert values[0] == values[1] != ""
    other = tmp_path / "other.npz"
    np.savez(other, x=named()["x"][:, :, :20], y=named()["y"])
    assert run(["eval", str(result.folder / "model.complete.onnx"), "--data", str(other)]) == 2


def test_what_fails_is_a_note_and_the_run_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise VerifyError("other answers")

    monkeypatch.setattr(stage, "completed", fails)
    config = {**options(preprocess=True), "search": {**FAST["search"], "epochs": 1}}
    found = dashfx.search(ToyNet, named(), out=tmp_path / "run", config=config)
    assert "complete: no file beside model.onnx: other answers" in found.notes
    assert not (tmp_path / "run" / "model.complete.onnx").exists() and (tmp_path / "run" / "result.json").is_file()


def own(data: dashfx.Data) -> Task:
    """A task of a user's."""
    return replace(load_task("classify", data), name="mine")


def test_a_task_of_ones_own_is_refused_before_training(tmp_path: Path) -> None:
    data = dashfx.load_data(named())
    with pytest.raises(ConfigError, match=r"export.postprocess: the task 'mine' is your own"):
        dashfx.search(ToyNet, data, task=own(data), out=tmp_path / "run", config=options(postprocess=True))
    assert not (tmp_path / "run").exists()
    check_meaning(prepare(ToyNet, data, config=FAST).inputs)


def test_without_data_noise_of_their_form_has_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(__file__).parents[2] / "folders" / "before" / "run"
    folder = tmp_path / "run"
    shutil.copytree(before, folder)
    arguments = ["export", str(folder), "--preprocess", "--postprocess", "--out", str(tmp_path / "m.onnx")]
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert "says nothing of raw rows" in error and "--data" in error and not (tmp_path / "m.onnx").exists()
    facts = json.loads((folder / "data.json").read_text())
    form = {"shape": [24, 2], "dtype": "float32", "layout": "last", "scale": 1.0, "bands": 0, "rate": 0, "outside": []}
    (folder / "data.json").write_text(json.dumps({**facts, "raw": form}))
    assert run(arguments) == 0
    assert "checked on noise alone" in capsys.readouterr().out
    opened = CompleteModel(tmp_path / "m.complete.onnx")
    assert opened.session.get_inputs()[0].shape[2] == 2 and opened.facts is not None


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["load_model.py", "--preprocess"], "--preprocess with load_model.py: how raw rows become inputs"),
        (["model.onnx"], "exported already"),
        (["model.onnx", "--for", "cud"], "did you mean 'cuda'"),
        (["model.onnx", "--postprocess"], "give the run's folder"),
        (["model.onnx", "--for", "cpu"], "model.onnx: cannot be read"),
    ],
)
def test_what_export_cannot_do_is_one_line(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", *arguments]) == 2
    assert why in capsys.readouterr().err and not list(tmp_path.iterdir())
