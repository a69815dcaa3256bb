"""Data with numbers for each row or position goes in; the task of predicting them comes out."""

from __future__ import annotations

from torch import Tensor

from dashfx.data.base import Data
from dashfx.data.normalisation import Normalisation
from dashfx.errors import TaskError
from dashfx.task.base import Score, Task, pick
from dashfx.task.losses import REGRESSION, USUAL, LossOptions, in_units
from dashfx.task.metrics import MAE8, AbsoluteError, RelativeL2, SquaredError

OPTIONS = ("normalise_targets",)
SCORES = {
    "relative_l2": Score(RelativeL2, False),
    "mse": Score(SquaredError, False),
    "mae": Score(AbsoluteError, False),
    "mae8": Score(MAE8, False),
}


def regress(
    data: Data,
    metric: str = "relative_l2",
    options: LossOptions = USUAL,
    *,
    target: Normalisation | None = None,
) -> Task:
    """Relative L2, mean squared or mean absolute error, as loss and metric; MAE8 is lowered by the squared error.

    Args:
        target: the units that a trained model's outputs are in; by default fitted where the options ask for it.

    Raises:
        TaskError: MAE8 of anything but square maps.
    """
    metric, score = pick(SCORES, metric, "regress")
    usual = metric if metric in REGRESSION else "mse"
    name = options.allow("regress", (usual, *(n for n in REGRESSION if n != usual)), *OPTIONS)
    shape = data.target_shape
    if metric == "mae8" and (len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2]):
        raise TaskError(f"metric mae8 is for maps of distances, (1, L, L) a row; {data.name} has {shape}; try mae")
    if target is None and options.normalise_targets:
        target = Normalisation.fit_targets(data.train)

    def prepare(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        return (output if target is None else target.undo(output.float())), truth

    loss = in_units(REGRESSION[name], target, relative=name == "relative_l2")
    return Task("regress", loss, score.new, metric, score.maximise, "dense", prepare, target)
