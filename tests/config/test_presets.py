"""Presets: the paper's settings, what a user says above them, and data that they are not for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dashfx
from dashfx.config.files import read_yaml
from dashfx.config.presets import PRESETS, Preset
from dashfx.config.run import RunConfig
from dashfx.data import Arrays, Data, Normalisation, load_data
from dashfx.errors import ConfigError
from dashfx.frontend.model import build, load_model
from dashfx.task import LossOptions, data_kind, load_task

# task: batch, loss, metric, kernels, dilations, rate and alpha's rate
PAPER = {
    "cifar100": (64, "cross_entropy", "classify:error", [3, 5, 7, 9], [1, 3, 7, 15], 0.1, 0.05),
    "spherical": (64, "cross_entropy", "classify:error", [3, 5, 7, 9], [1, 3, 7, 15], 0.1, 0.05),
    "ninapro": (128, "focal", "classify:error", [3, 5, 7], [1, 3, 7], 0.1, 0.05),
    "fsd50k": (128, 10.0, "multilabel:map", [3, 5, 7, 9], [1, 3, 7, 15], 0.1, 0.05),
    "darcy": (10, "relative_l2", "regress:relative_l2", [3, 5, 7, 9], [1, 3, 7, 15], 0.01, 0.005),
    "psicov": (8, "mse", "regress:mae8", [3, 5, 7, 9], [1, 3, 7, 15], 0.01, 0.005),
    "cosmic": (4, "bce", "multilabel:auroc", [3, 5, 7, 9], [1, 3, 7, 15], 0.01, 0.005),
    "ecg": (1024, "cross_entropy", "classify:f1", [3, 7, 11, 15, 19], [1, 3, 7, 15], 0.1, 0.05),
    "satellite": (256, "cross_entropy", "classify:error", [3, 7, 11, 15, 19], [1, 3, 7, 15], 0.1, 0.05),
    "deepsea": (256, 4.0, "multilabel:auroc", [3, 7, 11, 15, 19], [1, 3, 7, 15], 0.1, 0.05),
}


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_those_of_the_paper(name: str) -> None:
    config, (batch, loss, task, kernels, dilations, lr, alpha_lr) = RunConfig.parse({"preset": name}), PAPER[name]
    assert (config.search.batch_size, config.retrain.batch_size, config.task) == (batch, batch, task)
    assert (config.search.lr, config.search.alpha_lr, config.search.epochs, config.search.fraction) == (
        lr,
        alpha_lr,
        100,
        0.2,
    )
    assert (config.search.clip, config.search.milestones, config.retrain.epochs) == (1.0, (0.6,), 200)
    assert len(config.retrain.milestones) == (3 if PRESETS[name].ndim == 2 else 5)
    usual = {"classify": "cross_entropy", "multilabel": "bce", "regress": "relative_l2"}[task.partition(":")[0]]
    assert (config.loss.pos_weight or config.loss.name or usual) == loss
    space = config.space.build(PRESETS[name].ndim)
    expected = dashfx.SearchSpace.product(kernels, dilations)
    assert set(space.candidates) == set(expected.candidates)


def empty(preset: Preset) -> Data:
    """Two rows of the preset's shapes, without values."""
    size = preset.shape[1:] if preset.dense else ()
    classes = preset.kind == "classes"
    y = np.arange(2) if classes else np.zeros((2, preset.n_outputs, *size), np.float32)
    part = Arrays(np.zeros((2, *preset.shape), np.float32), y)
    none = Normalisation.none(preset.shape[0])
    return Data(preset.name, part, part, part, preset.shape, preset.kind, preset.n_outputs, (), none)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_the_suggested_model_gives_what_the_task_needs(name: str) -> None:
    preset, config = PRESETS[name], RunConfig.parse({"preset": name})
    assert config.model is not None and data_kind(config.task) == preset.kind
    data = empty(preset)
    task = load_task(config.task, data, LossOptions(**{**config.loss.model_dump(), "normalise_targets": False}))
    with torch.no_grad():
        task.check(build(load_model(config.model, config.model_args), 0).eval()(torch.zeros(1, *preset.shape)), data)
    assert preset.check(data.name, data.input_shape, data.kind, data.n_outputs) is None


def test_what_a_user_says_wins_option_by_option() -> None:
    said = {"search": {"epochs": 3}, "space": {"preset": "baby"}, "loss": {"gamma": 1.0}, "model_args": {"width": 4}}
    config = RunConfig.parse({"preset": "ninapro", **said})
    assert (config.search.epochs, config.search.batch_size) == (3, 128)
    assert len(config.space.build(2).candidates) == 4
    assert (config.loss.name, config.loss.gamma) == ("focal", 1.0)
    assert config.model_args == {"num_classes": 18, "in_channels": 1, "depth": 16, "width": 4, "dense": False}
    assert RunConfig.parse(config.model_dump()) == config


def test_a_model_of_ones_own_gets_no_arguments_of_the_suggested_one() -> None:
    assert RunConfig.parse({"preset": "ecg", "model": "mine.py:Net"}).model_args == {}
    assert RunConfig.parse({"preset": "ecg"}).model == "dashfx.backbones:WRN1d"


def test_a_folder_holds_the_benchmarks_files_and_a_file_is_itself(tmp_path: Path) -> None:
    assert RunConfig.parse({"preset": "ecg", "data": str(tmp_path)}).data == f"ecg:{tmp_path}"
    assert RunConfig.parse({"preset": "ecg", "data": "mine.npz"}).data == "mine.npz"
    assert RunConfig.parse({"preset": "darcy"}).data == "darcy:421/5/900-100-100"


def test_with_a_checkpoint_retraining_does_not_start_afresh() -> None:
    config = RunConfig.parse({"preset": "ecg", "checkpoint": "w.pt"})
    assert (config.retrain.weights, config.search.init, config.search.lr) == ("inherit", "grow", 0.01)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'satellite'"):
        RunConfig.parse({"preset": "sattelite"})


SMALL: dict[str, Any] = {
    "preset": "satellite",
    "search": {"epochs": 1, "batch_size": 48, "fraction": 1.0},
    "retrain": {"epochs": 1, "batch_size": 48},
    "space": {"preset": "baby"},
    "device": "cpu",
}


class Tiny(nn.Sequential):
    """For `classes` classes of one-channel series."""

    def __init__(self, classes: int = 24) -> None:
        super().__init__(nn.Conv1d(1, 2, 3, padding=1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2, classes))


def series(classes: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).random((8 * classes, 1, length)), np.arange(8 * classes) % classes


def test_a_run_with_a_preset_on_objects(tmp_path: Path) -> None:
    """The preset lends neither its model nor its data to a run that has its own."""
    result = dashfx.search(Tiny, series(24, 30), config=SMALL, out=tmp_path / "run")
    config = RunConfig.parse(read_yaml(tmp_path / "run" / "config.yaml"))
    assert config.model is None and config.data is None and config.model_args == {}
    assert result.task.metric_name == "error" and not result.task.maximise
    assert "preset satellite was made for 1x46, data has 1x30" in result.notes


def test_data_of_another_kind_are_refused() -> None:
    words = (
        "preset satellite is for 1x46 with 24 outputs of classes, data has 1x46 with 5 of classes; leave --preset out"
    )
    with pytest.raises(ConfigError) as caught:
        dashfx.search(Tiny(5), series(5, 46), config=SMALL)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert load_data(series(5, 46)).n_outputs == 5
