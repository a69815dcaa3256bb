"""Convergence by hand-made epochs: both signs are needed, each bound counts, and the sentence says what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dashfx.train.convergence import Convergence, convergence, mean, plateau, rise
from dashfx.train.progress import Epoch

NAN = math.nan


def history(
    metric: Callable[[int], float], valid: Callable[[int], float], ratio: float, epochs: int = 20
) -> list[Epoch]:
    """`ratio` is that of training over validation loss at every epoch."""
    return [
        Epoch("retrain", i, epochs, ratio * valid(i), metric(i), 0.9, 0.1, 1.0, 1.0, steps=10, valid_loss=valid(i))
        for i in range(epochs)
    ]


def found(epochs: Sequence[Epoch], maximise: bool = True) -> Convergence:
    made = convergence(epochs, maximise, "accuracy")
    assert made is not None
    return made


def flat(_: int) -> float:
    return 0.5


def rising(i: int) -> float:
    return i / 32


def falling(i: int) -> float:
    return 2 - i / 16


def test_the_figures_are_those_of_the_last_fifth() -> None:
    """Epochs 16 to 19: the metric is i/32, which rises by 4/32 over them; from the first four to these it is 16/32."""
    made = found(history(rising, falling, 0.75))
    assert (made.gain, made.share, made.ratio) == pytest.approx((4 / 32, 0.25, 0.75))
    assert made.loss_gain == pytest.approx((4 / 16) / (2 - 17.5 / 16)) and made.epochs == 20 and made.plateau is None
    downwards = found(history(lambda i: -rising(i), falling, 0.75), maximise=False)
    assert replace(downwards, metric="accuracy") == made


@pytest.mark.parametrize(
    ("metric", "valid", "ratio", "converged"),
    [
        (rising, falling, 0.8, False),
        (rising, flat, 0.8, False),  # by the metric alone
        (flat, falling, 0.8, False),  # by the loss alone
        (flat, flat, 0.8, True),  # noise keeps the losses together, and nothing is gained any more
        (rising, falling, 0.3, True),  # the rows are learnt by heart
        (rising, falling, 0.35, False),
        (rising, flat, 0.0, True),
        (lambda i: -rising(i), lambda i: 4 - falling(i), 0.8, True),  # what gets worse does not ask for more
    ],
)
def test_both_signs_together_are_the_verdict(
    metric: Callable[[int], float], valid: Callable[[int], float], ratio: float, converged: bool
) -> None:
    made = found(history(metric, valid, ratio))
    assert made.converged is converged
    assert made.sentence.startswith(f"training has {'' if converged else 'not '}converged: ")
    assert ("--retrain-epochs 60" in made.sentence) is not converged and "\n" not in made.sentence


def test_a_small_gain_is_none() -> None:
    """From .0 to .8 in sixteen epochs, then .01 a epoch: .04 of about .7 is more than a twentieth, .02 is less."""
    for step, converged in ((0.01, False), (0.005, True)):
        assert found(history(lambda i, s=step: min(i, 16) / 20 + max(0, i - 16) * s, flat, 0.8)).converged is converged
    for step, converged in ((0.002, False), (0.0005, True)):  # 4 % and 1 % of a loss of about .2
        assert found(history(flat, lambda i, s=step: 0.2 - max(0, i - 16) * s, 0.8)).converged is converged


def test_the_sentence_names_what_still_gained() -> None:
    assert "validation accuracy still gained 0.12 over" in found(history(rising, falling, 0.8)).sentence
    assert "validation loss still fell by 28 % over" in found(history(flat, falling, 0.8)).sentence
    assert "the training loss at 0.8 of the validation loss" in found(history(flat, falling, 0.8)).sentence
    assert "gained +0 over" in found(history(flat, flat, 0.2)).sentence


def test_of_a_few_epochs_nothing_is_said() -> None:
    assert convergence(history(rising, falling, 0.8, 4), True) is None
    assert convergence(history(rising, falling, 0.8, 5), True) is not None


def test_what_is_not_finite_is_left_out() -> None:
    epochs = history(rising, falling, 0.8)
    holed = [replace(e, metric=NAN, valid_loss=math.inf) if e.epoch == 18 else e for e in epochs]
    assert found(holed).gain == pytest.approx(4 / 32) and math.isfinite(found(holed).loss_gain)
    unknown = [replace(e, valid_loss=NAN) for e in epochs]  # logs of earlier versions
    assert math.isnan(found(unknown).ratio) and not found(unknown).converged and "loss" not in found(unknown).sentence
    none = found([replace(e, metric=NAN, valid_loss=NAN) for e in epochs])
    assert none.converged
    facts = json.loads(json.dumps(none.to_dict(), allow_nan=False))
    assert facts["ratio"] is None and facts["gain"] is None and facts["converged"] is True and facts["sentence"]
    assert math.isnan(found(history(rising, lambda i: -falling(i), 0.8)).ratio)  # a log-likelihood, say
    assert mean([1.0, math.inf, 2.0]) == 1.5 and rise([0.0, NAN, 1.0]) == 1.5 and math.isnan(rise([1.0, NAN]))


def opened(total: int, stable: int, most: int) -> list[Epoch]:
    """A training whose length validation decided on after `stable` epochs."""
    epochs = history(rising, falling, 0.8, total)
    return [replace(e, open=e.epoch < stable, epochs=most if e.epoch < stable else total) for e in epochs]


def test_a_plateau_is_convergence_and_the_most_is_none() -> None:
    assert plateau(history(rising, falling, 0.8)) is None
    ended, cut = found(opened(25, 20, 60)), found(opened(60, 48, 60))
    assert ended.plateau and ended.converged and "validation reached a plateau, and 25 epochs" in ended.sentence
    assert cut.plateau is False and not cut.converged
    assert "no plateau in 60 epochs" in cut.sentence and "--set retrain.max_epochs=180" in cut.sentence
    assert plateau(opened(60, 48, 60)[:30]) is False  # a training that is not over
