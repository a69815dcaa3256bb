"""Facts of a model or a run go in; rich tables that fit 80 columns come out. Nothing is printed here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from dashfx.cli.tables.drawing import TAP, common_scale, drawings
from dashfx.genotype import Genotype
from dashfx.site import Site, Skip
from dashfx.space import DENSE, READ, Candidate, Padding, axis_text, size_text

if TYPE_CHECKING:
    from dashfx.cli.verbs.check import SiteFacts
    from dashfx.ops import Tuning
    from dashfx.ops.autotune.suite import Layer, Measured
    from dashfx.passes import PassResult
    from dashfx.plugins import Known
    from dashfx.report.profiles import Standings
    from dashfx.stages.costs.estimate import Estimate
    from dashfx.stages.costs.pick import Point
    from dashfx.tune import Tuned

# What a run's folder may hold, in the order in which a reader wants it.
FILES = {
    "report.html": "the run as a page",
    "model.onnx": "the model for ONNX Runtime, checked against PyTorch",
    "model.int8.onnx": "the same in int8, with its metric checked on validation",
    "model.fp16.onnx": "the same in half precision for GPUs, checked against it",
    "model.complete.onnx": "the same, which takes raw rows or says what its answers mean, as was asked",
    "ensemble.onnx": "the average of the best trained models, checked alike",
    "predict.py": "predicts raw arrays, images and sounds, with numpy and onnxruntime alone",
    "load_model.py": "rebuilds the PyTorch model without dashfx",
    "model.safetensors": "its weights",
    "load_ensemble.py": "rebuilds that average in PyTorch without dashfx",
    "ensemble": "the weights of its members",
    "genotype.json": "the choices",
    "tuned.json": "the options of retraining that tuning found best, and every trial",
    "retrain.yaml": "the options that the model was trained with, tuned or cut to a budget",
    "budget.json": "what was decided for the budget, and from what",
    "genotype-searched.json": "what the search chose, where the untouched model was kept",
    "data.json": "the data's shapes, labels and normalisation, for whoever feeds the model",
    "latency.json": "the time of each conv with each candidate in ONNX Runtime, for budgets",
    "config.yaml": "every option of the run",
    "evaluations.jsonl": "every genotype that was evaluated, with its value and parent",
    "autotune.json": "the algorithm of each mixture and large kernel, with what was measured",
    "study.journal": "the study, as Optuna keeps it",
    "log.jsonl": "every stage and epoch",
    "tensorboard": "scalars of every epoch for TensorBoard",
}


def table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table; text columns fold where they do not fit, columns of `numbers` stand right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.min_width = min(len(title) + 2, 78)  # a title folds at the width of its table
    for column in columns:
        right = column in numbers
        made.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def sites(facts: Sequence[SiteFacts]) -> Table:
    """Every conv that can be searched: what it is now, and how many candidates pruning left."""
    numbers = ("stride", "pad", "input", "left", "params", "MACs", "sees")
    made = table("convs to search", "conv", "now", *numbers, numbers=numbers)
    for each in facts:
        site = each.site
        made.add_row(
            site.name,
            str(site.original),
            axis_text(site.stride),
            padding(site.padding),
            size_text(site.input_size),
            f"{len(each.candidates)} of {each.offered}",
            short(each.parameters),
            short(each.macs),
            field(each.receptive_field),
        )
    return made


def candidates(facts: Sequence[SiteFacts]) -> Table:
    """The candidates that are left; sites with the same ones share a row."""
    made = table("candidates left", "convs", "kernel and dilation")
    groups: dict[tuple[Candidate, ...], list[str]] = {}
    for each in facts:
        groups.setdefault(each.candidates, []).append(each.site.name)
    for choices, names in groups.items():
        made.add_row(", ".join(names), compact(choices))
    return made


def tuning(found: Tuning) -> Table:
    """What each algorithm takes at each conv, the chosen one in bold; convs that pose the same problem share rows."""
    numbers = ("ms", "memory")
    made = table("forward + backward of the mixtures", "convs", "input", "algorithm", *numbers, numbers=numbers)
    for place in found.places:
        entry, problem = found.entry(place), place.problem
        names = sorted(entry.seconds, key=entry.seconds.__getitem__) or [entry.choice]
        for row, name in enumerate(names):
            made.add_row(
                ", ".join(place.sites) if row == 0 else "",
                size_text(problem.shape) if row == 0 else "",
                Text(name, "bold" if name == entry.choice else ""),
                f"{1e3 * entry.seconds[name]:.1f}" if name in entry.seconds else "estimated",
                f"{short(found.peak_bytes(place, name))}B",
                end_section=row == len(names) - 1,
            )
    return made


def latency(rows: Mapping[Site, Mapping[Candidate, float]]) -> Table:
    """What each conv takes with each candidate, its own first; convs with the same times share rows."""
    made = table("latency of the convs", "convs", "candidate", "ms", "times own", numbers=("ms", "times own"))
    groups: dict[tuple[tuple[Candidate, float], ...], list[str]] = {}
    for site, row in rows.items():
        groups.setdefault(tuple(row.items()), []).append(site.name)
    for times, names in groups.items():
        for place, (candidate, seconds) in enumerate(times):
            own = f"{seconds / times[0][1]:.2f}" if times[0][1] else ""
            first = ", ".join(names) if place == 0 else ""
            made.add_row(first, str(candidate), f"{1e3 * seconds:.4g}", own, end_section=place == len(times) - 1)
    return made


def front(points: Sequence[Point]) -> Table:
    """Choices from the cheapest on, each with what it costs and how much the rule prefers it."""
    made = table("choices, the cheapest first", "cost", "score", "kernel and dilation", numbers=("cost", "score"))
    for each in points:
        made.add_row(each.cost, f"{each.score:.4g}", each.genotype.listed)
    return made


def layer(of: Layer, measured: Sequence[Measured]) -> Table:
    """One layer of the suite by each algorithm; times are relative to the first row's, the plain conv."""
    numbers = ("ms", "spread", "times", "peak memory")
    made = table(of.name, "computed by", *numbers, numbers=numbers)
    for each in measured:
        time = each.time
        relative = f"{time.median / measured[0].time.median:.1f}"
        made.add_row(each.way, f"{1e3 * time.median:.1f}", f"{time.spread:.0%}", relative, f"{short(each.peak_bytes)}B")
    return made


