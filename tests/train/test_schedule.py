"""Schedules are pure functions of the share of training that is done."""

from __future__ import annotations

import pytest
import torch

from dashfx.config.search import FitConfig
from dashfx.ops.relaxations.base import geometric
from dashfx.train.schedule import fade, schedule_of


def rates(schedule: str, **options: object) -> list[float]:
    config = FitConfig.parse({"lr": 0.5, "schedule": schedule, **options})
    return [config.lr * schedule_of(config)(step / 100, config) for step in range(101)]


def torchs(make: object) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule, found = make(optimiser), []
    for _ in range(101):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


def test_schedules_are_torchs_own() -> None:
    one_cycle = torchs(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=102, final_div_factor=400))
    assert rates("onecycle")[::10] == pytest.approx(one_cycle[::10], abs=0.01)
    assert rates("cosine") == pytest.approx(
        torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100)), abs=1e-9
    )
    steps = torchs(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [30, 60], gamma=0.2))
    assert rates("steps", milestones=(0.3, 0.6)) == pytest.approx(steps)
    assert set(rates("constant")) == {0.5}


def test_one_cycle_starts_low_peaks_and_ends_near_zero() -> None:
    curve = rates("onecycle")
    assert curve[0] == pytest.approx(0.5 / 25) and max(curve) == curve[30] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0.5e-4)


def test_fade_ends_at_its_share_and_stays_gone() -> None:
    values = [fade(step / 100, 0.6) for step in range(101)]
    assert values[0] == 1 and values[30] == pytest.approx(0.5) and values[60:] == [0] * 41
    assert values == sorted(values, reverse=True)
    assert fade(0.0, 0.0) == 0  # no fade: gone from the start


def test_geometric() -> None:
    assert [geometric(4, 1, p) for p in (0, 0.5, 1, 2)] == [4, 2, 1, 1]


def test_the_power_of_a_cosine_is_its_equation_and_the_cosine_at_order_one() -> None:
    assert rates("cosine-power:order=1") == pytest.approx(rates("cosine"), abs=1e-7)
    assert rates("cosine-power:order=1.0000001") == pytest.approx(rates("cosine"), abs=1e-6)
    found = rates("cosine-power:order=4")
    assert (found[0], found[100]) == (0.5, 0.0) and found[50] == pytest.approx(0.5 * (4 - 1) / (16 - 1))
    assert found == sorted(found, reverse=True)
