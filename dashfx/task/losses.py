"""Losses (output, target) -> scalar, by their options. Ignored positions count nowhere.

Class numbers below 0 and targets that are NaN are ignored. All is done by masks of fixed shape, so nothing waits for
the device, and in float32, whatever the precision of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dashfx.data.base import IGNORED, Data
from dashfx.data.normalisation import Normalisation
from dashfx.errors import TaskError, did_you_mean

Weights = Literal["balanced"] | tuple[float, ...]


@dataclass(frozen=True)
class LossOptions:
    """What a user can say of the loss; a task refuses what is not its own.

    Attributes:
        name: the loss; None is the task's usual one.
        class_weights: a number per class, or "balanced": inverse to how often the train part has it, 1 on average.
        pos_weight: the weight of positives in several labels, one or a number per label; "balanced" is negatives over
            positives in the train part.
        label_smoothing: the share of certainty that is spread over the other classes.
        gamma: of the focal loss (Lin et al., ICCV 2017); 0 is the plain one.
        normalise_targets: let a regression model work in units of mean 0 and deviation 1 per output; None leaves it to
            the task, which does so where it is regression.
    """

    name: str | None = None
    class_weights: Weights | None = None
    pos_weight: Literal["balanced"] | float | tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    gamma: float = 2.0
    normalise_targets: bool | None = False

    @property
    def said(self) -> bool:
        """Whether anything is said: to leave the units to the task is not."""
        return replace(self, normalise_targets=self.normalise_targets or False) != USUAL

    def allow(self, task: str, losses: tuple[str, ...], *options: str) -> str:
        """The loss's name, after a look at what task `task` knows; the first of `losses` is the usual one.

        Raises:
            TaskError: a loss or an option that the task does not have.
        """
        if self.name is not None and self.name not in losses:
            near = did_you_mean(self.name, losses)
            raise TaskError(f"task {task} has no loss {self.name!r}{near}; there are {', '.join(losses)}")
        for option in ("class_weights", "pos_weight", "label_smoothing", "normalise_targets"):
            left = option == "normalise_targets" and self.normalise_targets is None
            if option not in options and not left and getattr(self, option) != getattr(USUAL, option):
                raise TaskError(f"task {task} has no option loss.{option}; leave it out, or choose another --task")
        return self.name or losses[0]


USUAL = LossOptions()


def cross_entropy(data: Data, options: LossOptions) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy or focal loss of (B, K, ...) scores against (B, ...) class numbers, or (B, K) shares of classes."""
    weights = class_weights(data, options.class_weights)
    smoothing, gamma, focal = options.label_smoothing, options.gamma, options.name == "focal"

    def loss(output: Tensor, target: Tensor) -> Tensor:
        output = output.float()
        weight = None if weights is None else weights.to(output)
        if not focal:
            return F.cross_entropy(output, target, weight, ignore_index=IGNORED, label_smoothing=smoothing)
        each = F.cross_entropy(
            output, target, weight, ignore_index=IGNORED, reduction="none", label_smoothing=smoothing
        )
        if target.is_floating_point():  # a mixture of rows, as mixup makes it
            sure = (output.softmax(1) * target).sum(1)
            return ((1 - sure) ** gamma * each).sum() / (target if weight is None else target * weight).sum()
        kept = target != IGNORED
        chosen = target.clamp_min(0)
        sure = output.log_softmax(1).gather(1, chosen[:, None])[:, 0].exp()  # the true class's probability
        share = kept if weight is None else kept * weight[chosen]
        return ((1 - sure) ** gamma * each).sum() / share.sum().clamp_min(1e-8)

    return loss


