"""A finished run that has nothing to warn of, and its data."""

from __future__ import annotations

import numpy as np
import pytest
from finished import K5, K7, epoch, exported, site
from torch import nn

from dashfx.data import Data, load_data
from dashfx.genotype import Genotype
from dashfx.run.result import Result
from dashfx.site import Skip
from dashfx.task import load_task


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    return load_data((rng.random((800, 1, 8, 8)).astype(np.float32), np.arange(800) % 2))


@pytest.fixture
def result(data: Data) -> Result:
    """A run that has nothing to warn of."""
    sites = {name: site(name) for name in ("a", "b")}
    model = nn.Sequential(nn.Conv2d(4, 4, 5, dilation=2), nn.Conv2d(4, 4, 7))
    settled = {"a": (0.9, str(K5)), "b": (0.8, str(K7))}
    history = [epoch("search", i, 20, 0.5 + i / 100, settled) for i in range(20)]
    history += [epoch("retrain", i, 5, metric) for i, metric in enumerate((0.6, 0.9, 0.9, 0.8, 0.8))]
    return Result(
        Genotype({"a": K5, "b": K7}, "argmax"),
        model,
        load_task(None, data),
        valid=0.9,
        test=0.8,
        sites=sites,
        skips=(Skip("head", "kernel 1x1: nothing to search"),),
        onnx_valid=0.9,
        exported=exported(),
        seconds={"trace": 0.1, "search": 61.0, "retrain": 2.5, "export": 1.0},
        history=history,
        notes=["data: a note"],
    )
