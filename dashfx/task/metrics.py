"""Metrics that torchmetrics lacks or counts differently; each is fed a whole set and gives one number.

Targets that are NaN (or, for labels, below 0) are ignored positions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dashfx.task.losses import relative_l2_rows


class Mean(Metric):
    """A mean over everything fed to it; subclasses say of what."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, values: Tensor, kept: Tensor | None = None) -> None:
        """Take the values whose place is `kept`, all by default."""
        self.total += (values if kept is None else torch.where(kept, values, 0.0)).double().sum()
        self.count += values.numel() if kept is None else kept.sum()

    def compute(self) -> Tensor:
        return self.total / self.count


class RelativeL2(Mean):
    """The mean over rows of ||output - target|| / ||target||, as in the Fourier Neural Operator's Darcy figures.

    torchmetrics' own NormalizedRootMeanSquaredError takes one norm over the whole set instead.
    """

    def update(self, output: Tensor, target: Tensor) -> None:
        self.add(relative_l2_rows(output, target))


class SquaredError(Mean):
    """The mean squared error over all numbers of all rows."""

    def update(self, output: Tensor, target: Tensor) -> None:
        self.add((output.float() - target.nan_to_num(0.0)) ** 2, ~target.isnan())


class AbsoluteError(Mean):
    """The mean absolute error over all numbers of all rows."""

    def update(self, output: Tensor, target: Tensor) -> None:
        self.add((output.float() - target.nan_to_num(0.0)).abs(), ~target.isnan())


class R2(Metric):
    """The coefficient of determination, 1 - squared error / variance of the truth, in the mean over outputs.

    An output whose truth does not vary has none and is left out. torchmetrics' R2Score takes no missing targets and
    sums squares in float32, which loses the variance beside a large mean.
    """

    counts: Tensor
    means: Tensor
    variances: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("counts", "means", "variances", "squares"):
            self.add_state(name, torch.zeros(1, dtype=torch.float64), dist_reduce_fx=None)

    def update(self, output: Tensor, target: Tensor) -> None:
        """(B, C, ...) numbers; C of them are told apart."""
        truth, guess = (each.double().transpose(0, 1).flatten(1) for each in (target, output))
        known = ~truth.isnan()
        truth, n = truth.nan_to_num(0.0), known.sum(1).double()
        mean = torch.where(known, truth, 0.0).sum(1) / n.clamp_min(1)
        spread = torch.where(known, truth - mean[:, None], 0.0).square().sum(1)
        delta, total = mean - self.means, self.counts + n
        # Merged as in Chan, Golub and LeVeque (1979).
        self.variances = self.variances + spread + delta.square() * self.counts * n / total.clamp_min(1)
        self.means = self.means + delta * n / total.clamp_min(1)
        self.squares = self.squares + torch.where(known, guess - truth, 0.0).square().sum(1)
        self.counts = total

    def each(self) -> Tensor:
        """(C,): of each output, NaN where its truth does not vary."""
        varies = self.variances > 1e-13 * self.means.square() * self.counts.clamp_min(1)
        return torch.where(varies, 1 - self.squares / self.variances, torch.nan)

    def compute(self) -> Tensor:
        return self.each().nanmean()


class MAE8(Mean):
    """The error in short distances between residues far apart in the sequence, as PDNet and NAS-Bench-360 count it.

    Of a row's (1, L, L) distances, pairs (p, q) with q - p >= 24 and a true distance of at most 8 count, the output is
    the mean of its two triangles, and the result is the mean over the rows' own means. Rows without such pairs are
    left out.
    """

    def update(self, output: Tensor, target: Tensor) -> None:
        guess = (output + output.transpose(-1, -2)).float() / 2
        far = torch.ones_like(target, dtype=torch.bool).triu(24)
        kept = far & (target <= 8)  # NaN is not
        each = torch.where(kept, (guess - target.nan_to_num(0.0)).abs(), 0.0).flatten(1).sum(1)
        pairs = kept.flatten(1).sum(1)
        self.add(each / pairs.clamp_min(1), pairs > 0)


class FrameNLL(Mean):
    """The negative log-likelihood of a frame: binary cross-entropy summed over the labels, in nats, mean over frames.

    Fed scores, not probabilities, of shape (B, L, ...).
    """

    def update(self, output: Tensor, target: Tensor) -> None:
        known = ~target.isnan()
        each = F.binary_cross_entropy_with_logits(output.float(), target.nan_to_num(0.0), reduction="none")
        self.add(torch.where(known, each, 0.0).sum(1), known.any(1))


class ClassNLL(Mean):
    """The cross-entropy of (B, K, ...) scores against (B, ...) class numbers, in nats."""

    def update(self, output: Tensor, target: Tensor) -> None:
        self.add(F.cross_entropy(output.float(), target.clamp_min(0), reduction="none"), target >= 0)


class LabelMean(Metric):
    """A score of torchmetrics for one label, such as `binary_auroc`, in the mean over labels.

    Fed (M, L) probabilities and (M, L) zeros and ones. A label with a single value in the whole set has no such score
    and is left out; torchmetrics' macro averages count it as 0.
    """

    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.preds.append(preds)
        self.target.append(target.to(torch.int8))

    def compute(self) -> Tensor:
        scores = []
        preds, target = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        for guess, truth in zip(preds.T, target.T, strict=True):
            guess, truth = guess[truth >= 0], truth[truth >= 0].long()
            if truth.unique().numel() == 2:
                scores.append(self.score(guess, truth))
        return torch.stack(scores).mean() if scores else torch.tensor(float("nan"))
