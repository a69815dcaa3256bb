"""Multi-label classification: several labels a row or a position, each 0 or 1."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex, MultilabelF1Score, MultilabelJaccardIndex
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from dashfx.data.base import Data
from dashfx.task.base import Score, Task, pick
from dashfx.task.losses import USUAL, LossOptions, binary
from dashfx.task.metrics import FrameNLL, LabelMean

LOSSES = ("bce", "focal")
OPTIONS = ("pos_weight", "label_smoothing")


def multilabel(
    data: Data, metric: str = "map", options: LossOptions = USUAL, *, pos_weight: float | None = None
) -> Task:
    """Binary cross-entropy or focal; macro mAP, AUROC, F1 or IoU, or the log-likelihood of a frame of labels.

    Args:
        pos_weight: short for that option.
    """
    if pos_weight is not None:
        options = LossOptions(options.name, None, pos_weight, options.label_smoothing, options.gamma)
    options.allow("multilabel", LOSSES, *OPTIONS)
    metric, score = pick(scores(data.n_outputs), metric, "multilabel")
    loss = binary(data, options)
    return Task("multilabel", loss, score.new, metric, score.maximise, "multilabel", score.prepare, average="sigmoid")


def scores(n: int) -> dict[str, Score]:
    """The metrics for n labels by name."""

    # torchmetrics takes several labels from two on
    def f1() -> Metric:
        return BinaryF1Score(ignore_index=-1) if n == 1 else MultilabelF1Score(n, average="macro", ignore_index=-1)

    def iou() -> Metric:
        one = n == 1
        return BinaryJaccardIndex(ignore_index=-1) if one else MultilabelJaccardIndex(n, ignore_index=-1)

    return {
        "map": Score(lambda: LabelMean(binary_average_precision), True, _frames),
        "auroc": Score(lambda: LabelMean(binary_auroc), True, _frames),
        "f1": Score(f1, True, _frames),
        "iou": Score(iou, True, _frames),
        "nll": Score(FrameNLL, False),
    }


def _frames(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(rows * positions, L) probabilities, and zeros and ones, or -1 where ignored.

    torchmetrics turns scores into probabilities only for batches where some value leaves [0, 1], so it is done here.
    """
    n = output.shape[1]
    probabilities = output.float().sigmoid().movedim(1, -1).reshape(-1, n)
    return probabilities, target.nan_to_num(-1.0).movedim(1, -1).reshape(-1, n).long()
