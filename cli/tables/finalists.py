"""Tables of what a run has trained: the short trainings of its race, and the finalists side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from dashfx.cli.tables import shared as tables

LARGE = 1e6  # as losses are where a training goes astray; from here on four decimals only take room


def trained(facts: Mapping[str, Any]) -> Iterator[Table]:
    """All that was trained and compared; `facts` is what `result.json` holds."""
    if facts.get("race"):
        yield race(facts)
    known = facts.get("finalists") or ()
    yield finalists(facts) if any("judged" in each for each in known) else tables.run_metrics(facts)


def race(facts: Mapping[str, Any]) -> Table:
    """Every short training, those that went on in bold."""
    made = tables.table(
        "race by validation loss", "rung", "proposal", "epochs", "loss", "went on", numbers=("epochs", "loss")
    )
    for each in facts["race"]:
        rung = each["stage"].split("-")[1]
        style = "bold" if each["kept"] else ""
        on = "yes" if each["kept"] else ""
        made.add_row(rung, each["name"], str(each["epochs"]), _figure(each["loss"]), on, style=style)
    return made


def finalists(facts: Mapping[str, Any]) -> Table:
    """A row a finalist, the one that was handed back in bold: its worth, its training and its size.

    `judged` is the mean of the last epochs over all seeds, `trained` all training that led to the model in that of the
    untouched one, `ms` the latency of a row.
    """
    known = facts["finalists"]
    numbers = ("judged", "valid", "test", "trained", "params", "MACs", "ms")
    made = tables.table(tables.judged_by(facts["metric"], facts["maximise"]), "model", *numbers, numbers=numbers)
    for each in known:
        last = each["kept"] and len(known) > 1
        cells = [_spread(each), *(_figure(each[part]) for part in ("valid", "test")), _times(each["cost"])]
        cells += [tables.short(each[part]).replace(" ", "") if each[part] else "" for part in ("parameters", "macs")]
        cells += [f"{1e3 * each['latency']['median']:.3g}" if each["latency"] else ""]
        name = f"{each['name']}, handed back" if last else each["name"]
        made.add_row(name, *cells, style="bold" if last else "")
        if each["kept"]:
            for what, valid, test in _further(facts):
                made.add_row(f"  {what}", "", valid, test, "", "", "", "")
    for what, valid, test in _averaged(facts):
        made.add_row(what, "", valid, test, "", "", "", "")
    return made


def _further(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What else was measured of the model that is handed back: (name, validation, test)."""
    if facts.get("refit") is not None:
        yield "trained on both parts", "", _figure(facts["test"])
    elif facts["onnx_valid"] is not None:
        yield "ONNX Runtime", _figure(facts["onnx_valid"]), ""


def _averaged(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What was measured of the ensemble, where there is one: (name, validation, test)."""
    if (found := facts.get("ensemble")) and (figures := found["figures"]):
        yield f"ensemble of {len(found['members'])}", _figure(figures["valid"]), _figure(figures["test"])
        if found["onnx_valid"] is not None:
            yield "  ONNX Runtime", _figure(found["onnx_valid"]), ""


def _spread(each: Mapping[str, Any]) -> str:
    if each["valid"] is None or math.isnan(each["valid"]):
        return "diverged"
    spread = "" if each["spread"] is None else f"\n±{each['spread']:.4f}"  # below it: there are 80 columns
    return f"{_figure(each['judged'])}{spread}"


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" if abs(value) < LARGE else f"{value:.3g}"


def _times(cost: float | None) -> str:
    """Of the untouched model's training."""
    return "" if cost is None else f"{cost:.2f}x"
