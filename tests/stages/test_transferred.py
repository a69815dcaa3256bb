"""A run whose choices go over to a deeper network, with residual branches dropped while that is trained."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import FAST, arrays

import dashfx
from dashfx.errors import ConfigError, ModelError
from dashfx.run.result import Result
from dashfx.stages.reopen import model_of

DEEP = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4)

    def forward(self, x):
        return x + self.norm(self.conv(torch.relu(x)))


class Deep(nn.Module):
    def __init__(self, depth=1, block=Block):
        super().__init__()
        self.stem = nn.Conv1d(2, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(block() for _ in range(depth)))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean(-1))


def flat(depth=1):
    return Deep(depth, lambda: nn.Conv1d(4, 4, 3, padding=1))
"""


def search(folder: Path, made: str = "Deep", **retrain: object) -> Result:
    (folder / "deep.py").write_text(DEEP)
    np.savez(folder / "x.npz", **arrays())
    config = {
        **FAST,
        "search": {"strategy": "random"},
        "space": {"kernels": [5, 7], "dilations": [1], "keep_original": False},
        "retrain": {"epochs": 1, "batch_size": 16, "weights": "fresh", "model_args": {"depth": 3}, **retrain},
    }
    return dashfx.search(f"{folder}/deep.py:{made}", str(folder / "x.npz"), config=config, out=folder / "run")


def test_a_deeper_network_is_trained_with_the_choices_of_the_shallow_one(tmp_path: Path) -> None:
    result = search(tmp_path, transfer=True, drop_path=0.3)
    assert set(result.genotype) == {"stem", "blocks.0.conv"} and len(result.model.blocks) == 3
    chosen = result.genotype["blocks.0.conv"].kernel
    assert {block.conv.kernel_size for block in result.model.blocks} == {chosen} != {(3,)}
    assert not any(module._forward_hooks for module in result.model.modules())
    run, model, _ = model_of(tmp_path / "run")
    rebuilt = runpy.run_path(str(tmp_path / "run/load_model.py"))["load"]()
    torch.testing.assert_close(rebuilt(run.inputs.example), model(run.inputs.example))


def test_what_does_not_fit_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"only the retrained model has a site 'blocks.1.conv'.* set retrain.transfer="
    ):
        search(tmp_path)
    with pytest.raises(ConfigError, match=r"retrain.drop_path=0.5: none of the 0 additions in the graph has a branch"):
        search(tmp_path, "flat", transfer=True, drop_path=0.5)
    assert not (tmp_path / "run").exists()
