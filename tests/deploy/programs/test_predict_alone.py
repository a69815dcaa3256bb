"""The program of a run's folder gives dashfx's own answers for raw files, where little else can be imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from user_files import CASES, NAMES, Net

from dashfx.data.raw import raw_data
from dashfx.deploy.complete.file import Around, Rows, completed
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.programs import predict
from dashfx.stages.export import data_facts, real_rows
from dashfx.task import LossOptions, in_data_units, load_task

# Refuses whatever is not in the standard library or named; ONNX Runtime itself asks for more, and does without.
ALONE = """
import runpy, sys
known = {*sys.stdlib_module_names, *sys.argv[1].split(",")}
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in known:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
KINDS = {  # the files of a user's test part, and what else than numpy and onnxruntime they need
    "images": ("*/test/*/*.png", "PIL"),
    "sounds": ("*/test/*/*.wav", ""),
    "series": ("new.npz", ""),
    "numbers to regress": ("new.npz", ""),
}


def predicted(folder: Path, files: list[Path], model: str, allowed: str) -> tuple[np.ndarray, list[str]]:
    """The outputs that the program kept, and what it said of each row."""
    given = [str(folder / "predict.py"), *map(str, files), "--model", str(folder / model), "--out", "kept.npy"]
    command = [sys.executable, "-c", ALONE, f"numpy,onnxruntime,{allowed}", *given]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "kept.npy"), [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_raw_files_of_a_kind(kind: str, tmp_path: Path) -> None:
    case, (pattern, allowed) = CASES[kind], KINDS[kind]
    data, rows = case.load(tmp_path)
    task = load_task(case.task, data, LossOptions(normalise_targets=None))
    model = in_data_units(Net(data).eval(), task.target)
    x, _ = data.test.__getitems__(list(range(len(data.test))))
    write(model, Attempt("torchscript", (x,), ({0: "batch"},), 18), tmp_path / "model.onnx", {})
    assert data.raw is not None
    around = Around(data.raw, data.normalisation, data.kind, data.labels, meaning=True)
    real = Rows(real_rows(raw_data(data, data.raw)), real_rows(data))
    completed(tmp_path / "model.onnx", tmp_path / "model.complete.onnx", model, around, real)
    (tmp_path / "data.json").write_text(json.dumps(data_facts(data, task)), encoding="utf-8")
    shutil.copy(predict.__file__, tmp_path / "predict.py")
    np.savez(tmp_path / "new.npz", x=rows)
    files = sorted(tmp_path.glob(pattern))

    with torch.no_grad():
        expected = model(x)
    answers, said = predicted(tmp_path, files, "model.onnx", allowed)
    scale = expected.abs().max().item()
    np.testing.assert_allclose(answers / scale, expected.numpy() / scale, atol=1e-5)
    raw, same = predicted(tmp_path, files, "model.complete.onnx", allowed)
    if data.kind == "classes":
        assert said == same == [NAMES[place] for place in expected.argmax(1)]
        expected, scale = expected.softmax(1), 1.0
    else:
        numbers = np.array([line.split() for line in said], float)
        np.testing.assert_allclose(numbers, answers.reshape(len(answers), -1), rtol=1e-4)
    np.testing.assert_allclose(raw / scale, expected.numpy() / scale, atol=2e-5)
