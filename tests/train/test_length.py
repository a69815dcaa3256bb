"""The length of a training: bounds by steps, a plateau worked out by hand, and a training that is killed on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import ToyNet, toy_data

from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.errors import ConfigError
from dashfx.task import load_task
from dashfx.train import length
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import Supervised, fit
from dashfx.train.length import Bounds, Plan, UntilPlateau, bounds_of, length_of, steps_of
from dashfx.train.processes import make_accelerator
from dashfx.train.progress import Epoch, Observer

DATA = toy_data()
NAN = math.nan


def history(metrics: Sequence[float], losses: Sequence[float] | None = None) -> list[Epoch]:
    """Epochs of 100 steps; without losses, these say what the metrics say."""
    losses = [-metric for metric in metrics] if losses is None else losses
    pairs = enumerate(zip(metrics, losses, strict=True))
    return [
        Epoch("retrain", i, 60, 1.0, metric, metric, 0.1, 1.0, 1.0, steps=100, valid_loss=loss)
        for i, (metric, loss) in pairs
    ]


LONG = Bounds(10, 25, 60)


def after(epochs: Sequence[Epoch], maximise: bool = True, bounds: Bounds = LONG) -> Plan:
    """Of epochs of 100 steps: validation is averaged over three of them."""
    return UntilPlateau(bounds, 100, maximise).plan(epochs)


def ramp(end: int, length: int = 60) -> list[float]:
    """From 0 to 1 in equal steps, 1 from epoch `end` on."""
    return [min(i, end) / end for i in range(length)]


# Averages over 3 are 1/6 first, .944 at epoch 7 and 1 from epoch 8 on. All gain 5/6, and 3 % of it leave .975 and more
# as equal. After 14 epochs those of the last third began at epoch 9, and epoch 8 was as good; after 13 it was epoch 7.
FOUND = 14


def test_a_plateau_ends_the_peak_rate_and_a_quarter_more_is_the_cool_down() -> None:
    assert after(history(ramp(6))) == Plan(18, FOUND, False, lambda done: done)
    assert after(history(ramp(6, FOUND))).stable == FOUND
    assert after(history(ramp(6, FOUND - 1))) == Plan(60, 48, True, lambda done: done)


@pytest.mark.parametrize("stretch", [lambda v: 64 * v + 8, lambda v: v / 1024 - 2], ids=["larger", "smaller"])
def test_neither_the_unit_nor_the_direction_of_a_metric_matters(stretch: Callable[[float], float]) -> None:
    values = [stretch(value) for value in ramp(6)]
    assert after(history(values)).stable == FOUND
    assert after(history([-value for value in values], [-value for value in values]), maximise=False).stable == FOUND


def test_what_still_gains_is_trained_to_the_most() -> None:
    plan = after(history(ramp(100)))
    assert (plan.epochs, plan.stable, plan.open) == (60, 48, False)


@pytest.mark.parametrize("still", ["metric", "loss"])
def test_a_loss_that_falls_counts_as_much_as_a_metric_that_rises(still: str) -> None:
    flat, rising = [0.5] * 60, ramp(100)
    falling = [1 - value for value in rising]
    assert after(history(rising, flat) if still == "metric" else history(flat, falling)).stable == 48
    worse = [2 + value for value in rising]  # a loss that overfits has nothing to gain
    assert after(history(ramp(6), worse)).stable == FOUND


def test_a_training_that_learns_nothing_ends_after_the_least() -> None:
    assert after(history([0.5] * 60)) == Plan(10, 8, False, lambda done: done)


def test_noise_within_the_average_does_not_prolong_it() -> None:
    wave = [value + (0.2, -0.2, 0.0)[i % 3] for i, value in enumerate(ramp(6))]
    assert after(history(wave)).stable <= FOUND + 1


def test_what_is_not_finite_counts_as_not_there() -> None:
    assert after(history([NAN] * 60, [1 - value for value in ramp(6)])).stable == FOUND
    assert after(history(ramp(6), [NAN] * 60)).stable == FOUND
    assert after(history(ramp(6), [math.inf, *[-value for value in ramp(6)][1:]])).stable == FOUND
    assert after(history([NAN] * 60, [NAN] * 60)).stable == 8


@pytest.mark.parametrize("metrics", [ramp(6), [*[NAN] * 20, *ramp(6, 40)], [0.5] * 60, ramp(100)])
def test_once_found_it_stays_whatever_follows(metrics: list[float]) -> None:
    """So a resumed training and every process come to the same."""
    whole = after(history(metrics))
    for done in range(61):
        plan = after(history(metrics[:done]))
        assert plan.open == (done < whole.stable) and (plan.open or plan == whole)
        spoiled = [*metrics[: whole.stable], *([9.0, -9.0, NAN] * 20)[: 60 - whole.stable]]
        assert after(history(spoiled)) == whole


@pytest.mark.parametrize(
    ("most", "stable"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4), (10, 8)], ids=lambda n: str(n)
)
def test_a_length_that_nothing_can_change_counts_as_cut_off(most: int, stable: int) -> None:
    """Open until its cool-down, so that whoever reads the history sees that no plateau has ended it."""
    plan = after([], bounds=Bounds(most, most, most))
    assert (plan.epochs, plan.stable, plan.open) == (most, stable, stable > 0)
    closed = after(history([0.5] * stable), bounds=Bounds(most, most, most))
    assert (closed.epochs, closed.stable, closed.open) == (most, stable, False)
    assert closed.rate(most) == 0 and all(closed.rate(done / 8) > 0 for done in range(8 * most))


def test_the_rate_rises_stays_and_falls() -> None:
    """Warm-up for 100 steps, which are a tenth of the least: one epoch. Cool-down from 14 to 18: 1 - sqrt."""
    plan = after(history(ramp(6)))
    points = {0: 1 / 25, 0.5: 0.52, 1: 1, 13.99: 1, 14: 1, 15: 0.5, 16.25: 0.25, 18: 0}
    assert {done: plan.rate(done) for done in points} == pytest.approx(points)
    still = after(history(ramp(6, 5)))
    assert [still.rate(done) for done in (0.5, 1, 40, 60)] == pytest.approx([0.52, 1, 1, 1])


def test_a_warm_up_takes_no_more_than_a_tenth_of_the_least() -> None:
    plan = UntilPlateau(Bounds(4, 4, 4), 10, True).plan([])
    assert [plan.rate(done) for done in (0.2, 0.4)] == pytest.approx([0.52, 1])


@pytest.mark.parametrize(
    ("rows", "options", "processes", "expected"),
    [
        (160, {"batch_size": 16}, 1, (50, 150, 600)),  # 10 steps an epoch
        (175, {"batch_size": 16}, 1, (50, 150, 600)),  # a batch that is not full is left out
        (160, {"batch_size": 16}, 2, (100, 300, 1200)),
        (320, {"batch_size": 16, "fraction": 0.5}, 1, (50, 150, 600)),
        (40_000, {"batch_size": 64}, 1, (10, 25, 60)),  # 625 steps: epochs count
        (7, {"batch_size": 16}, 1, (500, 1500, 6000)),  # all rows are one step
        (160, {"batch_size": 16, "max_epochs": 70}, 1, (50, 70, 70)),
        (160, {"batch_size": 16, "max_epochs": 900}, 1, (50, 150, 900)),
        (160, {"batch_size": 16, "max_epochs": 3}, 1, (3, 3, 3)),
        (160, {"epochs": 7, "max_epochs": 3}, 1, (7, 7, 7)),
    ],
)
def test_bounds_are_steps_and_a_few_epochs(
    rows: int, options: dict[str, Any], processes: int, expected: tuple[int, int, int]
) -> None:
    found = bounds_of(RetrainConfig.parse(options), rows, processes)
    assert found == Bounds(*expected)
    most = expected[2]
    assert str(found) == (f"{most} epochs" if expected[0] == most else f"at most {most} epochs")


def test_a_given_number_of_epochs_keeps_its_schedule() -> None:
    for schedule, rates in (("auto", [1 / 25, 1.0, 0.0001]), ("cosine", [1.0, 0.5 * (1 + math.cos(0.3 * math.pi)), 0])):
        plan = length_of(RetrainConfig.parse({"epochs": 10, "schedule": schedule}), 160, 1, True).plan([])
        assert (plan.epochs, plan.open) == (10, False)
        assert [plan.rate(done) for done in (0, 3, 10)] == pytest.approx(rates, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "cosine"}, "option 'retrain': schedule cosine needs the length .*, or set retrain.schedule=auto"),
        ({"patience": 3}, "option 'retrain': patience 3 cuts a given length short, .*, or set retrain.patience=0"),
        ({"epochs": 0}, "option 'retrain.epochs': give a number of epochs, 1 or more, or auto, got 0"),
        ({"epochs": "many"}, "option 'retrain.epochs': give a number .*got 'many'"),
        ({"epochs": True}, "option 'retrain.epochs': give a number .*got True"),
        ({"epochs": 2.5}, "option 'retrain.epochs': give a number"),
        ({"max_epochs": 0}, "option 'retrain.max_epochs'"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        RunConfig.parse({"retrain": options})
    assert "\n" not in str(raised.value)


def test_auto_is_the_default_and_numbers_are_read_from_text() -> None:
    assert RunConfig().retrain.epochs == "auto" and RunConfig().search.epochs == 30
    assert RunConfig.parse({"retrain": {"epochs": "20"}}).retrain.epochs == 20
    assert RunConfig.parse(RunConfig().model_dump(mode="json")) == RunConfig()


# ---- in the fit loop ------------------------------------------------------------------------------------------------


class Killed(Observer):
    """Stops a training after an epoch, as a signal would."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.epochs = last, list[Epoch]()

    def epoch(self, facts: Epoch) -> None:
        self.epochs.append(facts)
        if facts.epoch == self.last:
            raise KeyboardInterrupt


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Bounds:
    """Lengths of three steps an epoch, averaged over three epochs."""
    for name, value in {"LEAST": (12, 6), "USUAL": (24, 10), "MOST": (60, 20), "WINDOW": 9, "WARM_UP": 3}.items():
        monkeypatch.setattr(length, name, value)
    return Bounds(6, 10, 20)


