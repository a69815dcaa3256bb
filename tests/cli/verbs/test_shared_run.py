"""Every verb on the folder of a run whose choices are several kernels a conv."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from dashfx import Candidate, Genotype, Shared
from dashfx.cli.main import run

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(),
                         nn.Conv1d(6, 6, 4, padding="same", groups=3, padding_mode="reflect"), nn.ReLU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3))
"""
OPTIONS = ["--kernels", "3,5,11", "--dilations", "1,2", "--retrain-epochs", "1", "--batch-size", "16", "--no-control"]
ALONE = """
import sys
sys.modules["dashfx"] = None
import numpy, onnxruntime, torch, load_model
model, x = load_model.load(), numpy.random.default_rng(0).normal(size=(2, 1, 16)).astype("float32")
session = onnxruntime.InferenceSession("model.onnx")
(answer,) = session.run(None, {session.get_inputs()[0].name: x})
assert numpy.allclose(answer, model(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
print(*[name for name, _ in model.named_parameters()])
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.normal(size=(60, 1, 16)).astype(np.float32), y=np.arange(60) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        given = ["net.py:Net", "--data", "data.npz", "--strategy", "ladder:most=1", "--out", "run"]
        assert run(["search", *given, *OPTIONS]) == 0
    return folder


@pytest.fixture
def user(searched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(searched)
    return searched


def test_the_folder_tells_of_the_parts_and_stands_alone(user: Path) -> None:
    facts, genotype = json.loads(Path("run/result.json").read_text()), Genotype.load("run/genotype.json")
    parts = [Candidate(k) for k in (4, 5, 11)]
    assert genotype["3"] == Shared(parts) and str(genotype["0"]) == "k3 d1 | k5 d1 | k11 d1 by channels"
    assert facts["finalists"][0]["genotype"]["3"] == Shared(parts).to_dict()
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], cwd="run", capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "0.parts.0.weight 0.parts.0.bias 0.parts.1.weight" in ran.stdout
    ops = [node.op_type for node in onnx.load("run/model.onnx").graph.node]
    assert ops.count("Conv") == 6 and ops.count("Concat") >= 2
    page = Path("run/report.html").read_text()
    assert "chosen: k4 d1 | k5 d1 | k11 d1 by channels" in page and "sees unknown" not in page


def test_the_verbs_take_it(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "run"]) == 0
    shown = capsys.readouterr().out
    assert "k3 d1 | k5 d1 | k11 d1" in shown and "xxxxxxxxxxx" in shown
    assert run(["eval", "run"]) == 0 and "ONNX Runtime" in capsys.readouterr().out
    assert run(["export", "run", "--out", "again.onnx", "--int8", "--fp16", "-q"]) == 0
    assert Path("again.fp16.onnx").is_file()
    assert run(["retrain", "run", "--out", "retrained", "-q"]) == 0
    assert Genotype.load("retrained/genotype.json") == Genotype.load("run/genotype.json")
    assert run(["report", "run"]) == 0
    capsys.readouterr()
    assert run(["pick", "run", "--max", "params=2x", "--out", "picked"]) == 2
    assert "mixtures" in capsys.readouterr().err and not Path("picked").exists()
