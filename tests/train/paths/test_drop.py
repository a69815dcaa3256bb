"""ScheduledDropPath: which branches, how often, when, and that nothing is left of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from toys import toy_data

from dashfx.backbones import CifarResNet
from dashfx.config.run import RetrainConfig
from dashfx.task.load import load_task
from dashfx.train.fit import Supervised, fit
from dashfx.train.paths import DropPaths, residual_paths


class Residual(nn.Module):
    """A residual addition with a branch that ends in a norm, one behind ReLU, and one that ends in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)
        self.b1, self.b2, self.short = (nn.Conv1d(2, 2, k, padding=k // 2) for k in (3, 3, 1))
        self.c, self.fc = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm(self.a(x))
        x = F.relu(self.b2(F.relu(self.b1(x)))) + self.short(x)
        x = x + 2 * self.c(x)
        return self.fc(x.mean(-1))


def test_branches_are_found_and_the_rest_is_named() -> None:
    names, left = residual_paths(Residual(), [torch.zeros(2, 2, 9)])
    assert names == ["norm", "b2"] and len(left) == 1
    names, left = residual_paths(CifarResNet(8), [torch.zeros(2, 3, 8, 8)])
    assert names == ["layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2"] and not left


def test_the_rate_grows_linearly_and_rows_are_dropped_whole() -> None:
    model = nn.Sequential(nn.Conv1d(1, 3, 1)).train()
    paths, x = DropPaths(model, 0.4, ["0"]), torch.ones(4000, 1, 5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in (0, 25, 50, 100):
            paths.begin_step(step / 100)
            y = model(x)
            gone = (y == 0).flatten(1)
            assert paths.rate == pytest.approx(0.4 * step / 100) and bool((gone.all(1) == gone.any(1)).all())
            assert float(gone[:, 0].double().mean()) == pytest.approx(paths.rate, abs=0.02)
            torch.testing.assert_close(y[~gone[:, 0]] * (1 - paths.rate), model.eval()(x)[~gone[:, 0]])
            model.train()
    assert not (model.eval()(x) == 0).any()
    paths.remove()
    assert not model[0]._forward_hooks


def test_training_drops_and_leaves_nothing_behind() -> None:
    data = toy_data(30)
    task, accelerator = load_task("classify", data), Accelerator(cpu=True)
    seen: list[float] = []

    class Watched(Supervised):
        def step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            loss = super().step(batch)
            assert self._paths is not None
            seen.append(self._paths.rate)
            return loss

    options = RetrainConfig(epochs=2, batch_size=4, drop_path=0.5)
    learner = Watched(Residual(), task, options, accelerator)
    fit(learner, data, stage="retrain")
    expected = [0.5 * step / len(seen) for step in range(len(seen))]
    assert seen == pytest.approx(expected, abs=1e-6) and len(seen) > 4
    learner.release()
    assert not any(module._forward_hooks for module in learner.plain.modules())