def learner(**options: Any) -> Supervised:
    torch.manual_seed(0)
    config = RetrainConfig.parse({"batch_size": 16, "lr": 0.02, **options})
    return Supervised(ToyNet(), load_task(None, DATA), config, make_accelerator("cpu"))


def weights(trained: Supervised) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


def plan_of(epochs: Sequence[Epoch]) -> Plan:
    config = RetrainConfig(batch_size=16)
    return length_of(config, len(DATA.train), 1, load_task(None, DATA).maximise).plan(epochs)


def test_every_training_ends_with_a_complete_schedule(short: Bounds) -> None:
    assert steps_of(RetrainConfig(batch_size=16), len(DATA.train)) == 3
    fitted = fit(learner(), DATA, stage="retrain")
    epochs, plan = fitted.history, plan_of(fitted.history)
    assert len(epochs) == plan.epochs and short.least <= plan.epochs <= short.most and not fitted.stopped
    assert [epoch.open for epoch in epochs] == [i < plan.stable for i in range(plan.epochs)]
    assert {epoch.epochs for epoch in epochs[: plan.stable]} == {short.most}
    assert {epoch.epochs for epoch in epochs[plan.stable :]} == {plan.epochs}
    rates = [epoch.lr for epoch in epochs]
    assert rates[1 : plan.stable] == pytest.approx([0.02] * (plan.stable - 1))
    assert rates[plan.stable - 1 :] == sorted(rates[plan.stable - 1 :], reverse=True) and rates[-1] < 0.01
    assert epochs[3].counted == f"4/<={short.most}"
    assert epochs[-1].counted == f"{plan.epochs}/{plan.epochs}"


