"""Distillation: the loss against a teacher's answers, what it leaves out, and that the teacher only answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import ToyNet, toy_data

from dashfx.config.run import RetrainConfig
from dashfx.data import Data, load_data
from dashfx.task import Task, classify, dense_classify, load_task, multilabel, regress
from dashfx.task.losses import LossOptions
from dashfx.train.distillation import Distilled, disagreement
from dashfx.train.fit import Supervised
from dashfx.train.processes import make_accelerator

RNG = np.random.default_rng(0)
ROWS = 40


def data_of(y: np.ndarray, **more: Any) -> Data:
    return load_data({"x": RNG.normal(size=(len(y), 1, 8)).astype(np.float32), "y": y}, **more)


CLASSES = data_of(np.arange(ROWS) % 3)
LABELS = data_of((RNG.random((ROWS, 4)) > 0.5).astype(np.float32), kind="multilabel")
NUMBERS = data_of((5.0 + 10 * RNG.normal(size=(ROWS, 2))).astype(np.float32))
DENSE = data_of(RNG.integers(0, 3, (ROWS, 8)), kind="dense-classes")


def scores(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_classes_by_the_equation() -> None:
    """T^2 sum_k p_k log(p_k / q_k), the mean over rows."""
    output, taught, y = scores(5, 3), scores(5, 3, seed=1), torch.tensor([0, 1, 2, 0, 1])
    for t in (1.0, 3.0):
        p, q = ((each.float() / t).softmax(1) for each in (taught, output))
        wanted = t**2 * (p * (p / q).log()).sum(1).mean()
        torch.testing.assert_close(disagreement(output, taught, y, classify(CLASSES), t), wanted, rtol=1e-5, atol=1e-6)


def test_labels_by_the_equation() -> None:
    output, taught = scores(5, 4), scores(5, 4, seed=1)
    for t in (1.0, 3.0):
        p, q = ((each.float() / t).sigmoid() for each in (taught, output))
        wanted = t**2 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
        found = disagreement(output, taught, torch.zeros(5, 4), multilabel(LABELS), t)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("t", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(
    ("task", "shape", "y"),
    [
        (classify(CLASSES), (5, 3), torch.zeros(5, dtype=torch.long)),
        (multilabel(LABELS), (5, 4), torch.zeros(5, 4)),
        (regress(NUMBERS, options=LossOptions(normalise_targets=None)), (5, 2), torch.zeros(5, 2)),
    ],
    ids=lambda each: each.name if isinstance(each, Task) else "",
)
def test_equal_scores_disagree_in_nothing(task: Task, shape: tuple[int, ...], y: Tensor, t: float) -> None:
    same = scores(*shape)
    assert disagreement(same, same.clone(), y, task, t).abs() < 1e-5
    assert disagreement(same, same + scores(*shape, seed=1), y, task, t) > 0.01


def test_only_the_students_scores_have_a_gradient_which_the_temperature_leaves_as_large() -> None:
    """The gradient of T^2 KL tends to (z - v) / K for a high temperature (Hinton et al., eq. 4), whatever T is."""
    y = torch.zeros(6, dtype=torch.long)
    taught, gradients = scores(6, 3, seed=1), []
    for t in (200.0, 400.0):
        output = scores(6, 3).requires_grad_()
        disagreement(output, taught, y, classify(CLASSES), t).backward()
        assert output.grad is not None
        gradients.append(output.grad)
    difference = scores(6, 3) - taught
    wanted = (difference - difference.mean(1, keepdim=True)) / 3 / len(y)
    for each in gradients:
        torch.testing.assert_close(each, wanted, rtol=0.05, atol=0.01)


def test_numbers_take_the_teachers_in_place_of_the_targets() -> None:
    task = regress(NUMBERS, "mse", LossOptions(normalise_targets=None))
    assert task.target is not None
    output, taught = scores(5, 2).float(), scores(5, 2, seed=1).float()
    found = disagreement(output, taught, torch.zeros(5, 2), task, 4.0)
    torch.testing.assert_close(found, ((output - taught) ** 2).mean(), rtol=1e-4, atol=1e-5)  # in the model's units


def test_what_the_labels_ignore_counts_nowhere() -> None:
    output, taught = scores(2, 3, 8), scores(2, 3, 8, seed=1)
    y = torch.zeros(2, 8, dtype=torch.long)
    y[:, 4:] = -1
    whole = disagreement(output[..., :4], taught[..., :4], y[:, :4], dense_classify(DENSE), 2.0)
    torch.testing.assert_close(disagreement(output, taught, y, dense_classify(DENSE), 2.0), whole)
    labels = torch.zeros(2, 4)
    labels[1] = torch.nan
    output, taught = scores(2, 4), scores(2, 4, seed=1)
    known = disagreement(output[:1], taught[:1], labels[:1], multilabel(LABELS), 2.0)
    torch.testing.assert_close(disagreement(output, taught, labels, multilabel(LABELS), 2.0), known)
    numbers = torch.zeros(3, 2)
    numbers[2] = torch.nan
    output, taught = scores(3, 2), scores(3, 2, seed=1)
    task = regress(NUMBERS, "mae")
    known = disagreement(output[:2], taught[:2], numbers[:2], task, 2.0)
    torch.testing.assert_close(disagreement(output, taught, numbers, task, 2.0), known)


def test_mixed_rows_all_count() -> None:
    """Targets of mixup are shares of classes, none of which is ignored."""
    output, taught = scores(5, 3), scores(5, 3, seed=1)
    mixed = torch.full((5, 3), 1 / 3)
    wanted = disagreement(output, taught, torch.zeros(5, dtype=torch.long), classify(CLASSES), 2.0)
    torch.testing.assert_close(disagreement(output, taught, mixed, classify(CLASSES), 2.0), wanted)


class Counting(nn.Module):
    """A teacher that tells how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.asked = ToyNet(dropout=0.5), list[bool]()

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(self.training or torch.is_grad_enabled())
        answer: Tensor = self.net(x)
        return answer


def learner(share: float, teacher: nn.Module, kind: type[Supervised] = Distilled) -> Supervised:
    torch.manual_seed(1)
    task, accelerator = load_task("classify", toy_data()), make_accelerator("cpu")
    extra = {"teacher": teacher, "share": share, "temperature": 2.0} if kind is Distilled else {}
    return kind(ToyNet(dropout=0.0), task, RetrainConfig(epochs=1), accelerator, **extra)


def test_the_teacher_only_answers() -> None:
    teacher = Counting().train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    made = learner(0.5, teacher)
    made.train_mode()
    x, y = next(iter(toy_data().loader("train", 16)))
    made.step((x, y))
    assert teacher.asked == [False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert made.state_dict()["model"].keys() == ToyNet().state_dict().keys()


def test_the_loss_is_a_mixture_of_both() -> None:
    torch.manual_seed(5)
    teacher, batch = ToyNet().eval(), next(iter(toy_data().loader("train", 16)))

    def loss(share: float, kind: type[Supervised] = Distilled) -> float:
        made = learner(share, teacher, kind)
        made.model.eval()
        return float(made.loss(batch).detach())

    usual, taught = loss(0.0, Supervised), loss(1.0)
    assert abs(usual - taught) > 0.1
    assert loss(0.25) == pytest.approx(0.75 * usual + 0.25 * taught, rel=1e-5)
