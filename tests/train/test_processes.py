"""Several processes of one run: the same result as one with as many rows a step, or clear words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ranks import Smooth, counted, drifted, ended, in_ranks, prepared, searched
from toys import FAST, ToyNet, toy_data

from dashfx.cli.interrupt import interruptible
from dashfx.errors import ConfigError, DataError, TrainingError
from dashfx.train.processes import check_gpus, check_rows, digest, finite


def options(batch_size: int, **search: Any) -> dict[str, Any]:
    """FAST with so many rows a step in each process, mixtures that move at once, and no measuring of algorithms."""
    quick = {"batch_size": batch_size, "warmup": 0.0, "autotune": False, "lr": 0.2, **search}
    return {**FAST, "search": {**FAST["search"], **quick}, "retrain": {**FAST["retrain"], "batch_size": batch_size}}


@pytest.mark.parametrize("alpha_on", ["train", pytest.param("held-out", marks=pytest.mark.slow)])
def test_two_processes_do_what_one_does_with_twice_the_rows(alpha_on: str) -> None:
    first, second = in_ranks(2, searched, Smooth, options(8, alpha_on=alpha_on, held_out=16 / 57))
    one = searched(Smooth, options(16, alpha_on=alpha_on, held_out=16 / 57))
    assert first["genotype"] == second["genotype"] == one["genotype"]
    for found in (first, second):
        assert found["choices"] == one["choices"] and found["metrics"] == pytest.approx(one["metrics"])
        assert found["curve"] == pytest.approx(one["curve"], rel=1e-4)
        assert found["shares"] == pytest.approx(one["shares"], rel=1e-4)
    assert all(np.array_equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    for name, weight in one["weights"].items():
        np.testing.assert_allclose(first["weights"][name], weight, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("update", ["unrolled", "amended", "relaxed", "sandwich"])
def test_gradients_that_no_hook_sees_are_averaged_too(update: str) -> None:
    strategy = "random-search" if update == "sandwich" else "dash"
    search = {"update": update, "strategy": strategy, "held_out": 16 / 57, "lr": 0.02}
    asked = {"blackbox": {"evaluator": "supernet", "evaluations": 3}}
    first, second = in_ranks(2, searched, Smooth, {**options(8, **search), **asked})
    one = searched(Smooth, {**options(16, **search), **asked})
    assert first["shares"] == second["shares"] == pytest.approx(one["shares"], rel=1e-4)
    assert first["curve"] == pytest.approx(one["curve"], rel=1e-4)


def test_processes_end_with_the_same_statistics_and_fewer_candidates() -> None:
    first, second = in_ranks(2, searched, ToyNet, options(8, shrink=0.95, init="grow", epochs=6))
    assert all(np.array_equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert first["curve"] == second["curve"] and first["metrics"] == second["metrics"]
    assert first["kind"] is second["kind"] is ToyNet, "what spreads the model over processes is taken off again"


def test_processes_go_on_with_the_same_recipe() -> None:
    tune = {"trials": 1, "epochs": 1, "sampler": "grid", "space": {"lr": [1e-12]}}
    first, second = in_ranks(2, searched, Smooth, {**options(8), "tune": tune})
    assert len(first["curve"]) == 2 * (3 + 2 + 2)  # search, and two whole retrainings
    assert first["curve"] == second["curve"] and first["metrics"] == second["metrics"]
    assert all(np.array_equal(first["weights"][name], second["weights"][name]) for name in first["weights"])


def test_every_row_counts_once_in_a_metric() -> None:
    sizes = (1, 2, 3, 7, 8, 18)  # of two rows a batch and two processes, only 8 divides
    alone = counted(sizes)
    assert len(set(alone)) > 2
    assert in_ranks(2, counted, sizes) == [pytest.approx(alone)] * 2


def test_processes_that_drift_apart_are_stopped() -> None:
    for error in in_ranks(2, drifted):
        assert isinstance(error, TrainingError) and "\n" not in str(error)
        assert "stage search, epoch 1: the 2 processes have different mixtures" in str(error)


def test_processes_end_a_training_after_the_same_epoch() -> None:
    first, second = in_ranks(2, ended)
    assert first == second and 4 <= len(first) <= 8 and first[0][2] and not first[-1][2]


def test_too_few_rows_for_so_many_processes() -> None:
    for block, given in (("search", options(40)), ("retrain", options(40) | {"search": options(8)["search"]})):
        for error in in_ranks(2, searched, ToyNet, given):
            assert isinstance(error, ConfigError)
            assert str(error).startswith(f"{block}.batch_size 40 on 2 processes takes 80 rows a step, and an epoch has")


@pytest.mark.parametrize(("different", "part"), [("a value", "valid"), ("a label", "test")])
def test_processes_with_different_data_of_the_same_size_are_refused(different: str, part: str) -> None:
    for error in in_ranks(2, prepared, different):
        assert isinstance(error, DataError) and "\n" not in str(error)
        assert f"the 2 processes have read different data (parts {part})" in str(error)


def test_what_one_process_cannot_read_is_one_line_in_all() -> None:
    first, second = in_ranks(2, prepared, "no file")
    assert isinstance(first, DataError) and str(first).startswith("process 1: no such file or folder: nowhere.npz")
    assert isinstance(second, DataError) and str(second).startswith("no such file or folder: nowhere.npz")


def test_a_lost_connection_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:42")
    with pytest.raises(RuntimeError), interruptible("go on"):
        raise lost
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"another process of this run has ended.*; go on$"), interruptible("go on"):
        raise lost


def test_a_digest_tells_parts_apart_also_by_some_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digest(toy_data().train)
    assert digest(toy_data().train) == whole != digest(toy_data(93).train)
    monkeypatch.setattr("dashfx.train.processes.WHOLE", 10)
    monkeypatch.setattr("dashfx.train.processes.SAMPLED", 7)
    some = digest(toy_data().train)
    changed = toy_data()
    changed.train.x[changed.train.index[-1]] += 1
    assert some != whole and digest(changed.train) != some


@pytest.mark.parametrize(
    ("rows", "processes", "remedy"),
    [(40, 4, "; set retrain.batch_size to 10 or less, or start fewer"), (3, 4, "an epoch has 3; start fewer")],
)
def test_what_to_do_about_too_few_rows(rows: int, processes: int, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        check_rows("retrain", 16, rows, processes)


def test_a_gpu_for_each_process_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gpus(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    check_gpus(2)
    check_gpus(0)  # they use the CPU
    with pytest.raises(ConfigError, match="2 processes on a machine with 1 GPU: start 1, or use --device cpu"):
        check_gpus(1)


def test_rows_that_suffice() -> None:
    check_rows("search", 16, 32, 2)
    check_rows("search", 64, 5, 1)  # one process takes what there is


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite(value: float) -> None:
    assert finite([torch.ones(3), torch.zeros(())]) and not finite([torch.ones(3), torch.tensor([0.0, value])])
