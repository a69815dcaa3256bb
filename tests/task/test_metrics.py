"""Metrics of dense tasks against scikit-learn and by hand, whatever the batches, with positions left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from torch import Tensor

from dashfx.data import Data, load_data
from dashfx.errors import TaskError
from dashfx.task import evaluate, load_task, output_errors
from dashfx.task.losses import relative_l2_rows
from dashfx.task.metrics import MAE8, R2, FrameNLL

RNG = np.random.default_rng(0)
ROWS = 30


def data_of(y: np.ndarray, size: tuple[int, ...]) -> Data:
    x = RNG.random((ROWS, 2, *size)).astype(np.float32)
    return load_data({f"{a}_{p}": v for p in ("train", "valid", "test") for a, v in (("x", x), ("y", y))})


def score(data: Data, task: str, output: np.ndarray, batch: int = 7) -> float:
    """The metric of outputs given beforehand, fed in batches."""
    rows = iter(torch.as_tensor(output, dtype=torch.float32))
    return evaluate(lambda x: torch.stack([next(rows) for _ in x]), data.loader("test", batch), load_task(task, data))


@pytest.mark.parametrize("size", [(9,), (5, 6)])
def test_dense_classes(size: tuple[int, ...]) -> None:
    y = RNG.integers(-1, 3, (ROWS, *size))
    data = data_of(y, size)
    assert (
        data.kind == "dense-classes" and data.output_shape == (3, *size) and load_task(None, data).metric_name == "iou"
    )
    output = RNG.standard_normal((ROWS, 3, *size))
    truth, guess = y[y >= 0], output.argmax(1)[y >= 0]
    p = np.moveaxis(np.exp(output) / np.exp(output).sum(1, keepdims=True), 1, -1)[y >= 0]
    expected = {
        "iou": jaccard_score(truth, guess, average="macro"),
        "accuracy": (truth == guess).mean(),
        "error": (truth != guess).mean(),
        "f1": f1_score(truth, guess, average="macro"),
        "auroc": roc_auc_score(truth, p, multi_class="ovr"),
        "nll": -np.log(p[range(len(truth)), truth]).mean(),
    }
    for metric, value in expected.items():
        for batch in (7, 100):
            assert score(data, f"dense-classify:{metric}", output, batch) == pytest.approx(value, rel=1e-4), metric


@pytest.mark.parametrize("n", [1, 4])
def test_labels_at_every_position(n: int) -> None:
    y = RNG.integers(0, 2, (ROWS, n, 9)).astype(float)
    y[:, :, 7:] = np.nan
    x = RNG.random((ROWS, 2, 9)).astype(np.float32)
    data = load_data({f"{a}_{p}": v for p in ("train", "test") for a, v in (("x", x), ("y", y))}, kind="multilabel")
    output = RNG.standard_normal((ROWS, n, 9))
    truth, guess = (np.moveaxis(a[:, :, :7], 1, -1).reshape(-1, n) for a in (y, output))
    expected = {
        "map": np.mean([average_precision_score(truth[:, i], guess[:, i]) for i in range(n)]),
        "auroc": np.mean([roc_auc_score(truth[:, i], guess[:, i]) for i in range(n)]),
        "f1": np.mean([f1_score(truth[:, i], guess[:, i] > 0) for i in range(n)]),
        "iou": np.mean([jaccard_score(truth[:, i], guess[:, i] > 0) for i in range(n)]),
        "nll": (np.logaddexp(0, guess) - truth * guess).sum(1).mean(),
    }
    for metric, value in expected.items():
        assert score(data, f"multilabel:{metric}", output) == pytest.approx(value, rel=1e-4), metric
    assert score(data, "multilabel:mAP", output) == pytest.approx(expected["map"], rel=1e-4)


@pytest.mark.parametrize("metric", ["auroc", "map"])
def test_a_label_that_the_set_lacks_does_not_lower_the_mean(metric: str) -> None:
    y = np.zeros((ROWS, 3))
    y[::2, 0], y[::3, 1] = 1, 1
    y[0] = [1, 1, 0]
    data = data_of(y, (9,))
    assert score(data, f"multilabel:{metric}", y * 10 - 5) == pytest.approx(1)


def test_the_log_likelihood_of_a_roll_of_silence() -> None:
    """88 keys at p = 1/2 cost 88 ln 2 nats a frame, and padded frames cost nothing."""
    metric = FrameNLL()
    target = torch.zeros(2, 88, 10)
    target[1, :, 4:] = float("nan")
    metric.update(torch.zeros(2, 88, 10), target)
    assert float(metric.compute()) == pytest.approx(88 * np.log(2), rel=1e-6)


def mae8_rows(output: np.ndarray, target: np.ndarray) -> Iterator[float]:
    for guess, truth in zip(output[:, 0], target[:, 0], strict=True):
        pairs = [
            abs((guess[p, q] + guess[q, p]) / 2 - truth[p, q])
            for p in range(len(truth))
            for q in range(p + 24, len(truth))
            if truth[p, q] <= 8
        ]
        if pairs:
            yield float(np.mean(pairs))


def test_mae8_by_hand() -> None:
    target = RNG.uniform(4, 20, (6, 1, 40, 40))
    target = (target + target.transpose(0, 1, 3, 2)) / 2
    target[0] += 20  # no close pair at all
    target[1, :, :, 30:] = np.nan
    output = target + RNG.standard_normal(target.shape)
    output[1, :, :, 30:] = 3.0
    metric = MAE8()
    for part in (slice(0, 4), slice(4, 6)):
        metric.update(torch.as_tensor(output[part]), torch.as_tensor(target[part]))
    assert float(metric.compute()) == pytest.approx(np.mean(list(mae8_rows(output, target))), rel=1e-5)


def test_mae8_needs_maps() -> None:
    with pytest.raises(TaskError, match="mae8 is for maps of distances"):
        load_task("regress:mae8", data_of(RNG.random((ROWS, 1, 9)), (9,)))


def test_regression_ignores_what_is_not_known() -> None:
    y = RNG.random((ROWS, 2, 9))
    output = RNG.random((ROWS, 2, 9))
    y[:, 1, 3:] = np.nan
    data = data_of(y, (9,))
    assert any("ignored: train 33.3%" in note for note in data.notes)
    kept = ~np.isnan(y)
    difference = np.where(kept, output - y, 0)
    relative = np.sqrt((difference**2).sum((1, 2)) / np.nansum(y**2, (1, 2))).mean()
    for metric, value in {
        "mse": (difference[kept] ** 2).mean(),
        "mae": np.abs(difference[kept]).mean(),
        "relative_l2": relative,
    }.items():
        assert score(data, f"regress:{metric}", output) == pytest.approx(value, rel=1e-4), metric


def test_the_model_must_answer_for_every_position() -> None:
    data = data_of(RNG.integers(0, 3, (ROWS, 5, 6)), (5, 6))
    task = load_task(None, data)
    task.check(torch.zeros(2, 3, 5, 6), data)
    for found, words in {
        (3,): "(UNet, or WRN or WRN1d with dense=true)",
        (4, 5, 6): "gives 4 outputs, the data has 3 classes",
        (3, 5, 5): "needs (batch, 3, 5, 6)",
    }.items():
        with pytest.raises(TaskError) as caught:
            task.check(Tensor(torch.zeros(2, *found)), data)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_r2_by_hand_and_output_by_output() -> None:
    scales = np.array([1e5, 300.0, 1e-3])
    y = (RNG.standard_normal((ROWS, 3)) + 1000) * scales
    output = y + RNG.standard_normal((ROWS, 3)) * scales * [0.1, 0.5, 1.0]
    y[::5, 1] = np.nan
    data = data_of(y, ())
    truth, guess = (each[data.test.index] for each in (y, output))
    squares = np.nansum((guess - truth) ** 2, 0)
    r2 = 1 - squares / np.nansum((truth - np.nanmean(truth, 0)) ** 2, 0)
    assert score(data, "regress:r2", output) == pytest.approx(r2.mean(), rel=1e-2)
    rows = iter(torch.as_tensor(guess))
    found = output_errors(
        lambda x: torch.stack([next(rows) for _ in x]), data.loader("test", 4), load_task("regress", data), data
    )
    assert [each.name for each in found] == ["y0", "y1", "y2"]
    assert [each.r2 for each in found] == pytest.approx(r2.tolist(), rel=1e-2)
    assert [each.mae for each in found] == pytest.approx(np.nanmean(np.abs(guess - truth), 0).tolist(), rel=1e-2)
    known = (~np.isnan(truth)).sum(0)
    assert [each.rmse for each in found] == pytest.approx(np.sqrt(squares / known).tolist(), rel=1e-2)


def test_r2_leaves_out_what_does_not_vary() -> None:
    metric = R2()
    metric.update(
        torch.tensor([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]]), torch.tensor([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    )
    assert float(metric.compute()) == 1.0 and metric.each().isnan().tolist() == [False, True]


def test_relative_errors_of_small_targets_are_relative() -> None:
    target = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    for unit in (1.0, 1e-13, 1e-25, 1e20):
        rows = relative_l2_rows(target * unit * 1.1, target * unit)
        assert rows[0] == pytest.approx(0.1, rel=1e-5) and rows[1] == 0
