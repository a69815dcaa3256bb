"""Tasks by name, as at the command line, for given data; what is wrong is one line."""

from __future__ import annotations

from collections.abc import Callable

from dashfx.data.base import Data, Kind
from dashfx.data.normalisation import Normalisation
from dashfx.errors import TaskError, did_you_mean
from dashfx.task.base import Task
from dashfx.task.classify import classify, dense_classify
from dashfx.task.losses import USUAL, LossOptions
from dashfx.task.multilabel import multilabel
from dashfx.task.regress import regress
from dashfx.usercode import is_code, load_object

TASKS: dict[str, Callable[..., Task]] = {
    "classify": classify,
    "multilabel": multilabel,
    "regress": regress,
    "dense-classify": dense_classify,
}
KIND_OF: dict[str, Kind] = {
    "classify": "classes",
    "multilabel": "multilabel",
    "regress": "dense",
    "dense-classify": "dense-classes",
}


def data_kind(spec: str | Task | None) -> Kind | None:
    """The kind of data that `spec` asks `load_data` for; None where it leaves that to the data.

    Raises:
        TaskError: no such task.
    """
    if spec is None:
        return None
    if isinstance(spec, Task):
        return spec.kind
    name = spec.partition(":")[0]
    if name not in KIND_OF and not is_code(spec):
        raise TaskError(_unknown(spec))
    return KIND_OF.get(name)


def load_task(
    spec: str | Task | None,
    data: Data,
    options: LossOptions = USUAL,
    target: Normalisation | None = None,
) -> Task:
    """`classify`, `classify:f1`, a Task, the user's `file.py:function`, or None for what the data suggests.

    The user's function is called with the data and returns a Task; a Task that stands in the file will do as well.

    Args:
        options: of the loss, for dashfx's own tasks.
        target: the units of a trained regression model's outputs.

    Raises:
        TaskError: no such task, metric, loss or function, one for another kind of data, or a function that returns no
            Task.
    """
    if spec is None:
        spec = next(name for name, kind in KIND_OF.items() if kind == data.kind)
    named = isinstance(spec, str) and spec.partition(":")[0] in TASKS
    if not named and options.said:
        raise TaskError(f"task {spec}: the options of the loss are for dashfx's own tasks; set them in your own file")
    task = spec if isinstance(spec, Task) else _named_task(spec, data, options, target)
    if task.kind not in (None, data.kind):
        raise TaskError(_unfit(task, data))
    return task


def _named_task(spec: str, data: Data, options: LossOptions, target: Normalisation | None) -> Task:
    name, _, metric = spec.partition(":")
    if name in TASKS:
        if KIND_OF[name] != data.kind:  # before its metric is asked what the data cannot tell
            raise TaskError(_unfit(name, data))
        chosen = {"metric": metric} if metric else {}
        units = {"target": target} if name == "regress" else {}
        return TASKS[name](data, options=options, **chosen, **units)
    if not is_code(spec):
        raise TaskError(_unknown(spec))
    made = load_object(spec, TaskError)
    if not isinstance(made, Task) and callable(made):
        made = made(data)
    if not isinstance(made, Task):
        raise TaskError(
            f"{spec} gives a {type(made).__name__}; it must be a Task, or a function of the data that returns one"
        )
    return made


def _unfit(task: Task | str, data: Data) -> str:
    name, kind = (task, KIND_OF[task]) if isinstance(task, str) else (task.name, task.kind)
    suits = next(name for name, kind in KIND_OF.items() if kind == data.kind)
    return f"task {name} needs {kind} data, {data.name} is {data.described}; try --task {suits}"


def _unknown(spec: str) -> str:
    near = did_you_mean(spec.partition(":")[0], TASKS)
    return f"no task {spec!r}{near}; there are {', '.join(TASKS)}, or give file.py:function"
