"""The benchmark for GPUs at toy size on whatever there is: it runs, is not run again, and its ratios are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import gpu
from benchmarks.gpu import FIT, PLAIN, RULE, SEARCH, Problem, Row, main, measured, problems, table, timed
from dashfx import SearchSpace
from dashfx.backbones import WRN1d
from dashfx.ops.autotune.suite import SUITE

CPU = torch.device("cpu")
SMALL = SearchSpace.product([3, 5], [1])


def toy() -> list[Problem]:
    layer = gpu.of_layer(replace(SUITE[0], in_channels=2, out_channels=2, size=(4, 4), batch=2))
    net = Problem("own steps", "net", lambda: WRN1d(width=1), (2, 1, 8), SMALL, ways=(PLAIN, FIT, SEARCH))
    return [replace(layer, ways=(PLAIN, RULE)), net]


def test_it_runs_once_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "toys", toy)
    main(["--toy", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert "| layer | way |" in out and "| net | search |" in out and out.endswith("all rows\n")
    monkeypatch.setattr(gpu, "measured", lambda *_: pytest.fail("it is there already"))
    main(["--toy", "--out", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[1:] == out.splitlines()[1:]


def test_what_the_minutes_do_not_reach_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "toys", toy)
    main(["--toy", "--out", str(tmp_path), "--minutes", "-1"])
    assert "not reached, 7 rows: layer / 2-D 2->2 at 4x4, batch 2 plain; " in capsys.readouterr().out


def test_without_a_gpu_only_toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])


def test_ratios_are_to_the_plain_network_of_the_same_problem() -> None:
    rows = [
        Row("layer / a", PLAIN, 0.002, bytes=100, parameters=10),
        Row("layer / a", RULE, 0.006, 0.25, 150, 40, waits=2, graph=0.005),
        Row("layer / b", PLAIN, 0.010, bytes=100, parameters=10),
        Row("layer / b", RULE, 0.120, bytes=100, parameters=10),
        Row("layer / c", RULE, None, why="no memory"),
    ]
    lines = table(rows)
    assert "| a | auto | 6 | 25.0% | 3.00 | 1.50 | 4.00 | 2 | 5 |" in lines
    assert (
        "| **geometric mean** | auto | | | 6.00 | | | | |" in lines and "| c | auto | no memory | | | | | | |" in lines
    )


def test_what_finds_no_memory_is_a_row_that_says_so() -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("no memory\nmore")

    row = measured(Problem("image", "hungry", Hungry, (2, 1, 4), SMALL), PLAIN, CPU, 2)
    assert row.seconds is None and row.why == "no memory"


def test_every_step_is_timed_after_a_warm_up() -> None:
    calls: list[int] = []
    times = timed(lambda: calls.append(1), CPU, 5)
    assert len(times) == 5 and len(calls) == gpu.WARM_UP + 5 and min(times) >= 0


def test_the_whole_list_has_each_problem_once() -> None:
    found = list(problems())
    assert len({each.key for each in found}) == len(found)
    counts = {part: sum(each.part == part for each in found) for part in ("layer", "Fig. 2", "Fig. 3", "image")}
    assert counts == {"layer": len(SUITE), "Fig. 2": 7, "Fig. 3": 7, "image": 8}
    sizes = [len(each.space.candidates) for each in found if each.part == "Fig. 2" and each.space]
    assert sizes == [1, 4, 9, 16, 25, 36, 49]
