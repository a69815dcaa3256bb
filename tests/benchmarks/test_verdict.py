"""The benchmark on series: its networks are what they say, rows are kept and not run again, recipes as stated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import verdict
from benchmarks.ucr.networks import (
    SeveralKernels,
    Shape,
    backbone,
    macs_of,
    parameters_of,
    random_genotype,
    several,
    shares,
    supernet,
    uniform,
)
from benchmarks.ucr.recipes import cool_down
from benchmarks.ucr.rows import Rows
from benchmarks.ucr.variants import RUNGS, VARIANTS
from dashfx import Candidate
from dashfx.config.run import RetrainConfig
from dashfx.cost.counts import flops_of
from dashfx.data import load_data

SHAPE = Shape(3, (1, 40))


def series(folder: Path, name: str = "toy", length: int = 32) -> Path:
    """Two classes of noisy waves."""
    rng, found = np.random.default_rng(0), {}
    for part, rows in (("train", 30), ("test", 20)):
        y = np.arange(rows) % 2
        waves = np.sin((1 + y[:, None]) * np.arange(length) / 3)
        found |= {f"x_{part}": (waves + 0.3 * rng.normal(size=waves.shape)).astype(np.float32), f"y_{part}": y}
    np.savez(folder / f"{name}.npz", **found)
    return folder / f"{name}.npz"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "EPOCHS", 6)
    monkeypatch.setattr(verdict, "EPOCH_STEPS", 2)


@pytest.mark.parametrize("how", ["channels", "sum"])
def test_several_kernels_are_what_their_convs_give(how: Any) -> None:
    parts = [Candidate(3), Candidate(5), Candidate(3, 4)]
    module = SeveralKernels(torch.nn.Conv1d(4, 7, 3, padding=1, bias=False), parts, how).double()
    x = torch.randn(2, 4, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = [
        F.conv1d(x, weight, padding=part.extent[0] // 2, dilation=part.dilation[0])
        for weight, part in zip(module.weights, parts, strict=True)
    ]
    expected = torch.cat(each, 1) if how == "channels" else sum(each)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


def test_channels_are_shared_evenly() -> None:
    assert shares(8, 3, "channels") == [3, 3, 2] and shares(8, 3, "sum") == [8, 8, 8]


def test_every_conv_of_more_than_one_tap_has_several_kernels() -> None:
    model = several(SHAPE, 0, (Candidate(11), Candidate(19)), "channels")
    found = [module for module in model.modules() if isinstance(module, SeveralKernels)]
    assert [len(each.weights) for each in found] == [3] * 9
    assert found[0].parts[0] == Candidate(7) and model.block2.shortcut[0].kernel_size == (1,)
    assert model(SHAPE.example).shape == (2, 3)


def test_kernels_wider_than_the_input_stay_away() -> None:
    model = several(Shape(3, (1, 15)), 0, (Candidate(11), Candidate(19)), "channels")
    assert len(model.block1.conv1.parts) == 2
    assert not Shape(3, (1, 15)).fits(VARIANTS["k19"].needs) and Shape(3, (1, 19)).fits(VARIANTS["k7d3"].needs)
    assert not Shape(3, (1, 18)).fits(VARIANTS["k7d3"].needs)  # seven taps, three apart, span 19


def test_work_is_counted_as_by_torch() -> None:
    model = uniform(SHAPE, 0, Candidate(7, 3))
    assert macs_of(model, SHAPE) == flops_of(model, SHAPE.example[:1]) // 2


def test_of_several_kernels_only_the_taps_that_there_are_count() -> None:
    own, wide = backbone(SHAPE, 0), several(SHAPE, 0, (Candidate(7, 3),), "sum")
    more = 7 * 40 * (1 * 8 + 2 * 8 * 8 + 8 * 16 + 5 * 16 * 16)  # seven taps more in each of the nine convs
    assert macs_of(wide, SHAPE) - macs_of(own, SHAPE) == more
    assert parameters_of(wide) - parameters_of(own) == more // 40


def test_the_wider_net_has_the_parameters_of_several_kernels() -> None:
    sizes = {name: parameters_of(VARIANTS[name].build(SHAPE, 0)) for name in ("wide12", "ms3", "k11", "wide16", "k19")}
    assert sizes["wide12"] == pytest.approx(sizes["ms3"], rel=0.1)
    assert sizes["wide12"] == pytest.approx(sizes["k11"], rel=0.1)
    assert sizes["wide16"] == pytest.approx(sizes["k19"], rel=0.1)


def test_random_genotypes_are_of_the_space_and_by_seed() -> None:
    first, other = random_genotype(SHAPE, 1), random_genotype(SHAPE, 2)
    assert first == random_genotype(SHAPE, 1) and first != other
    sites = supernet(SHAPE, 0).sites
    assert all(first[name] in site.candidates for name, site in sites.items())
    one, two = (VARIANTS[name].build(SHAPE, 0) for name in ("random1", "random2"))
    assert parameters_of(one) != parameters_of(two)


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (VARIANTS[name].build(SHAPE, 0) for name in ("untouched", "untouched-3E", "untouched-again"))
    assert torch.equal(first.block1.conv1.weight, again.block1.conv1.weight)
    assert not torch.equal(first.block1.conv1.weight, other.block1.conv1.weight)


def test_rungs_are_a_sixth_and_longer_is_three_times() -> None:
    lengths = {name: variant.length for name, variant in VARIANTS.items()}
    assert all(lengths[f"{name}-rung"] == 1 / 6 for name in RUNGS)
    assert lengths["untouched-3E"] == 3 and lengths["untouched"] == lengths["ms3"] == 1


def test_cool_down_rises_stays_and_falls() -> None:
    config = RetrainConfig()
    values = [cool_down(progress, config) for progress in (0, 0.025, 0.05, 0.5, 0.75, 0.875, 1)]
    assert values == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


@pytest.mark.parametrize("batch_size", [4, 64])
def test_epochs_have_the_same_steps_on_every_set(tmp_path: Path, batch_size: int) -> None:
    data = load_data(str(series(tmp_path)), seed=0)
    repeated, config = verdict.with_epochs_of(5, data, RetrainConfig(batch_size=batch_size))
    loader = repeated.loader("train", batch_size, seed=0, fraction=config.fraction, drop_last=True)
    assert len(loader) == 5 and {len(y) for _, y in loader} == {batch_size}
    assert set(repeated.train.index) == set(data.train.index)


def test_a_row_has_its_curve_and_its_predictions(tmp_path: Path, short: None) -> None:
    path, rows = series(tmp_path), Rows(tmp_path / "out")
    verdict.run(rows, path, 0, ["untouched", "k11-rung", "untouched-3E", "dash"])
    found = {variant: row for (_, _, variant), row in Rows(tmp_path / "out").by_key.items()}
    assert {name: row["steps"] for name, row in found.items()} == {
        "untouched": 12,
        "k11-rung": 2,
        "untouched-3E": 36,
        "dash": 12,
    }
    assert len(found["untouched"]["curve"]["valid_loss"]) == 6
    assert len(found["dash"]["search_curve"]["loss"]) == 2 and set(found["dash"]["genotype"]) == set(
        found["dash"]["sure"]
    )
    predictions = rows.predictions(("toy", 0, "untouched"))
    assert predictions["valid"].shape == (6, 2) and predictions["test_best"].shape == (20, 2)
    assert (predictions["test"].argmax(1) == predictions["test_y"]).mean() == found["untouched"]["test"]


def test_a_training_has_its_seed_and_predicts_by_last_and_by_best_weights(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, seeds = verdict.fit, []

    def zeros_were_best(*args: Any, seed: int, **options: Any) -> Any:
        seeds.append(seed)
        fitted = fit(*args, seed=seed, **options)
        fitted.best_weights = {name: torch.zeros_like(value) for name, value in fitted.best_weights.items()}
        return fitted

    def split_by(path: str, seed: int) -> Any:
        seeds.append(seed)
        return load_data(path, seed=seed)

    monkeypatch.setattr(verdict, "fit", zeros_were_best)
    monkeypatch.setattr(verdict, "load_data", split_by)
    rows = Rows(tmp_path)
    verdict.run(rows, series(tmp_path), 7, ["k11-rung"])
    predictions = rows.predictions(("toy", 7, "k11-rung"))
    assert seeds == [7, 7] and not predictions["valid_best"].any() and predictions["valid"].any()


def test_what_an_interrupted_call_left_is_not_trained_again(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, names = series(tmp_path), ["untouched", "wide12", "random1"]
    whole = Rows(tmp_path / "whole")
    verdict.run(whole, path, 1, names)
    train, trained = verdict.trained, []

    def once(variant: Any, *more: Any) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(variant.name)
        return train(variant, *more)

    monkeypatch.setattr(verdict, "trained", once)
    with pytest.raises(KeyboardInterrupt):
        verdict.run(Rows(tmp_path / "out"), path, 1, names)
    with (tmp_path / "out" / "rows.jsonl").open("a") as file:
        file.write('{"set": "toy", "seed": 1, "vari')  # a line that a killed process left

    def noted(variant: Any, *more: Any) -> Any:
        trained.append(variant.name)
        return train(variant, *more)

    monkeypatch.setattr(verdict, "trained", noted)
    verdict.run(Rows(tmp_path / "out"), path, 1, names)
    verdict.run(Rows(tmp_path / "out"), path, 1, names)
    assert trained == names
    again = Rows(tmp_path / "out")
    assert set(again.by_key) == set(whole.by_key)
    for key, row in whole.by_key.items():
        assert {**again.by_key[key], "seconds": 0} == {**row, "seconds": 0}
        for part, values in whole.predictions(key).items():
            assert np.array_equal(values, again.predictions(key)[part])


def test_the_winner_of_the_rungs_is_trained(tmp_path: Path) -> None:
    rows, none = Rows(tmp_path), dict.fromkeys(("valid",), np.zeros(1))
    assert list(verdict.resolved("winner", rows, "toy", 0)) == []
    for name, loss in (("k11", 0.5), ("k19", 0.3), ("ms3", 0.2), ("wide12", 0.1)):
        rows.add({"set": "toy", "seed": 0, "variant": f"{name}-rung", "valid_loss": loss}, none)
    assert [each.name for each in verdict.resolved("winner", rows, "toy", 0)] == ["k19", "ms3"]
    assert list(verdict.resolved("winner", rows, "toy", 1)) == []


def test_the_shortest_series_come_first_and_unknown_sets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, length in (("a", 30), ("b", 10), ("c", 20)):
        series(tmp_path, name, length)
    assert verdict.shortest_first(tmp_path) == ["b", "c", "a"]
    options = ["verdict", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--sets", "d"]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(SystemExit, match="2"):
        verdict.main()
    assert "no d.npz" in capsys.readouterr().err