def test_an_average_is_judged_in_the_same_way(short: Bounds) -> None:
    fitted = fit(learner(ema=0.9), DATA, stage="retrain")
    assert len(fitted.history) == plan_of(fitted.history).epochs


@pytest.mark.parametrize("phase", ["stable", "the last stable one", "cool-down"])
def test_a_killed_training_goes_on_bit_for_bit(phase: str, short: Bounds, tmp_path: Path) -> None:
    straight = learner()
    expected = fit(straight, DATA, stage="retrain", seed=5)
    stable = plan_of(expected.history).stable
    last = {"stable": 1, "the last stable one": stable - 1, "cool-down": stable}[phase]

    def trained(resume: bool, observer: Killed) -> tuple[Supervised, Fitted]:
        made = learner()
        return made, fit(made, DATA, stage="retrain", seed=5, folder=tmp_path, resume=resume, observer=observer)

    with pytest.raises(KeyboardInterrupt):
        trained(False, Killed(last))
    torch.manual_seed(99)  # whatever came between
    again = Killed()
    resumed, fitted = trained(True, again)
    assert [epoch.epoch for epoch in again.epochs] == list(range(last + 1, len(expected.history)))
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(straight).items())
    facts = [(e.loss, e.metric, e.valid_loss, e.lr, e.epochs, e.open) for e in expected.history]
    assert facts == [(e.loss, e.metric, e.valid_loss, e.lr, e.epochs, e.open) for e in fitted.history]
