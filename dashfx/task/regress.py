"""Regression of numbers for each row or position."""

from __future__ import annotations

from torch import Tensor

from dashfx.data.base import Data
from dashfx.data.normalisation import Normalisation
from dashfx.errors import TaskError
from dashfx.task.base import Score, Task, pick
from dashfx.task.losses import REGRESSION, USUAL, LossOptions, in_units
from dashfx.task.metrics import MAE8, R2, AbsoluteError, RelativeL2, SquaredError

OPTIONS = ("normalise_targets",)
SCORES = {
    "relative_l2": Score(RelativeL2, False),
    "mse": Score(SquaredError, False),
    "mae": Score(AbsoluteError, False),
    "mae8": Score(MAE8, False),
    "r2": Score(R2, True),
}


def regress(
    data: Data,
    metric: str | None = None,
    options: LossOptions = USUAL,
    *,
    target: Normalisation | None = None,
) -> Task:
    """Relative L2, mean squared or mean absolute error, as loss and metric; MAE8 and R2 by the squared error.

    Where `options` leave the units to the task, targets are normalised, each output by itself, and of tabular targets
    (a row of numbers, maybe in different units) the usual metric is R2, in which each counts alike. Otherwise it is
    relative L2, in which a row's largest number counts most.

    Args:
        target: the units that a trained model's outputs are in; by default fitted as the options say.

    Raises:
        TaskError: MAE8 of anything but square maps.
    """
    shape, left = data.target_shape, options.normalise_targets is None
    metric, score = pick(SCORES, metric or ("r2" if left and len(shape) == 1 else "relative_l2"), "regress")
    usual = metric if metric in REGRESSION else "mse"
    name = options.allow("regress", (usual, *(n for n in REGRESSION if n != usual)), *OPTIONS)
    if metric == "mae8" and (len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2]):
        raise TaskError(f"metric mae8 is for maps of distances, (1, L, L) a row; {data.name} has {shape}; try mae")
    if target is None and options.normalise_targets is not False:
        target = Normalisation.fit_targets(data.train)

    def task(units: Normalisation | None, exported: Task | None = None) -> Task:
        def prepare(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
            return (output if units is None else units.undo(output.float())), truth

        loss = in_units(REGRESSION[name], units, relative=name == "relative_l2")
        return Task("regress", loss, score.new, metric, score.maximise, "dense", prepare, units, exported, "mean")

    return task(target, exported=task(None)) if target else task(None)
