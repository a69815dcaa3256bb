"""The runner of the reproduction scores each network once; the table and the evolution read what it wrote."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gennas import evolve, nb201, score, table
from dashfx.blackbox.base import Row
from dashfx.train.progress import read_log


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Made-up accuracies of all of NAS-Bench-201: one point a conv."""
    archs = [nb201.write(each) for each in itertools.product(nb201.OPERATIONS, repeat=6)]
    worth = [arch.count("3x3~") + arch.count("1x1~") for arch in archs]
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"arch": archs, **dict.fromkeys(nb201.DATASETS, worth)}))
    return path


def run(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["", *map(str, arguments)])
    module.main()  # type: ignore[attr-defined]


def test_a_network_is_scored_once(known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.jsonl"
    options = ["--space", "nb201", "--known", known, "--images", "noise", "--cells", 1, "--iterations", 1, "--out", out]
    run(monkeypatch, score, *options, "--n", 1, "--proxies", "single", "params")
    first = read_log(out)
    run(monkeypatch, score, *options, "--n", 2, "--proxies", "single", "params")
    rows = read_log(out)
    assert rows[:2] == first
    assert [row["proxy"] for row in rows] == ["gennas-single", "params"] * 2
    assert len({row["arch"] for row in rows}) == 2


@pytest.mark.parametrize("source", ["photos", "noise", "file"])
def test_images_are_standardised_and_repeat(source: str, tmp_path: Path) -> None:
    if source == "file":
        source = str(tmp_path / "images.npz")
        rng = np.random.default_rng(0)
        x = rng.integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
        np.savez(source, x=x, y=rng.integers(10, size=20))
    x, y = score.images(source, 16)
    assert x.shape == (16, 3, 32, 32) and y.shape == (16,) and y.dtype == torch.int64
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert torch.equal(x, score.images(source, 16)[0])


def line(arch: str, proxy: str, value: float, truth: float, maximise: bool) -> str:
    row = {"arch": arch, "proxy": proxy, "score": value, "truth": truth, "maximise": maximise, "seconds": 1.0}
    return json.dumps(row) + "\n"


def test_the_table_turns_scores_and_keeps_to_common_networks(tmp_path: Path) -> None:
    losses = [line(str(i), "loss", -i, i, False) for i in range(6)]
    sizes = [line(str(i), "size", -i, i, True) for i in range(5)]
    path = tmp_path / "nb.jsonl"
    path.write_text("".join(losses + sizes))
    _, _, loss, size = table.table(*table.read([path]), shared=True)
    assert loss.startswith("| nb | loss | 5 | 1.000 ") and size.startswith("| nb | size | 5 | -1.000 ")
    assert next(x for x in table.table(*table.read([path]), shared=False) if "loss" in x).startswith("| nb | loss | 6 ")


def test_evolution_ends_at_a_good_network_and_scores_none_twice(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    options = ["--known", known, "--images", "noise", "--proxy", "params", "--cells", 1, "--out", out]
    options += ["--seeds", 2, "--evaluations", 60, "--population", 10, "--tournament", 4]
    run(monkeypatch, evolve, *options)
    rows, first = read_log(out), capsys.readouterr().out
    assert len({row["arch"] for row in rows}) == len(rows)
    assert "median:  6.00 / 6.00 / 6.00" in first  # parameters lead to six convs
    run(monkeypatch, evolve, *options)
    assert read_log(out) == rows
    assert capsys.readouterr().out == first


def test_finalists_are_decided_at_full_depth(known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = {"known": known, "proxy": "params", "iterations": 1, "images": "noise", "cells": 1}
    scores = evolve.Scores(argparse.Namespace(out=out, **options))
    small, middle, large = [(1,) * 6, (1, 1, 1, 1, 1, 2), (3,) * 6]  # more parameters from left to right
    rows = [Row(i, genome, None, 3.0 - i, None, 0.0) for i, genome in enumerate((small, middle, large))]

    def end(**options: int) -> tuple[int, ...]:
        chosen = argparse.Namespace(**{"finalists": 0, "refine": 0, "tournament": 8, **options})
        return evolve.winner(rows, scores, chosen, torch.Generator().manual_seed(0))

    assert end() == small and end(finalists=2) == middle
    assert {row["cells"] for row in read_log(out)} == {evolve.FULL}
    refined = end(finalists=2, refine=8)
    assert scores.of(evolve.arch_of(refined), evolve.FULL) > scores.of(evolve.arch_of(middle), evolve.FULL)
