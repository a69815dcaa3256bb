"""Tasks: a loss, a metric over a whole set and a check of outputs, from a task's name and the data."""

from dashfx.task.base import Score, Task, evaluate
from dashfx.task.by_class import ClassScores, scores_by_class
from dashfx.task.classify import classify, dense_classify
from dashfx.task.load import KIND_OF, TASKS, data_kind, load_task
from dashfx.task.losses import LossOptions, relative_l2
from dashfx.task.metrics import RelativeL2
from dashfx.task.multilabel import multilabel
from dashfx.task.names import check_names
from dashfx.task.outputs import OutputError, in_data_units, output_errors
from dashfx.task.regress import regress

__all__ = [
    "KIND_OF",
    "TASKS",
    "ClassScores",
    "LossOptions",
    "OutputError",
    "RelativeL2",
    "Score",
    "Task",
    "check_names",
    "classify",
    "data_kind",
    "dense_classify",
    "evaluate",
    "in_data_units",
    "load_task",
    "multilabel",
    "output_errors",
    "regress",
    "relative_l2",
    "scores_by_class",
]
