"""Preflight checks of a model's output: one tensor, alike in training, with a gradient, scores rather than shares.

They run the model on rows of the data before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dashfx.data import Data
from dashfx.errors import ModelError, first_line
from dashfx.frontend.recording import missing_arguments, shape_text
from dashfx.frontend.tracing import copy_model, evaluation, random_state_kept
from dashfx.task import Task

# What the loss applies itself, by task: to apply it before flattens the gradient.
APPLIED_BY_LOSS = {
    "classify": ("softmax", "sigmoid"),
    "dense-classify": ("softmax", "sigmoid"),
    "multilabel": ("sigmoid", "softmax"),
}


def check_fit(model: nn.Module, x: Tensor, data: Data, task: Task) -> list[str]:
    """Hold a model to its data and task, as a run does before it begins; what a user should know comes back.

    Args:
        x: two rows of the data, or one where a training step has one.

    Raises:
        ModelError: its forward fails on them, gives other than one tensor, or cannot be trained.
        TaskError: its output does not fit the targets.
    """
    try:
        with evaluation(model):
            output = model(x)
    except Exception as error:  # user code may raise anything
        if missing := missing_arguments(model, 1):
            raise ModelError(
                f"{type(model).__name__}.forward needs {missing} beside x, and data are one x and its y: give a module "
                "that takes x alone; models of several inputs are searched from Python, see dashfx.rewrite"
            ) from error
        raise ModelError(
            f"the model does not take the data: its forward fails on a batch of {shape_text(x)}: {first_line(error)}; "
            "check --model-args, or give data of the shape that the model expects"
        ) from error
    require_tensor(model, output)
    task.check(output, data)
    check_training(model, x)
    warning = probability_warning(model, x, task.name)
    return [warning] if warning else []


def require_tensor(model: nn.Module, output: Any) -> None:
    """Hold a model to giving one tensor.

    Raises:
        ModelError: it gives something else, with what to return where that can be told.
    """
    if isinstance(output, Tensor):
        return
    name, given = type(model).__name__, type(output).__name__
    fields = [str(key) for key, value in output.items() if isinstance(value, Tensor)] if _is_mapping(output) else []
    if getattr(output, "logits", None) is not None or "logits" in fields:
        take = ".logits" if hasattr(output, "logits") else "['logits']"
        remedy = f"wrap it in a module whose forward returns model(x){take}"
    elif fields:
        remedy = f"wrap it in a module whose forward returns one of {', '.join(fields[:6])}"
    else:
        remedy = "return one tensor, or wrap it in a module that does"
    raise ModelError(f"{name} gives a {given}, and a run needs one tensor: {remedy}")


def _is_mapping(output: Any) -> bool:
    return isinstance(output, Mapping)


def check_training(model: nn.Module, x: Tensor) -> None:
    """Hold a model to giving in training mode what it gives in eval mode, with a gradient.

    Args:
        x: as many rows as a training step has; two are enough where that is two or more.

    Raises:
        ModelError: its forward fails in training mode, gives another kind or shape there, or gives no gradient.
    """
    name, model = type(model).__name__, copy_model(model)
    with evaluation(model):
        expected = model(x)
    try:
        with random_state_kept(model), torch.enable_grad():
            output = model.train()(x)
    except Exception as error:  # the user's code
        rows = " with batches of one row: set a larger batch_size" if len(x) == 1 else ""
        raise ModelError(f"{name}'s forward fails in training mode{rows}: {first_line(error)}") from error
    if _form(output) != _form(expected):
        raise ModelError(
            f"{name} gives {_form(output)} in training mode and {_form(expected)} in eval mode, and the loss takes the "
            "same in both: return the main output alone, or switch further heads off by --model-args"
        )
    trained = any(p.requires_grad for p in model.parameters())
    if trained and isinstance(output, Tensor) and not output.requires_grad:
        raise ModelError(
            f"{name}'s output has no gradient, so it cannot be trained: take torch.no_grad, inference_mode, detach or "
            "numpy out of its forward"
        )


def _form(output: Any) -> str:
    return (
        f"{type(output).__name__} of {shape_text(output)}"
        if isinstance(output, Tensor | list | tuple | dict)
        else (type(output).__name__)
    )


def probability_warning(model: nn.Module, x: Tensor, task: str) -> str | None:
    """What to say of a model that ends in what its task's loss applies itself; None where it does not.

    A log_softmax before cross-entropy changes nothing, since it is its own fixed point.

    Args:
        task: the task's name, such as "classify".
    """
    wrong = APPLIED_BY_LOSS.get(task, ())
    with evaluation(model), _LastCalls() as last:
        output = model(x)
    if not wrong or not isinstance(output, Tensor):
        return None
    found = last.name_of(output)
    sums_to_one = (
        output.ndim > 1
        and output.shape[1] > 1
        and bool(
            (output >= 0).all() and torch.allclose(output.float().sum(1), torch.ones(()).to(output.device), atol=1e-4)
        )
    )
    if found not in wrong and not sums_to_one:
        return None
    what = f"ends in {found}" if found in wrong else "gives rows that sum to one, as after softmax"
    return (
        f"{type(model).__name__} {what}, and the loss of task {task} applies its own: it learns slower and less; "
        "return the scores before it"
    )


class _LastCalls(TorchFunctionMode):
    """Remembers which of the functions in question gave each tensor."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[tuple[Tensor, str]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(result, Tensor) and name in ("softmax", "sigmoid"):
            self._given.append((result, name))
        return result

    def name_of(self, output: Tensor) -> str:
        return next((name for tensor, name in reversed(self._given) if tensor is output), "")
