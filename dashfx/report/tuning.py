"""Tuning, a section of the report: the best options and the table of trials."""

from __future__ import annotations

from typing import Any

from dashfx.drawing.html import Html, section, table, tag
from dashfx.task import Task
from dashfx.tune import Trial, Tuned


def tuning(found: Tuned | None, task: Task) -> Html:
    """The section; empty where nothing was tuned."""
    if found is None:
        return Html("")
    states = [trial.state for trial in found.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    best = f"the options of trial {found.number + 1}: {found}"
    text = f"{len(states)} trials ({counts}), judged on the validation part; "
    if found.finals:
        text += (
            f"the best had {best}. Retrained in full by these and by the options as they were, on {found.finals_text}"
        )
        text += ", also for the control."
    else:
        text += f"retraining, and the control beside it, took {best}."
    ranked = sorted(found.trials, key=lambda trial: rank(trial, task.maximise))
    rows = [(trial.number + 1, *map(shown, trial.values.values()), *outcome(trial)) for trial in ranked]
    columns = ("trial", *found.values, task.metric_name, "state", "epochs", "seconds")
    return section("Tuning", tag("p", text, class_="soft"), table(rows, columns))


def rank(trial: Trial, maximise: bool) -> tuple[bool, float]:
    """Trials that came to their end first, the best ones before the others."""
    metric = 0.0 if trial.metric is None else trial.metric
    return trial.state != "complete", -metric if maximise else metric


def outcome(trial: Trial) -> tuple[str, str, int, str]:
    """Metric, state, epochs and seconds as text."""
    return "" if trial.metric is None else f"{trial.metric:.4g}", trial.state, trial.epochs, f"{trial.seconds:.1f}"


def shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
