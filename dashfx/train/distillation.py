"""Distillation (Hinton, Vinyals and Dean, 2015): a model is trained on another one's answers beside the labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn

from dashfx.config.run import RetrainConfig
from dashfx.task import Task
from dashfx.task.losses import masked_mean
from dashfx.train.fit import Batch, Supervised


class Distilled(Supervised):
    """Ordinary training on (1 - share) * the usual loss + share * `disagreement` with a teacher.

    The teacher sees what the model sees, augmentation included, in eval mode. It is no part of the learner's state: a
    checkpoint holds the student alone.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        config: RetrainConfig,
        accelerator: Accelerator,
        *,
        teacher: nn.Module,
        share: float,
        temperature: float,
    ) -> None:
        super().__init__(model, task, config, accelerator)
        self._teacher = teacher.to(accelerator.device).eval()
        self._share, self._temperature = share, temperature

    def loss(self, batch: Batch) -> Tensor:
        x, y = batch
        with self.accelerator.autocast():
            output = self.call(x)
            with torch.no_grad():
                taught = convert_to_fp32(self._teacher(x))
            usual = self.task.loss(output, y)
        return (1 - self._share) * usual + self._share * disagreement(output, taught, y, self.task, self._temperature)


def disagreement(output: Tensor, taught: Tensor, y: Tensor, task: Task, temperature: float) -> Tensor:
    """How far a model's scores are from its teacher's; 0 where they are equal. What the labels ignore counts nowhere.

    Classes and labels: T^2 KL(teacher || model), both at the temperature T, so that its gradients stay as large as
    those of the usual loss (Hinton et al., section 2). Numbers: the task's own loss, with the teacher's in place of y.

    Args:
        output, taught: as the models give them.
        y: the targets, which tell what is ignored.
    """
    if task.average == "mean":
        values = task.target.undo(taught) if task.target else taught
        return task.loss(output, values.where(~y.isnan(), torch.nan) if y.is_floating_point() else values)
    output, taught = output.float() / temperature, taught.float() / temperature
    if task.average == "softmax":
        told = taught.log_softmax(1)
        each = (told.exp() * (told - output.log_softmax(1))).sum(1)  # (N, ...)
        kept = torch.ones_like(each, dtype=torch.bool) if y.is_floating_point() else y >= 0
    else:
        p = taught.sigmoid()
        each = p * (F.logsigmoid(taught) - F.logsigmoid(output)) + (1 - p) * (
            F.logsigmoid(-taught) - F.logsigmoid(-output)
        )
        kept = ~y.isnan()
    return temperature**2 * masked_mean(each, kept)
