"""Figures of files: percentiles by their definition, both batches of all files in turn, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dashfx.cost import files
from dashfx.cost.files import FileFigures, Percentiles, figures_of
from dashfx.deploy.exporters import Attempt, write


def test_percentiles_are_numpy_s() -> None:
    seconds = np.random.default_rng(0).exponential(size=37).tolist()
    found = Percentiles.of(4, seconds)
    assert (found.p50, found.p95) == pytest.approx(tuple(np.percentile(seconds, [50, 95]))) and found.n == 37
    assert str(Percentiles(1, 1e-3, 2e-3, 5)) == "1 row 1 ms (p95 2)"


@pytest.mark.parametrize(("free", "sizes"), [(True, [1, 5]), (False, [3])])
def test_a_batch_of_one_and_the_user_s(
    free: bool, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def call_of(path: Path, inputs: Sequence[Tensor]) -> tuple[str, int]:
        asked.append((path.name, len(inputs[0])))
        return path.name, len(inputs[0])

    monkeypatch.setattr(files, "call_of", call_of)
    seconds = {"a.onnx": 1.0, "b.onnx": 0.5}
    monkeypatch.setattr(files, "in_turn", lambda calls, _: [[seconds[name] * rows] * 5 for name, rows in calls])
    for name in seconds:
        axes = {0: "batch"} if free else {}
        write(nn.Linear(4, 2), Attempt("torchscript", (torch.randn(3, 4),), (axes,), 18), tmp_path / name, {})
    a, b = figures_of({tmp_path / "a.onnx": ("float32", 0.9), tmp_path / "b.onnx": ("int8", 0.8)}, torch.randn(5, 4))
    assert asked == [(name, size) for size in sizes for name in seconds]
    assert [(each.rows, each.p50, each.p95) for each in b.latency] == [(n, n / 2, n / 2) for n in sizes]
    assert (a.name, a.precision, a.metric, a.bytes) == ("a.onnx", "float32", 0.9, (tmp_path / "a.onnx").stat().st_size)
    assert FileFigures.from_dict(json.loads(json.dumps(a.to_dict()))) == a and "a.onnx: metric on" in str(a)
