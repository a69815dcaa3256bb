"""`dashfx search --pareto`: a table, a picture, and folders that every verb opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dashfx.cli.main import run
from dashfx.genotype import Genotype

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))
"""
EPOCHS = ["--epochs", "2", "--retrain-epochs", "1", "--batch-size", "16", "--no-control"]
SEARCH = ["search", "net.py:Net", "--data", "data.npz", "--kernels", "3,5", "--dilations", "1", *EPOCHS]


def test_a_front_with_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(size=(60, 1, 12)).astype(np.float32), y=np.arange(60) % 3)
    assert run([*SEARCH, "--pareto-folders"]) == 2
    assert "--pareto-folders retrains the choices of --pareto" in " ".join(capsys.readouterr().err.split())
    pareto = ["--pareto", "2", "--pareto-cost", "params", "--pareto-folders"]
    assert run([*SEARCH, *pareto, "--out", "run"]) == 0
    said = capsys.readouterr().out
    points = json.loads(Path("run/result.json").read_text())["front"]["points"]
    assert "front over params" in said and "front, retrained" in said and "run/front/1" in said.replace("\n", "")
    page = Path("run/report.html").read_text()
    assert "Quality against params" in page and "Front" in page
    for number, point in enumerate(points, 1):
        folder = f"run/front/{number}"
        chosen = Genotype.load(f"{folder}/genotype.json")
        assert {name: choice.to_dict() for name, choice in chosen.items()} == point["genotype"]
    assert run(["eval", "run/front/1"]) == 0 and run(["export", "run/front/1", "-q"]) == 0
    assert run(["show", "run/front/1"]) == 0 and run(["report", "run/front/1"]) == 0
    assert run([*SEARCH, *pareto, "--out", "run", "--resume", "-q"]) == 0
