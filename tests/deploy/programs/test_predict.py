"""The program in a run's folder reads raw rows as dashfx does, and needs neither dashfx nor torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dashfx.data import Data, load_data
from dashfx.data.reading import Reading
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.programs import predict
from dashfx.stages.export import data_facts
from dashfx.task import load_task

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('dashfx', 'torch', 'onnx', 'PIL'))); import runpy; "
RUN = f"{BLOCKED}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

rng = np.random.default_rng(0)
Y = np.arange(30) % 3
RAW: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "series": (rng.normal(3, 2, (30, 2, 12)).astype(np.float32), {}),
    "one channel": (rng.normal(3, 2, (30, 12)), {}),
    "far from zero": (rng.normal(1e6, 2, (30, 2, 12)), {}),
    "by position": (rng.normal(3, 2, (30, 2, 12)), {"normalise": "positions"}),
    "grey images": (rng.integers(0, 255, (30, 8, 9), np.uint8), {}),
    "channels first": (rng.integers(0, 255, (30, 3, 8, 9), np.uint8), {}),
    "channels last": (rng.integers(0, 255, (30, 8, 9, 3), np.uint8), {}),
    "said to be last": (rng.normal(size=(30, 12, 2)), {"reading": {"layout": "last"}}),
    "said to have none": (rng.normal(size=(30, 8, 9)), {"reading": {"layout": "none"}}),
    "as they are": (rng.normal(3, 2, (30, 2, 12)), {"normalise": False}),
}


def loaded(given: Any, options: dict[str, Any]) -> tuple[Data, dict[str, Any]]:
    """The data as dashfx reads them, and what `data.json` says of them."""
    reading = Reading(**options.get("reading", {}))
    data = load_data(given, **{**options, "reading": reading})
    return data, json.loads(json.dumps(data_facts(data, load_task("classify", data))))


@pytest.mark.parametrize(("x", "options"), RAW.values(), ids=RAW)
def test_rows_are_read_as_dashfx_reads_them(x: np.ndarray, options: dict[str, Any], tmp_path: Path) -> None:
    data, facts = loaded({"x": x, "y": Y}, options)
    np.savez(tmp_path / "new.npz", x=x[data.valid.index])
    found = predict.normalised(predict.load(tmp_path / "new.npz", facts), facts)
    expected, _ = data.valid.__getitems__(list(range(len(data.valid))))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reading", [{}, {"size": 6}, {"size": 6, "fit": "crop"}, {"size": 10, "fit": "pad"}])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_images_are_read_as_dashfx_reads_them(shape: tuple[int, ...], reading: dict[str, Any], tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(folder / f"{number}.png")
    data, facts = loaded(str(tmp_path / "images"), {"reading": reading})
    paths = sorted((tmp_path / "images").rglob("*.png"))
    found = [torch.from_numpy(predict.normalised(predict.load(path, facts), facts))[0] for path in paths]
    expected, _ = data.test.__getitems__(list(range(len(data.test))))
    assert all(any(torch.allclose(x, each, atol=1e-5) for each in found) for x in expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of a run's folder the program needs, and new rows."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
    write(model, Attempt("torchscript", (torch.randn(2, 2, 12),), ({0: "batch"},), 18), folder / "model.onnx", {})
    data, facts = loaded({"x": RAW["series"][0], "y": np.array(["cat", "dog", "owl"])[Y]}, {})
    (folder / "data.json").write_text(json.dumps(facts))
    shutil.copy(predict.__file__, folder / "predict.py")
    np.save(folder / "new.npy", RAW["series"][0][data.valid.index])
    x, _ = data.valid.__getitems__(list(range(len(data.valid))))
    (folder / "expected.json").write_text(json.dumps([data.labels[i] for i in model(x).argmax(1)]))
    return folder


def test_it_runs_without_dashfx_and_torch(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "predict.py"), str(folder / "new.npy"), "--out", "kept.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]
    assert said == json.loads((folder / "expected.json").read_text())
    assert np.load(tmp_path / "kept.npy").shape == (len(said), 3)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (np.zeros((2, 3, 12)), "do not fit the model"),
        (np.zeros((2, 2, 12)), "reading.window"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    given: np.ndarray, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", given)
    facts = {"input_shape": [2, 12], "reading": {"window": 12 if "window" in why else 0}}
    with pytest.raises(SystemExit) as stopped:
        predict.load(tmp_path / "x.npy", facts)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and why in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "zip.npy", "text.npy", "objects.npy", "none.npy", "x.png", "model"])
def test_foreign_bytes_are_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, facts = tmp_path / name, {"input_shape": [1, 8, 8], "reading": {}}
    path.write_bytes(b"\x93NUMPY\x01\x00 no array")
    if name == "zip.npy":
        np.savez(tmp_path / "zip.npz", x=np.zeros((2, 1, 8, 8)))
        (tmp_path / "zip.npz").rename(path)
    elif name.endswith(".npy") and name != "x.npy":
        kinds = {"text.npy": np.array(["a", "b"]), "objects.npy": np.array([{}, []], object), "none.npy": np.zeros(0)}
        np.save(path, kinds[name], allow_pickle=True)
    with pytest.raises(SystemExit) as stopped:
        predict.opened(path) if name == "model" else predict.load(path, facts)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and str(path) in error and error.count("\n") == 1


def test_one_row_and_what_it_means() -> None:
    facts = {"input_shape": [2, 12], "reading": {}, "labels": ["a", "b"], "kind": "classes"}
    assert predict.rows(np.zeros((2, 12)), facts, Path("x")).shape == (1, 2, 12)
    assert predict.said(np.array([0.1, 2.0]), facts) == "b"
    assert predict.said(np.array([0.1, 2.0]), {**facts, "kind": "multilabel"}) == "a, b"
    assert predict.said(np.array([-1.0, -2.0]), {**facts, "kind": "multilabel"}) == "none"
    assert predict.said(np.array([0.5, 2.0]), {**facts, "kind": "dense"}) == "0.5 2"
    assert "--out" in predict.said(np.zeros((2, 12)), {**facts, "kind": "dense"})
