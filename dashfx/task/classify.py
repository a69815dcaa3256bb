"""Classification of rows, or of every position."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex
from torchmetrics.functional.classification import binary_auroc

from dashfx.data.base import IGNORED, Data, Kind
from dashfx.task.base import Score, Task, pick
from dashfx.task.losses import USUAL, LossOptions, cross_entropy
from dashfx.task.metrics import ClassNLL, LabelMean

LOSSES = ("cross_entropy", "focal")
OPTIONS = ("class_weights", "label_smoothing")


class ErrorRate(MulticlassAccuracy):
    """1 - accuracy over everything that is not ignored."""

    def compute(self) -> Tensor:
        return 1 - super().compute()


def classify(data: Data, metric: str = "accuracy", options: LossOptions = USUAL) -> Task:
    """Cross-entropy or focal; accuracy, error, macro F1, macro AUROC (one against the rest) or cross-entropy."""
    return _task("classify", data, metric, options, scores(data.n_outputs))


def dense_classify(data: Data, metric: str = "iou", options: LossOptions = USUAL) -> Task:
    """The same for every position; the mean IoU over classes, and positions whose class is below 0 left out."""
    return _task("dense-classify", data, metric, options, dense_scores(data.n_outputs))


def _task(name: str, data: Data, metric: str, options: LossOptions, known: dict[str, Score]) -> Task:
    options.allow(name, LOSSES, *OPTIONS)
    metric, score = pick(known, metric, name)
    kind: Kind = "classes" if name == "classify" else "dense-classes"
    return Task(
        name, cross_entropy(data, options), score.new, metric, score.maximise, kind, score.prepare, average="softmax"
    )


def scores(n: int) -> dict[str, Score]:
    """The metrics for n classes by name."""

    def accuracy() -> Metric:
        return MulticlassAccuracy(n, average="micro", ignore_index=IGNORED)

    def error() -> Metric:
        return ErrorRate(n, average="micro", ignore_index=IGNORED)

    def f1() -> Metric:
        return MulticlassF1Score(n, average="macro", ignore_index=IGNORED)

    return {
        "accuracy": Score(accuracy, True, _numbers),
        "error": Score(error, False, _numbers),
        "f1": Score(f1, True, _numbers),
        "auroc": Score(lambda: LabelMean(binary_auroc), True, _one_against_the_rest),
        "nll": Score(ClassNLL, False),
    }


def dense_scores(n: int) -> dict[str, Score]:
    """The metrics for a class at every position by name."""
    iou = Score(lambda: MulticlassJaccardIndex(n, average="macro", ignore_index=IGNORED), True, _numbers)
    return {"iou": iou, **scores(n)}


def _numbers(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """torchmetrics confuses scores with probabilities where all lie in [0, 1]; the largest one's number it cannot."""
    return output.argmax(1), target


def _one_against_the_rest(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(positions, K) probabilities, and zeros and ones, or -1 where ignored."""
    n = output.shape[1]
    probabilities = output.float().softmax(1).movedim(1, -1).reshape(-1, n)
    flat = target.flatten()
    return probabilities, F.one_hot(flat.clamp_min(0), n).where(flat[:, None] >= 0, -1)
