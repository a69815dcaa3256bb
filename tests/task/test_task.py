"""Losses, metrics over whole sets, the check of outputs, and users' own tasks."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dashfx.data import Data, load_data
from dashfx.errors import TaskError
from dashfx.task import (
    TASKS,
    LossOptions,
    RelativeL2,
    Task,
    check_names,
    data_kind,
    evaluate,
    load_task,
    multilabel,
    relative_l2,
)
from dashfx.task.names import KNOWN

RNG = np.random.default_rng(0)
X = RNG.random((60, 2, 8)).astype(np.float32)


@pytest.fixture
def classes() -> Data:
    return load_data((X, np.arange(60) % 3))


@pytest.fixture
def labels() -> Data:
    return load_data((X, RNG.integers(0, 2, (60, 5))))


@pytest.fixture
def dense() -> Data:
    return load_data((X, RNG.random((60, 1, 8))))


@pytest.fixture
def vector() -> Data:
    return load_data((X, RNG.random((60, 4))))


def test_the_data_suggests_the_task(classes: Data, labels: Data, dense: Data, vector: Data) -> None:
    names = [load_task(None, data).name for data in (classes, labels, dense, vector)]
    assert names == ["classify", "multilabel", "regress", "regress"]


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auroc"])
def test_metric_is_over_the_set_not_over_batches(classes: Data, metric: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    task = load_task(f"classify:{metric}", classes)
    scores = {evaluate(model, classes.loader("train", size), task) for size in (1, 7, 1000)}
    assert max(scores) == pytest.approx(min(scores), abs=1e-6)
    assert task.maximise and task.metric_name == metric and 0 < max(scores) < 1


def test_accuracy_by_hand(classes: Data) -> None:
    task = load_task("classify", classes)
    always_one = evaluate(lambda x: torch.tensor([0.0, 1.0, 0.0]).repeat(len(x), 1), classes.loader("test", 5), task)
    assert always_one == pytest.approx((classes.test.targets == 1).mean())


def test_auroc_ranks_probabilities_whatever_the_scale_of_the_logits(classes: Data) -> None:
    """Logits that all lie in [0, 1] must not be taken for probabilities."""
    task = load_task("classify:auroc", classes)
    logits = torch.rand(len(classes.test), 3, generator=torch.Generator().manual_seed(0))

    def score(shift: float) -> float:
        rows = iter(logits + shift)
        return evaluate(lambda x: torch.stack([next(rows) for _ in x]), classes.loader("test", 5), task)

    assert score(0.0) == pytest.approx(score(100.0), abs=1e-6)


@pytest.mark.parametrize("metric", ["map", "auroc", "f1"])
def test_multilabel_scores_a_perfect_model_one(labels: Data, metric: str) -> None:
    task = load_task(f"multilabel:{metric}", labels)
    _, y = next(iter(labels.loader("test", 1000)))
    rows = iter(y * 10 - 5)
    assert evaluate(lambda x: torch.stack([next(rows) for _ in x]), labels.loader("test", 4), task) == pytest.approx(1)


def test_pos_weight_weighs_positives(labels: Data) -> None:
    output, target = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    plain, weighted = (multilabel(labels, pos_weight=w).loss(output, target) for w in (None, 10.0))
    assert float(weighted / plain) == pytest.approx(5.5)


def test_relative_l2_is_a_mean_over_rows() -> None:
    target = torch.tensor([[[3.0, 4.0]], [[0.0, 10.0]]])
    output = torch.tensor([[[3.0, 5.0]], [[0.0, 10.0]]])
    assert float(relative_l2(output, target)) == pytest.approx(0.1)
    metric = RelativeL2()
    metric.update(output[:1], target[:1])
    metric.update(output[1:], target[1:])
    assert float(metric.compute()) == pytest.approx(0.1)
    assert torch.isfinite(relative_l2(output, torch.zeros_like(target)))


def test_regress(dense: Data, vector: Data) -> None:
    for data, metric in ((dense, "relative_l2"), (vector, "mse")):
        task = load_task(f"regress:{metric}", data)
        _, y = next(iter(data.loader("test", 1000)))
        zero = evaluate(lambda x, y=y: torch.zeros(len(x), *y.shape[1:]), data.loader("test", 5), task)
        expected = 1.0 if metric == "relative_l2" else float((y**2).mean())
        assert zero == pytest.approx(expected, rel=1e-5)
        assert float(task.loss(torch.zeros_like(y), y)) == pytest.approx(expected, rel=1e-5)
        assert not task.maximise


def test_where_units_are_left_to_it_a_row_of_numbers_is_judged_by_r2_and_maps_by_their_relative_error(
    dense: Data, vector: Data
) -> None:
    found = [load_task("regress", data, LossOptions(normalise_targets=None)) for data in (dense, vector)]
    assert [task.metric_name for task in found] == ["relative_l2", "r2"] and all(task.target for task in found)


def test_better() -> None:
    up = Task("t", relative_l2, RelativeL2, "m", maximise=True)
    down = Task("t", relative_l2, RelativeL2, "m", maximise=False)
    nan = float("nan")
    assert up.better(2, 1) and not up.better(1, 2) and not up.better(1, 1)
    assert down.better(1, 2) and not down.better(2, 1)
    assert up.better(-5, nan) and down.better(5, nan)
    assert not up.better(nan, 1) and not down.better(nan, 1) and not up.better(nan, nan)


@pytest.mark.parametrize(
    ("data_name", "good", "bad", "word"),
    [
        ("classes", (3,), (10,), "10 outputs, the data has 3 classes"),
        ("classes", (3,), (3, 8), "(batch, 3, 8)"),
        ("labels", (5,), (3,), "3 outputs, the data has 5 labels"),
        ("dense", (1, 8), (1, 4), "(batch, 1, 4)"),
        ("dense", (1, 8), (8,), "(batch, 1, 8)"),
        ("vector", (4,), (3,), "(batch, 4)"),
    ],
)
def test_check(
    request: pytest.FixtureRequest, data_name: str, good: tuple[int, ...], bad: tuple[int, ...], word: str
) -> None:
    data = request.getfixturevalue(data_name)
    task = load_task(None, data)
    task.check(torch.zeros(2, *good), data)
    with pytest.raises(TaskError) as caught:
        task.check(torch.zeros(2, *bad), data)
    assert word in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(TaskError, match="tuple"):
        task.check((torch.zeros(2, *good),), data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("clasify", "did you mean 'classify'"),
        ("clasify:f1", "did you mean 'classify'"),
        ("classify:acuracy", "did you mean 'accuracy'"),
        ("classify:map", "accuracy, error, f1, auroc"),
        ("regress", "needs dense data"),
        ("nowhere.py:task", "no such file"),
    ],
)
def test_unknown_or_unfit(classes: Data, spec: str, words: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_task(spec, classes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("data_name", ["classes", "labels", "dense"])
def test_names_are_known_without_data(request: pytest.FixtureRequest, data_name: str) -> None:
    data = request.getfixturevalue(data_name)
    task = load_task(None, data).name
    for metric, loss in product(["", *KNOWN[task].scores, "wrong"], [None, *KNOWN[task].losses, "wrong"]):
        spec, options = f"{task}:{metric}", LossOptions(loss)
        for look in (partial(check_names, spec, options), partial(load_task, spec, data, options)):
            if "wrong" in (metric, loss):
                with pytest.raises(TaskError, match="wrong"):
                    look()
            elif metric != "mae8":  # which is for maps
                look()
    assert set(KNOWN) == set(TASKS)


def test_data_kind() -> None:
    assert data_kind(None) is None and data_kind("mine.py:task") is None
    assert data_kind("classify:f1") == "classes" and data_kind("multilabel") == "multilabel"
    with pytest.raises(TaskError, match="regress"):
        data_kind("regres")


def test_own_task(tmp_path: Path, classes: Data) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch.nn.functional as F\nfrom torchmetrics import MeanMetric\nfrom dashfx.task import Task\n"
        "class Confidence(MeanMetric):\n"
        "    def update(self, output, target):\n        super().update(output.softmax(1).amax(1))\n"
        "def task(data):\n"
        "    return Task('mine', lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1), Confidence, 'conf', True)\n"
        "ready = task(None)\nthree = 3\n"
    )
    for name in ("task", "ready"):
        task = load_task(f"{tmp_path / 'mine.py'}:{name}", classes)
        assert evaluate(lambda x: torch.zeros(len(x), 3), classes.loader("test", 4), task) == pytest.approx(1 / 3)
        task.check(torch.zeros(2, 99), classes)  # a task of no kind checks nothing
    with pytest.raises(TaskError, match="must be a Task"):
        load_task(f"{tmp_path / 'mine.py'}:three", classes)


def test_evaluate_does_not_track_gradients_or_accept_nothing(classes: Data) -> None:
    weight = torch.zeros(3, requires_grad=True)

    def predict(x: Tensor) -> Tensor:
        output = weight + x.new_zeros(len(x), 3)
        assert not output.requires_grad
        return output

    evaluate(predict, classes.loader("test", 4), load_task(None, classes))
    with pytest.raises(ValueError, match="no batches"):
        evaluate(predict, [], load_task(None, classes))
