"""Leads and their intervals, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from toys import toy_data

from dashfx.task import classify
from dashfx.task.base import Task
from dashfx.task.lead import JACKKNIFE, PAIRED, Answers, answers, lead

DATA = toy_data()


def said(classes: list[int], truth: list[int]) -> Answers:
    """A model that gives these classes."""
    return Answers(torch.eye(3)[classes], torch.tensor(truth))


TRUTH = [0, 1, 2, 0, 1, 2, 0, 1]
ONE, OTHER = said([0, 1, 2, 0, 1, 2, 1, 0], TRUTH), said([0, 1, 2, 0, 0, 0, 0, 0], TRUTH)  # 6 and 5 of 8 are right


def test_of_accuracy_each_row_counts_one_none_or_minus_one() -> None:
    found = lead(classify(DATA), ONE, OTHER)
    differences = [0, 0, 0, 0, 1, 1, -1, 0]
    deviation = math.sqrt(sum((d - 1 / 8) ** 2 for d in differences) / 7)
    half = 1.96 * deviation / math.sqrt(8)
    assert (found.difference, found.rows, found.how) == (0.125, 8, PAIRED)
    assert (found.low, found.high) == (pytest.approx(0.125 - half), pytest.approx(0.125 + half))
    assert not found.is_clear and str(found).startswith("+0.1250 [-0.")


def test_of_an_error_the_better_one_is_ahead_too() -> None:
    assert lead(classify(DATA, "error"), ONE, OTHER).difference == 0.125
    assert lead(classify(DATA, "error"), OTHER, ONE).difference == -0.125


def test_equal_models_are_level() -> None:
    found = lead(classify(DATA), ONE, ONE)
    assert (found.difference, found.low, found.high) == (0, 0, 0) and not found.is_clear


def test_a_clear_lead_leaves_out_nothing() -> None:
    rows = 90
    right, wrong = said([0] * rows, [0] * rows), said([0] * (rows // 2) + [1] * (rows // 2), [0] * rows)
    assert lead(classify(DATA), right, wrong).is_clear and lead(classify(DATA), wrong, right).is_clear


class Mean:
    """The mean of |output - target|, as a metric."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def to(self, _: object) -> Mean:
        return self

    def update(self, output: Tensor, target: Tensor) -> None:
        self.values.append((output - target).abs())

    def compute(self) -> float:
        return float(torch.cat(self.values).mean())


def test_of_other_metrics_groups_are_left_out() -> None:
    task = Task("t", lambda a, b: (a - b).abs().mean(), Mean, "mae", False)  # type: ignore[arg-type]
    truth = torch.zeros(5)
    one, other = Answers(torch.tensor([0.0, 0, 0, 0, 1]), truth), Answers(torch.tensor([1.0, 2, 3, 4, 6]), truth)
    found = lead(task, one, other)
    gains = torch.tensor([1.0, 2, 3, 4, 5])  # of each row
    error = float(gains.std()) / math.sqrt(5)  # what the jackknife of a mean comes to, with a row a group
    assert found.difference == pytest.approx(3.0) and (found.how, found.rows) == (JACKKNIFE, 5)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error)


def test_one_row_tells_no_interval() -> None:
    found = lead(classify(DATA), said([0], [0]), said([1], [0]))
    assert found.difference == 1 and math.isnan(found.low) and not found.is_clear and str(found) == "+1.0000"


def test_answers_are_put_together_row_by_row_and_record_by_record() -> None:
    batches = [(torch.eye(3)[[0, 1]], torch.tensor([0, 1])), (torch.eye(3)[[2]], torch.tensor([2]))]
    assert answers(batches).targets.tolist() == [0, 1, 2]
    voted = answers(batches, torch.tensor([0, 0, 1]).numpy())
    assert voted.outputs.shape == (2, 3)