def suite(results: Sequence[Sequence[Measured]]) -> Table:
    """Each algorithm over all layers, relative to the plain conv, which comes first in every list."""
    made = table("over all layers", "computed by", "times, geometric mean", numbers=("times, geometric mean",))
    for row in range(1, len(results[0])):
        logs = [math.log(measured[row].time.median / measured[0].time.median) for measured in results]
        made.add_row(results[0][row].way, f"{math.exp(sum(logs) / len(logs)):.2f}")
    return made


def skips(found: Iterable[Skip]) -> Table:
    """Every conv that stays as it is."""
    made = table("convs that stay as they are", "conv", "reason")
    for skip in found:
        made.add_row(skip.name, skip.reason)
    return made


def edits(result: PassResult) -> Table:
    """What a pass changed and what it left alone."""
    made = table(f"pass {result.name}: {counts(result)}", "conv", "what")
    for edit in result.edits:
        made.add_row(edit.site, edit.what)
    for skip in result.skips:
        made.add_row(skip.name, f"left alone: {skip.reason}")
    return made


def opaque(found: Mapping[str, str]) -> Table:
    """Modules that torch.fx could not go through."""
    made = table("modules whose inside was not traced (their convs are found by hooks)", "module", "why")
    for name, why in found.items():
        made.add_row(name or "(the whole model)", why)
    return made


def genotype(chosen: Genotype, known: Mapping[str, Site]) -> Table:
    """One candidate per site, beside what stood there where that is known."""
    before, bits = ("was",) if known else (), ("in",) if chosen.bits else ()
    title = f"chosen by {chosen.rule or 'hand'}"
    made = table(title, "conv", *before, "chosen", *bits, "span", "taps", numbers=("span", "taps"))
    for name, choice in chosen.items():
        site = known.get(name)
        was = (str(site.original) if site else "?",) if known else ()
        style = "bold" if site and site.original != choice else ""
        precision = ("int8" if name in chosen.bits else "float32",) if bits else ()
        taps = str(choice.taps) if READ.get(choice.family, "all") else ""
        made.add_row(name, *was, Text(str(choice), style), *precision, size_text(choice.span), taps)
    return made


