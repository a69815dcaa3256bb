"""Losses against their formulas, weights from the data, and what is ignored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dashfx.data import Data, Normalisation, load_data
from dashfx.data.base import IGNORED
from dashfx.errors import TaskError
from dashfx.task import LossOptions, Task, load_task, relative_l2
from dashfx.task.losses import class_weights, mae, mse, pos_weights

RNG = np.random.default_rng(0)
X = RNG.random((60, 2, 8)).astype(np.float32)


def classes() -> Data:
    return load_data({"x_train": X, "y_train": np.repeat([0, 1, 2], [40, 15, 5]), "x_test": X, "y_test": [0] * 60})


def labels() -> Data:
    return load_data((X, RNG.integers(0, 2, (60, 5))))


def made(data: Data, task: str, **options: object) -> Task:
    return load_task(task, data, LossOptions(**options))  # type: ignore[arg-type]


SCORES = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TRUTH = torch.tensor([0, 1, 2, 2, 1, 0])


def test_focal_by_its_formula() -> None:
    weights = torch.tensor([0.5, 1.0, 4.0])
    task = made(classes(), "classify", name="focal", class_weights=tuple(weights.tolist()), gamma=1.5)
    p = SCORES.softmax(1)[range(6), TRUTH]
    expected = -(weights[TRUTH] * (1 - p) ** 1.5 * p.log()).sum() / weights[TRUTH].sum()
    torch.testing.assert_close(task.loss(SCORES, TRUTH), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_with_gamma_zero_is_cross_entropy(smoothing: float) -> None:
    focal, plain = (made(classes(), "classify", name=n, gamma=0.0, label_smoothing=smoothing) for n in ("focal", None))
    torch.testing.assert_close(focal.loss(SCORES, TRUTH), plain.loss(SCORES, TRUTH))
    assert float(plain.loss(SCORES, TRUTH)) == pytest.approx(
        float(F.cross_entropy(SCORES, TRUTH, label_smoothing=smoothing))
    )


def test_binary_focal_by_its_formula() -> None:
    output, target = torch.randn(4, 5), torch.randint(0, 2, (4, 5)).float()
    p = torch.where(target == 1, output.sigmoid(), 1 - output.sigmoid())
    torch.testing.assert_close(
        made(labels(), "multilabel", name="focal").loss(output, target), -((1 - p) ** 2 * p.log()).mean()
    )


def test_focal_of_mixed_rows_weighs_each_share_by_its_class() -> None:
    weights, shares = (0.5, 1.0, 4.0), F.one_hot(TRUTH, 3).float() * 0.7 + F.one_hot(TRUTH.flip(0), 3).float() * 0.3
    task = made(classes(), "classify", name="focal", class_weights=weights, gamma=0.0)
    expected = -(shares * torch.tensor(weights) * SCORES.log_softmax(1)).sum() / (shares * torch.tensor(weights)).sum()
    torch.testing.assert_close(task.loss(SCORES, shares), expected)


def test_weights_are_balanced_over_the_classes_and_labels_that_occur() -> None:
    names = np.array(["ant", "bee", "cat"])
    data = load_data({"x": X, "y": names[np.repeat([0, 1], [45, 15])]}, labels=tuple(names))
    counts, weights = data.train.class_counts(3), class_weights(data, "balanced")
    assert weights is not None and counts[2] == 0
    np.testing.assert_allclose(weights.numpy() * counts, [len(data.train) / 2, len(data.train) / 2, 0], rtol=1e-6)
    always = np.column_stack([np.ones(60), np.arange(60) % 2])
    found = pos_weights(load_data((X, always), kind="multilabel"), "balanced")
    assert found is not None and 0 < float(found[0]) < 0.01, "a label that is always there still counts"


def test_balanced_weights_make_every_class_count_alike() -> None:
    data = classes()
    weights = class_weights(data, "balanced")
    counts = np.bincount(data.train.targets)
    assert weights is not None
    np.testing.assert_allclose(weights.numpy() * counts, len(data.train) / 3, rtol=1e-6)


def test_balanced_positives() -> None:
    y = np.zeros((60, 2))
    y[:15, 0], y[:30, 1] = 1, 1
    y[59] = np.nan
    weights = pos_weights(
        load_data({"x_train": X, "y_train": y, "x_test": X, "y_test": y, "x_val": X, "y_val": y}), "balanced"
    )
    assert weights is not None
    np.testing.assert_allclose(weights, [44 / 15, 29 / 30], rtol=1e-6)


FOCAL = {"name": "focal", "class_weights": (1.0, 2.0, 3.0)}
POSITIONS = [
    ("dense-classify", np.tile(np.arange(8) % 3, (60, 1)), (2, 3, 8), {}),
    (
        "dense-classify",
        np.tile(np.arange(8) % 3, (60, 1)),
        (2, 3, 8),
        FOCAL,
    ),
    ("multilabel", RNG.integers(0, 2, (60, 4, 8)), (2, 4, 8), {"pos_weight": 3.0}),
    ("multilabel", RNG.integers(0, 2, (60, 4, 8)), (2, 4, 8), {"name": "focal"}),
    ("regress:mse", RNG.random((60, 4, 8)), (2, 4, 8), {}),
    ("regress:mae", RNG.random((60, 4, 8)), (2, 4, 8), {}),
    ("regress:relative_l2", RNG.random((60, 4, 8)), (2, 4, 8), {"normalise_targets": True}),
]


@pytest.mark.parametrize(("task", "y", "shape", "options"), POSITIONS)
def test_ignored_positions_count_nowhere(
    task: str, y: np.ndarray, shape: tuple[int, ...], options: dict[str, object]
) -> None:
    """Loss and gradient are those of the data without them, and what the model says there does not matter."""
    data = load_data((X, y))
    loss = made(data, task, **options).loss
    output = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = data.train.__getitems__([0, 1])[1].clone()
    target[..., 5:] = IGNORED if task == "dense-classify" else float("nan")
    whole = loss(output, target)
    (gradient,) = torch.autograd.grad(whole, output)
    assert torch.isfinite(whole) and (gradient[..., 5:] == 0).all() and (gradient[..., :5] != 0).any()
    torch.testing.assert_close(whole, loss(output[..., :5], target[..., :5]))


@pytest.mark.parametrize(("ours", "torchs"), [(mse, F.mse_loss), (mae, F.l1_loss)])
def test_masked_means_are_torchs_where_nothing_is_missing(
    ours: Callable[..., Tensor], torchs: Callable[..., Tensor]
) -> None:
    output, target = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    torch.testing.assert_close(ours(output, target), torchs(output, target))


@pytest.mark.parametrize(("task", "y", "shape", "options"), POSITIONS)
def test_a_model_in_half_precision_is_judged_in_float32(
    task: str, y: np.ndarray, shape: tuple[int, ...], options: dict[str, object]
) -> None:
    data = load_data((X, y))
    loss, target = made(data, task, **options).loss, data.train.__getitems__([0, 1])[1]
    output = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert loss(output, target).dtype == torch.float32
    torch.testing.assert_close(loss(output, target), loss(output.float(), target))


def test_targets_are_normalised_for_the_loss_and_not_for_the_metric() -> None:
    y = 100 + 5 * RNG.standard_normal((60, 2, 8))
    task = made(load_data((X, y)), "regress:mse", normalise_targets=True)
    assert isinstance(task.target, Normalisation) and task.target.mean[0] == pytest.approx(100, abs=1)
    target = torch.as_tensor(y[:4], dtype=torch.float32)
    guess = task.target.apply(target) + 0.1
    assert float(task.loss(guess, target)) == pytest.approx(0.01, rel=1e-3)
    metric = task.new_metric()
    metric.update(*task.prepare(guess, target))
    assert float(metric.compute()) == pytest.approx(
        float(np.mean(np.square(0.1 * np.array(task.target.std)))), rel=1e-3
    )
    relative = made(load_data((X, y)), "regress", normalise_targets=True)
    torch.testing.assert_close(relative.loss(guess, target), relative_l2(task.target.undo(guess), target))


@pytest.mark.parametrize(
    ("data", "task", "options", "words"),
    [
        (classes, "classify", {"name": "focul"}, "did you mean 'focal'"),
        (classes, "classify", {"name": "mse"}, "cross_entropy, focal"),
        (classes, "classify", {"pos_weight": 2.0}, "no option loss.pos_weight"),
        (classes, "classify", {"class_weights": (1.0, 2.0)}, "has 2 numbers, the data has 3 classes"),
        (classes, "classify", {"class_weights": (1.0, 2.0, 0.0)}, "not above 0"),
        (labels, "multilabel", {"pos_weight": (1.0, 2.0)}, "5 labels"),
        (labels, "multilabel", {"normalise_targets": True}, "loss.normalise_targets"),
        (classes, "mine.py:task", {"name": "focal"}, "your own file"),
    ],
)
def test_options_that_do_not_fit(data: Callable[[], Data], task: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(TaskError) as caught:
        made(data(), task, **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
