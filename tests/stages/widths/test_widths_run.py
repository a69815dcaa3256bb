"""A search of widths from end to end: the genotype, the folder that it leaves, and what is refused."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import dashfx
from dashfx import Genotype
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.run.result import SEARCHED, Result
from dashfx.stages.reopen import model_of
from dashfx.strategies.named import strategy_of
from dashfx.strategies.widths import Narrowing

SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.last = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6 * 16, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.max_pool2d(x + torch.relu(self.second(x)), 2)
        return self.last(x.flatten(1))
"""
SMALL: dict[str, Any] = {
    "limit": 96,
    "control": False,
    "search": {"widths": True, "budgets": ["macs=0.6x"], "epochs": 2, "batch_size": 32},
    "retrain": {"epochs": 1, "batch_size": 32},
    "ensemble": {"count": 0},
    "export": {"layout": "off"},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("widths")
    (folder / "net.py").write_text(SOURCE)
    result = dashfx.search(f"{folder / 'net.py'}:Net", "digits", out=folder / "run", config=SMALL)
    return result, folder / "run"


def test_the_budget_is_held_and_the_kernels_stay(found: tuple[Result, Path]) -> None:
    result, _ = found
    (spent,) = result.budgets
    assert spent.held and 0 < spent.measured <= spent.limit and spent.estimated == spent.measured
    searched = result.finalist(SEARCHED)
    assert searched is not None and searched.genotype.widths and result.changed
    assert {choice.kernel for choice in searched.genotype.values()} == {(3, 3)}
    assert set(searched.genotype.widths) <= {"first"}  # the sum ties the second conv's channels to the first's
    assert any(note.startswith("widths on the way, macs at validation:") for note in result.notes)


def test_the_genotype_comes_back_from_its_file(found: tuple[Result, Path]) -> None:
    result, folder = found
    read = Genotype.load(folder / "genotype.json")
    assert read == result.genotype and read.widths == result.genotype.widths
    assert json.loads((folder / "genotype.json").read_text())["dashfx_genotype"] == 5
    assert read != Genotype(dict(read))


def test_report_and_result_tell_the_widths(found: tuple[Result, Path]) -> None:
    result, folder = found
    kept = len(result.genotype.widths["first"].channels)
    assert json.loads((folder / "result.json").read_text())["widths"] == {"first": {"of": 6, "kept": kept}}
    page = (folder / "report.html").read_text()
    assert "<h2>Widths</h2>" in page and f"{kept / 6:.0%}" in page and "change the multiply-adds" not in page


def test_the_folder_rebuilds_the_narrower_model(found: tuple[Result, Path]) -> None:
    result, folder = found
    rebuilt = runpy.run_path(str(folder / "load_model.py"))["load"]()
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rebuilt(x), result.model(x))
    assert rebuilt.norm.num_features == len(result.genotype.widths["first"].channels)
    _, again, genotype = model_of(folder)
    assert torch.equal(again(x), result.model(x)) and genotype == result.genotype


def config_of(**search: Any) -> RunConfig:
    return RunConfig.parse({"search": search})


def test_widths_alone_or_behind_kernels() -> None:
    alone = strategy_of(config_of(widths=True, budgets=["macs=0.5x"]))
    assert isinstance(alone, Narrowing) and alone.inner is None
    both = strategy_of(config_of(widths="trainable", strategy="dash", budgets=["macs=0.5x"]))
    assert isinstance(both, Narrowing) and type(both.inner).__name__ == "Gradient"
    named = RunConfig.parse({"search": {"widths": True}, "space": {"kernels": [3, 5]}})
    assert named.search.strategy == "dash"


@pytest.mark.parametrize(
    ("search", "more", "why"),
    [
        ({}, {}, "there is none: give --max macs=0.5x"),
        ({"budgets": ["latency=2ms"]}, {}, "widths are chosen under macs and params"),
        ({"budgets": ["macs=0.5x"]}, {"export": {"int8": True}}, "--int8 chooses kernels"),
        ({"budgets": ["macs=0.5x"], "seeds": 2}, {}, "widths are searched once"),
        ({"budgets": ["macs=0.5x"], "strategy": "dash", "update": "projected"}, {}, "the widths hold the budgets"),
    ],
)
def test_what_widths_cannot_do_is_one_line(search: dict[str, Any], more: dict[str, Any], why: str) -> None:
    config = RunConfig.parse({"search": {"widths": True, **search}, **more})
    with pytest.raises(ConfigError) as error:
        strategy_of(config).check(config)
    assert why in str(error.value) and "\n" not in str(error.value)


def test_a_budget_that_no_width_holds_is_one_line(found: tuple[Result, Path]) -> None:
    config = {**SMALL, "search": {**SMALL["search"], "budgets": ["macs=10"]}}
    with pytest.raises(ConfigError, match="the least that widths can have is"):
        dashfx.search(f"{found[1].parent / 'net.py'}:Net", "digits", config=config)
