"""Widths of a model's class: arguments that make it wider, and the value that makes it as large as another model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError, DashfxError, ModelError, did_you_mean
from dashfx.frontend.model import ModelSource, build
from dashfx.frontend.recording import forward
from dashfx.frontend.tracing import Program, evaluation
from dashfx.run.run import Run
from dashfx.stages.rewrite import retrained_sites

AUTO = "auto"
NAME = re.compile(r"(^|_)(width|widths|widen|channels|base|planes|nf|filters|hidden|features|dim)(_|$)")
NOT = re.compile(r"(^|_)(in|input|out|output|num_classes|classes|kernel|depth)(_|$)")
LARGEST = 2**14  # of a width that is looked for


def widths(source: ModelSource, example: Tensor, seed: int = 0) -> dict[str, int | float]:
    """The arguments of a model's class that look like widths by name, each with the value that it has now.

    A width is a number whose double builds a model of more parameters that still takes the example.
    """
    now = parameters_of(build(source, seed))
    numbers = {n: v for n, v in arguments_of(source).items() if type(v) in (int, float) and v > 0}
    named = {n: v for n, v in numbers.items() if NAME.search(n) and not NOT.search(n)}
    return {name: value for name, value in named.items() if _grows(source, name, 2 * value, example, now, seed)}


def arguments_of(source: ModelSource) -> dict[str, Any]:
    """Argument -> the value that it has: the one given, or its default."""
    if source.made is None:
        return {}
    try:
        parameters = inspect.signature(source.made).parameters.values()
    except (TypeError, ValueError):  # builtins and C functions tell nothing
        return dict(source.args)
    return {p.name: p.default for p in parameters if p.default is not p.empty} | dict(source.args)


def _grows(source: ModelSource, name: str, value: float, example: Tensor, now: int, seed: int) -> bool:
    try:
        model = build(source.with_arguments({name: value}), seed)
        with evaluation(model):
            forward(model, example)
    except DashfxError:
        return False
    return parameters_of(model) > now


def check_wider(run: Run, program: Program) -> None:
    """Whether the arguments of `finalists.wider` make a larger model with the same sites.

    Raises:
        ConfigError: they do not, or there is no untouched model to be compared with, or no number to be looked for.
        ModelError: the class takes no such argument, or its model has other sites.
    """
    wanted = run.config.finalists.wider
    if not wanted:
        return
    if not run.config.control:
        raise ConfigError("finalists.wider needs the untouched model: leave --no-control out")
    source = run.inputs.for_retraining().source
    known = arguments_of(source)
    for name, value in wanted.items():
        if value == AUTO and type(known.get(name)) is not int:
            there = ", ".join(n for n, v in known.items() if type(v) is int) or "none"
            raise ConfigError(
                f"--wider {name}: no whole number to enlarge{did_you_mean(name, known)}; the class has {there}; "
                f"write --wider {name}=VALUE"
            )
    if sum(value == AUTO for value in wanted.values()) > 1:
        raise ConfigError(
            f"finalists.wider {dict(wanted)}: one value can be looked for, so write the others as numbers"
        )
    larger = {name: 2 * known[name] if value == AUTO else value for name, value in wanted.items()}
    wide, said = with_arguments(run, larger), " ".join(f"{name}={value}" for name, value in larger.items())
    try:
        retrained_sites(wide, program)
    except ModelError as error:
        raise ModelError(f"--wider {said}: {error}") from error
    before, after = (
        parameters_of(build(each, run.config.seed)) for each in (source, wide.inputs.for_retraining().source)
    )
    if after <= before:
        raise ConfigError(
            f"--wider {said}: that model has {after:,} parameters and the untouched one {before:,}; give larger values"
        )


def with_arguments(run: Run, arguments: Mapping[str, Any]) -> Run:
    """The run whose retraining has these arguments too."""
    options = run.config.retrain
    retrain = options.model_copy(update={"model_args": {**options.model_args, **arguments}, "weights": "fresh"})
    return replace(run, inputs=run.inputs.with_config(run.config.model_copy(update={"retrain": retrain})))


def wider_arguments(run: Run, searched: nn.Module | None) -> dict[str, Any]:
    """The arguments of the wider untouched model; empty where none is asked for, or none would be larger.

    The value "auto" becomes the one whose model is nearest to the searched one by parameters.
    """
    wanted = dict(run.config.finalists.wider)
    name = next((name for name, value in wanted.items() if value == AUTO), None)
    if name is None or searched is None:
        return {n: v for n, v in wanted.items() if v != AUTO}
    source = run.inputs.for_retraining().source.with_arguments({n: v for n, v in wanted.items() if v != AUTO})
    now, target = int(arguments_of(source)[name]), parameters_of(searched)

    def size(value: int) -> int:
        return parameters_of(build(source.with_arguments({name: value}), run.config.seed))

    value = nearest(size, now, target)
    if value == now:
        run.note(f"no {name} above {now} comes nearer to the searched model's {target:,} parameters: no wider model")
        return {}
    run.note(f"untouched, wider: {name}={value} has {size(value):,} parameters, the searched model {target:,}")
    return {**wanted, name: value}


def nearest(size: Callable[[int], int], now: int, target: int) -> int:
    """The value from `now` on whose size is nearest to `target`, for a size that grows with it.

    >>> nearest(lambda n: n * n, 4, 90), nearest(lambda n: n * n, 4, 10)
    (9, 4)
    """
    high = now
    while size(high) < target and high < LARGEST:
        high *= 2
    low = now
    while low < high:  # the smallest value that reaches the target
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) >= target else (middle + 1, high)
    below = max(now, low - 1)
    return below if target - size(below) < size(low) - target else low