def binary(data: Data, options: LossOptions) -> Callable[[Tensor, Tensor], Tensor]:
    """Binary cross-entropy, or its focal form, of (B, L, ...) scores against zeros and ones of that shape."""
    positive = pos_weights(data, options.pos_weight)
    smoothing, gamma, focal = options.label_smoothing, options.gamma, options.name == "focal"

    def loss(output: Tensor, target: Tensor) -> Tensor:
        output, kept = output.float(), ~target.isnan()
        target = target.nan_to_num(0.0)
        wanted = target * (1 - smoothing) + smoothing / 2 if smoothing else target
        weight = None if positive is None else positive.to(output).view(-1, *[1] * (output.ndim - 2))
        each = F.binary_cross_entropy_with_logits(output, wanted, pos_weight=weight, reduction="none")
        if focal:
            sure = torch.where(target > 0.5, output, -output).sigmoid()
            each = (1 - sure) ** gamma * each
        return masked_mean(each, kept)

    return loss


def mse(output: Tensor, target: Tensor) -> Tensor:
    """The mean squared error."""
    return masked_mean((output.float() - target.nan_to_num(0.0)) ** 2, ~target.isnan())


def mae(output: Tensor, target: Tensor) -> Tensor:
    """The mean absolute error."""
    return masked_mean((output.float() - target.nan_to_num(0.0)).abs(), ~target.isnan())


def relative_l2(output: Tensor, target: Tensor) -> Tensor:
    """The mean over rows of ||output - target||_2 / ||target||_2; a row of zeros is divided by 1e-8."""
    return relative_l2_rows(output, target).mean()


def relative_l2_rows(output: Tensor, target: Tensor) -> Tensor:
    """(B,): each row's, over the positions whose target is a number."""
    kept, target = ~target.isnan(), target.float().nan_to_num(0.0)
    difference, target = ((output.float() - target) * kept).flatten(1), target.flatten(1)
    # In units of a row's largest number, as squares of small ones would vanish in float32.
    unit = target.abs().amax(1, keepdim=True)
    unit = torch.where(unit > 0, unit, 1e-8)
    return (difference / unit).norm(dim=1) / (target / unit).norm(dim=1).clamp_min(1)


def masked_mean(values: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, values, 0.0).sum() / kept.sum().clamp_min(1)


REGRESSION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"relative_l2": relative_l2, "mse": mse, "mae": mae}


def class_weights(data: Data, wanted: Weights | None) -> Tensor | None:
    """(K,), or None where every class weighs the same.

    Raises:
        TaskError: another number of weights than of classes, or weights that are not positive.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = torch.as_tensor(data.train.class_counts(data.n_outputs)).double()
        return (counts.sum() / (counts.clamp_min(1) * (counts > 0).sum())).float()
    return _weights(wanted, data.n_outputs, "loss.class_weights", "classes")


def pos_weights(data: Data, wanted: Literal["balanced"] | float | tuple[float, ...] | None) -> Tensor | None:
    """(L,) or (1,), or None.

    Raises:
        TaskError: another number of weights than of labels, or weights that are not positive.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        positives, negatives = data.train.label_counts()
        return torch.as_tensor(negatives / positives.clip(1)).float().clamp_min(1e-3)
    if isinstance(wanted, tuple):
        return _weights(wanted, data.n_outputs, "loss.pos_weight", "labels")
    return _weights((wanted,), 1, "loss.pos_weight", "labels")


def _weights(wanted: tuple[float, ...] | str, n: int, option: str, what: str) -> Tensor:
    if isinstance(wanted, str) or len(wanted) != n:
        raise TaskError(f"{option} has {len(wanted)} numbers, the data has {n} {what}; give one for each, or balanced")
    if min(wanted) <= 0:
        raise TaskError(f"{option}: {min(wanted)} is not above 0; weights are positive numbers")
    return torch.tensor(wanted)


def in_units(
    loss: Callable[[Tensor, Tensor], Tensor], units: Normalisation | None, relative: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    """`loss` for outputs in `units`: a relative loss in the targets' own units, any other in the model's."""
    if units is None:
        return loss
    if relative:
        return lambda output, target: loss(units.undo(output.float()), target)
    return lambda output, target: loss(output, units.apply(target))
