"""Errors of a regression model output by output, in the data's units; and the model that answers in these units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dashfx.data.base import Data
from dashfx.data.normalisation import Normalisation
from dashfx.task.base import Task
from dashfx.task.metrics import R2


@dataclass(frozen=True)
class OutputError:
    """How well one number is told.

    Attributes:
        r2: 1 - squared error / variance of the truth; NaN where the truth does not vary.
        mae, rmse: mean absolute and root mean squared error, in the data's units.
    """

    name: str
    r2: float
    mae: float
    rmse: float


def output_errors(
    predict: Callable[[Tensor], Tensor], loader: Iterable[tuple[Tensor, Tensor]], task: Task, data: Data
) -> tuple[OutputError, ...]:
    """Those of each output channel over everything that `loader` gives; none where the task is no regression."""
    if task.kind != "dense":
        return ()
    r2, total, count = R2(), torch.zeros(data.n_outputs, dtype=torch.float64), torch.zeros(data.n_outputs)
    with torch.no_grad():
        for x, y in loader:
            output, truth = task.prepare(predict(x), y)
            output, truth = output.cpu(), truth.cpu()
            r2.update(output, truth)
            known = ~truth.isnan()
            off = torch.where(known, (output.double() - truth.double().nan_to_num(0.0)).abs(), 0.0)
            total += off.transpose(0, 1).flatten(1).sum(1)
            count += known.transpose(0, 1).flatten(1).sum(1)
    means, shares = total / count, r2.each()
    rms = (r2.squares / r2.counts).sqrt()
    names = data.labels or tuple(f"y{number}" for number in range(data.n_outputs))
    rows = zip(names, shares.tolist(), means.tolist(), rms.tolist(), strict=True)
    return tuple(OutputError(*row) for row in rows)


class InDataUnits(nn.Module):
    """A model whose outputs are in normalised units, and then in those of the data: output * std + mean."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, units: Normalisation) -> None:
        super().__init__()
        self.model = model
        for name, values in (("mean", units.mean), ("std", units.std)):
            self.register_buffer(name, torch.tensor(values))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        mean, std = (each.view(-1, *[1] * (output.ndim - 2)) for each in (self.mean, self.std))
        return output * std + mean


def in_data_units(model: nn.Module, units: Normalisation | None) -> nn.Module:
    """The model as it is exported: the units that its task normalised targets to are undone in the graph."""
    return model if units is None else InDataUnits(model, units).eval()
