"""Checkpoints: which epochs are written, what is held in between, and what an epoch says of its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import ToyNet, toy_data

from dashfx.config.run import RetrainConfig
from dashfx.errors import RunFolderError
from dashfx.task import load_task
from dashfx.train.checkpoints import Checkpoint, Fitted, write_atomically
from dashfx.train.fit import Supervised, fit, make_accelerator
from dashfx.train.progress import Epoch, Observer

DATA = toy_data()


def learner(epochs: int = 3) -> Supervised:
    torch.manual_seed(0)
    config = RetrainConfig.parse({"epochs": epochs, "batch_size": 16, "lr": 0.02})
    return Supervised(ToyNet(), load_task(None, DATA), config, make_accelerator("cpu"))


def weights(of: Supervised) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in of.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class StopAfter(Observer):
    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, facts: Epoch) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_checkpoints_that_follow_too_fast_are_held_and_the_last_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def write(state: dict[str, Any], path: Path) -> None:
        written.append(len(state["history"]))
        write_atomically(state, path)

    monkeypatch.setattr("dashfx.train.checkpoints.write_atomically", write)
    monkeypatch.setattr("dashfx.train.checkpoints.SHARE", 1e-9)  # each may wait for long
    with pytest.raises(KeyboardInterrupt):
        fit(learner(epochs=6), DATA, stage="retrain", folder=tmp_path, observer=StopAfter(3))
    assert written == [1, 3]  # the first one, and what was held
    straight, made = learner(epochs=6), learner(epochs=6)
    fit(straight, DATA, stage="retrain")
    fit(made, DATA, stage="retrain", folder=tmp_path, resume=True)
    assert same(weights(straight), weights(made)) and written == [1, 3, 4, 6]


def test_what_is_held_is_of_its_epoch_and_does_not_move_with_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashfx.train.checkpoints.SHARE", 1e-9)
    made, fitted, checkpoint = learner(), Fitted(), Checkpoint(tmp_path / "a.pt")
    with checkpoint:
        checkpoint.keep(made, fitted)
        checkpoint.keep(made, fitted)
        before = weights(made)
        made.step(next(iter(DATA.loader("train", 16))))
        fitted.history.append(Epoch("retrain", 0, 1, 1.0, 0.5, 0.5, 0.1, 1.0, 1.0))
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert same(state["learner"]["model"], before) and state["history"] == []
    assert not same(weights(made), before) and checkpoint.seconds > 0


def test_a_file_that_cannot_be_written_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.train.checkpoints.SHARE", 1e-9)
    with pytest.raises(RunFolderError, match="first"), Checkpoint(tmp_path / "a.pt") as checkpoint:
        checkpoint.keep(learner(), Fitted())
        checkpoint.keep(learner(), Fitted())
        (tmp_path / "a.pt").unlink()
        raise RunFolderError("first")
    assert list(tmp_path.iterdir()) == []


def test_an_epoch_says_what_it_took_beside_its_steps(tmp_path: Path) -> None:
    fitted = fit(learner(), DATA, stage="retrain", folder=tmp_path)
    assert all(each.spent.keys() == {"data", "calibration", "validation"} for each in fitted.history)
    assert all(0 < each.training < each.seconds and each.spent["validation"] > 0 for each in fitted.history)
    again = fit(learner(), DATA, stage="retrain", folder=tmp_path, resume=True)
    assert [each.spent for each in again.history] == [each.spent for each in fitted.history]