def not_kept(found: Mapping[str, Any]) -> Iterator[str]:
    """A line under the search's choices where the model that is handed back does not have them."""
    finalists = found.get("finalists") or ()
    kept: Mapping[str, Any] = next((each for each in finalists if each.get("kept")), {"origin": found.get("kept")})
    own = {each["origin"]: each.get("genotype") for each in finalists}
    origin, name = kept["origin"], kept.get("name", kept["origin"])
    if origin == "distilled" and own["distilled"] == own.get("untouched") != own.get("searched"):
        name = "distilled untouched"
    elif origin not in ("untouched", "longer", "wider"):
        return
    yield f"The {name} model is handed back: on validation this choice did not beat it."


def drawing(chosen: Genotype, width: int) -> Table:
    """The support of every chosen kernel, to one common scale."""
    scale = common_scale(chosen, width)
    unit = "" if scale == 1 else f", a character is {scale} positions"
    made = table(f"kernels to scale ({TAP} is a tap{unit})", "conv", "axis", "support")
    for name, axis, text in drawings(chosen, width):
        made.add_row(name, axis, text)
    return made


def run_metrics(facts: Mapping[str, Any]) -> Table:
    """Each trained model of a run, the one that was handed back in bold; `facts` is what `result.json` holds."""
    models = facts.get("models") or {"the model": {part: facts[part] for part in ("valid", "test")}}
    kept = facts.get("kept") or next(iter(models))
    numbers = ("validation", "test")
    made = table(judged_by(facts["metric"], facts["maximise"]), "model", *numbers, numbers=numbers)
    for name, figures in models.items():
        last = name == kept and len(models) > 1
        values = [f"{figures[part]:.4f}" for part in ("valid", "test")]
        made.add_row(f"{name}, handed back" if last else name, *values, style="bold" if last else "")
        if name == kept and facts["onnx_valid"] is not None:
            made.add_row("  through ONNX Runtime", f"{facts['onnx_valid']:.4f}", "")
        if name == next(iter(models)) and (finals := facts.get("finals")):
            other = "tuned" if finals["kept"] == "plain" else "plain"
            made.add_row(f"  retrained by the {other} recipe", f"{finals[other]:.4f}", "")
    if (ensemble := facts.get("ensemble")) and (figures := ensemble["figures"]):
        values = [f"{figures[part]:.4f}" for part in ("valid", "test")]
        made.add_row(f"ensemble of {len(ensemble['members'])}", *values)
        if ensemble["onnx_valid"] is not None:
            made.add_row("  through ONNX Runtime", f"{ensemble['onnx_valid']:.4f}", "")
    return made


def metrics(name: str, maximise: bool, rows: Iterable[tuple[str, float | None]]) -> Table:
    """A metric on parts of the data; rows without a value are left out."""
    made = table(judged_by(name, maximise), "part", name, numbers=(name,))
    for part, value in rows:
        if value is not None:
            made.add_row(part, f"{value:.4f}")
    return made


def judged_by(metric: str, maximise: bool) -> str:
    """A metric and its direction."""
    return f"{metric} ({'higher' if maximise else 'lower'} is better)"


def standings(found: Standings) -> Table:
    """Each method on each task: the mean of its metric on the test part, and its rank there."""
    made = table(
        "test metric, and rank by error",
        "task",
        "method",
        "mean",
        "sd",
        "n",
        "rank",
        numbers=("mean", "sd", "n", "rank"),
    )
    for task, metric in found.tasks.items():
        for i, (method, rank) in enumerate(zip(found.methods, found.ranks(task), strict=True)):
            cell = found.cells.get((task, method))
            figures = ("", "", "0") if cell is None else (f"{cell.mean:.4f}", _deviation(cell.deviation), str(cell.n))
            made.add_row(f"{task}, {metric.split(' (')[0]}" if i == 0 else "", method, *figures, f"{rank:g}")
    return made


