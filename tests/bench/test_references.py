"""The paper's techniques compute what `mixed_results` computes, and the scripts that time them run."""

from __future__ import annotations

import json
from pathlib import Path

import bench_figures
import bench_parts
import bench_retraining
import bench_sampled
import bench_supernets
import pytest
import torch
from references import REFERENCES

from dashfx.ops import AggConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune.suite import Layer
from dashfx.space import SearchSpace

SPACE = SearchSpace.product([3, 5], [1, 3])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("size", "groups"), [((9,), 1), ((40,), 4), ((6, 11), 1), ((7, 5), 2)])
def test_references_equal_mixed_results(name: str, size: tuple[int, ...], groups: int) -> None:
    agg = AggConv(4, 4, SPACE, stride=(1,) * len(size), groups=groups, dtype=torch.float64)
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    coef = torch.rand(4, dtype=torch.float64, requires_grad=True)
    inputs = [x, coef, *agg.weights, agg.bias]
    found = []
    for algorithm in (REFERENCES[name], ALGORITHMS["mixed_results"]):
        y = algorithm(x, list(agg.weights), coef, agg.spec, agg.bias)
        found.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_a_stride_is_refused() -> None:
    agg = AggConv(2, 2, SPACE, stride=2)
    with pytest.raises(ValueError, match="stride 1"):
        REFERENCES["Kronecker"](torch.zeros(1, 2, 9), list(agg.weights), agg.coefficients(), agg.spec)


def test_the_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [bench_figures.PLAIN, "fourier", "DASH as published"]
    monkeypatch.setattr(bench_figures, "LENGTH", 40)
    for name, algorithm in REFERENCES.items():  # the script adds them for good; here they leave again
        monkeypatch.setitem(ALGORITHMS, name, algorithm)
    bench_figures.main(
        ["--numbers", "32", "--counts", "2", "--repeats", "1", "--batch", "2", "--ways", *ways, "--out", str(tmp_path)]
    )
    found = json.loads((tmp_path / "figures.json").read_text())
    assert {curve["way"] for curve in found["curves"]} == set(ways)
    assert (tmp_path / "figures.png").stat().st_size > 0


def test_supernets_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    bench_supernets.main(["--models", "TCN", "--batch", "2", "--repeats", "1", "--ways", "fourier"])
    assert "TCN" in capsys.readouterr().out


def test_the_parts_of_a_step_add_up_to_it() -> None:
    found = bench_parts.profile(Layer(4, 4, (9, 8), 2, groups=2), repeats=1)
    assert found.pop("step") == pytest.approx(sum(found.values())) and min(found.values()) > 0


def test_retraining_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    bench_retraining.main(["--models", "WRN 1-D", "--batch", "2", "--repeats", "1", "--seeds", "0"])
    assert "WRN 1-D" in capsys.readouterr().out


def test_the_sampled_mode_is_measured_beside_the_mixture() -> None:
    times = bench_sampled.measured(Layer(4, 4, (9, 8), 2), repeats=1)
    assert min(times[:3]) > 0 and times[3] == 0  # one run has no spread