def _deviation(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def trials(found: Tuned) -> Table:
    """Every trial of a study, the best one in bold."""
    numbers = (*found.values, "value", "epochs", "s")
    made = table("trials, by the metric on the validation part", "trial", *numbers, "state", numbers=numbers)
    for trial in found.trials:
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in trial.values.values()]
        value = "" if trial.metric is None else f"{trial.metric:.4f}"
        style = "bold" if trial.number == found.number else ""
        rest = (value, str(trial.epochs), f"{trial.seconds:.1f}", "done" if trial.state == "complete" else trial.state)
        made.add_row(str(trial.number + 1), *cells, *rest, style=style)
    return made


def files(folder: Path) -> Table:
    """The files of a run's folder that are there, each with what it is for."""
    made = table(f"files in {folder}", "file", "what it is")
    for name, what in FILES.items():
        if (folder / name).exists():
            made.add_row(name, what)
    return made


def estimate(found: Estimate) -> Table:
    """What a run would take: size, memory, a step, each stage and all together."""
    made = table("a run with these options, measured on a few steps", "what", "estimate", numbers=("estimate",))
    made.add_row("parameters of the model", short(found.parameters))
    if found.search_step is not None:
        made.add_row("parameters of the supernet", short(found.supernet_parameters))
        made.add_row("a step of the supernet", _seconds(found.search_step))
    made.add_row("a step of the model", _seconds(found.plain_step))
    if found.memory:
        made.add_row("memory while measuring", f"{found.memory / 1e6:,.0f} MB")
    for stage, seconds in found.seconds.items():
        made.add_row(stage, _at_most(seconds) if stage in found.open else _seconds(seconds))
    made.add_row("the whole run", (_at_most if found.open else _seconds)(found.total), style="bold")
    return made


def _at_most(seconds: float) -> str:
    return f"at most {_seconds(seconds)}"


def _seconds(seconds: float) -> str:
    """A wall time in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1e3 * seconds:.3g} ms"


def compact(choices: Iterable[Candidate]) -> str:
    """Candidates by kernel, with the dilations of each.

    >>> compact([Candidate(3, 1), Candidate(3, 3), Candidate(5, 1)])
    'k3 d1,3; k5 d1'
    >>> compact([Candidate(3, 1), Candidate(3, 1, "skip"), Candidate(3, 2, "separable"), Candidate(5, 1, "separable")])
    'k3 d1; separable k3 d2; separable k5 d1; skip'
    """
    order = sorted(choices, key=lambda c: (c.family != DENSE, c.family, c.kernel, c.dilation))
    groups = groupby((str(choice).partition(" d") for choice in order), key=lambda parts: parts[0])
    rows = {kernel: [dilation for _, _, dilation in group if dilation] for kernel, group in groups}
    return "; ".join(f"{kernel} d{','.join(dilations)}" if dilations else kernel for kernel, dilations in rows.items())


def counts(result: PassResult) -> str:
    edited, skipped = len(result.edits), len(result.skips)
    return counted(edited, "edit") + (f", {counted(skipped, 'skip')}" if skipped else "")


def counted(number: int, what: str) -> str:
    """
    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def short(number: int) -> str:
    """A count in three digits.

    >>> short(987), short(12345), short(4_200_000)
    ('987', '12.3 k', '4.20 M')
    """
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            value = number / factor
            return f"{value:.{2 - min(2, int(math.log10(value)))}f} {unit}"
    return str(number)


def padding(sides: Padding) -> str:
    """Per axis; "2+0" where left and right differ."""
    axes = [str(left) if left == right else f"{left}+{right}" for left, right in sides]
    return axes[0] if len(set(axes)) == 1 else "x".join(axes)


def field(axes: tuple[float, ...] | None) -> str:
    """A receptive field; "all" where it covers whatever input there is."""
    return "unknown" if axes is None else "x".join("all" if math.isinf(axis) else f"{axis:g}" for axis in axes)


def methods(kind: str, known: Iterable[Known]) -> Table:
    """Plug-ins of a kind: name, what it does and where it was published, row of the survey."""
    table = Table(title=kind, box=box.SIMPLE, title_justify="left")
    for column in ("name", "what it does", "row"):
        table.add_column(column)
    for each in known:
        table.add_row(each.name, Text("\n".join(filter(None, (each.line, each.paper)))), each.row)
    return table
