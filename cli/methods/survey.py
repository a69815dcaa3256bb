"""Rows of the survey: which part each is, and the options that run it by name on any model and data."""

from __future__ import annotations

from importlib import import_module

# Number -> what follows `dashfx`; MODEL and DATA are the user's.
SEARCH, STUDY = "search MODEL --data DATA", "study MODEL --data DATA --methods dash,random --seeds 3 --out STUDY"
COMMANDS = {
    "1": f"{SEARCH} --method d-darts",
    "2": f"{SEARCH} --method r-darts",
    "3": f"{SEARCH} --method rarts",
    "4": f"{SEARCH} --method sp-darts",
    "5": f"{SEARCH} --families dense,partial",
    "6": f"{SEARCH} --method darts",
    "8": f"{SEARCH} --method sharpdarts",
    "9": f"{SEARCH} --method darts-pt",
    "10": f"{SEARCH} --method sd-darts",
    "12": f"{SEARCH} --set 'search.terms=[learned-cost]'",
    "13": f"{SEARCH} --widths --max macs=0.5x --set search.widths=sigmoid",
    "16": f"{SEARCH} --method optiproxy",
    "17": f"{SEARCH} --method rc-darts --max params=0.7x",
    "18": f"{SEARCH} --method darts-plus",
    "19": f"{SEARCH} --method amended",
    "20": f"{SEARCH} --method dropnas",
    "21": "search MODEL --data unreal:labels/DATA",
    "25": f"{SEARCH} --max memory=64KiB --max latency=0.7x",
    "26": f"{SEARCH} --families dense,sparse",
    "28": f"{SEARCH} --method differential",
    "30": f"{SEARCH} --strategy evolution --evaluator flatness",
    "31": f"{SEARCH} --method linas",
    "32": f"{SEARCH} --set 'search.edits=[friendly]'",
    "33": f"{SEARCH} --method proxylessnas",
    "34": f"{SEARCH} --method neural-predictor",
    "36": f"{SEARCH} --families dense,binary",
    "38": f"{SEARCH} --method autohas",
    "40": f"{SEARCH} --method nas-bowl",
    "42": f"{SEARCH} --strategy evolution --evaluator TABLE.json",
    "44": STUDY,
    "46": STUDY,
    "48": f"{SEARCH} --set 'search.edits=[prune-by-norms:rows=TABLE.json]'",
    "51": f"{SEARCH} --method hardcore --max latency=0.7x",
    "52": f"{SEARCH} --morph widen,deepen,enlarge",
    "54": f"{SEARCH} --method mcts",
    "56": f"{SEARCH} --strategy evolution --evaluator epsinas",
    "59": f"{SEARCH} --method linas",
    "61": f"{SEARCH} --widths --max macs=0.5x --set search.widths=trainable",
    "63": f"{SEARCH} --strategy partial-order --objectives valid,latency",
    "66": f"{SEARCH} --strategy joint",
    "72": f"{SEARCH} --method parzc",
    "75": f"{SEARCH} --method fbnetv3",
    "78": f"{SEARCH} --method epnas",
    "79": f"{SEARCH} --method linas --set blackbox.start=TABLE.json",
    "87": f"{SEARCH} --set retrain.drop_path=0.2",
    "89": f"{SEARCH} --method manas",
    "91": f"{SEARCH} --set retrain.optimizer=swats retrain.lr=0.001",
    "92": "pick RUN --max latency=1ms --deploy sessions",
    "94": f"{SEARCH} --method gbdt-nas",
    "95": f"{SEARCH} --morph branch",
    "99": f"{SEARCH} --strategy dash --set 'search.monitors=[spectrum]'",
    "103": f"{SEARCH} --families dense,skip",
    "104": f"{SEARCH} --method fbnet",
    "105": SEARCH,
    "108": f"{SEARCH} --strategy dash --set 'search.terms=[adversarial:eps=0.1]'",
    "110": f"{SEARCH} --method evolution --set blackbox.cache=CACHE.jsonl",
    "115": f"{SEARCH} --strategy evolution --evaluator gradsign",
    "117": f"{SEARCH} --method lanas",
    "118": f"{SEARCH} --method single-path",
    "120": f"{SEARCH} --method instatune --checkpoint WEIGHTS",
    "121": f"{SEARCH} --morph widen",
    "125": f"{SEARCH} --int8 --max latency=0.7x",
    "129": f"{SEARCH} --set retrain.optimizer=lion retrain.lr=0.0003",
    "134": f"{SEARCH} --families dense,quantised,quantised:bits=4 --set 'search.terms=[cost-power:cost=bits]'",
    "133": f"{SEARCH} --max params=0.7x --max macs=0.7x",
    "136": f"{SEARCH} --method robot",
    "X1": f"{SEARCH} --method gaea",
    "X3": f"{SEARCH} --method gdas",
    "X6": f"{SEARCH} --method bananas",
}
# What a loop of one's own calls: number -> the call.
CALLS = {
    "29": "dashfx.study.poison.poisoned(space, 6)",
    "35": "dashfx.study.conditions.ranked(studies)",
    "69": "dashfx.deploy.texts.onnx_text.onnx_text(path)",
    "88": "dashfx.strategies.engine.split.splits(engine, batch)",
}
# What is no part of a search, and so has no name in an option: module and name.
BESIDE = {
    "cache of evaluations": ("dashfx.strategies.evaluated.cached", "Cached"),
    "study": ("dashfx.study.statistics", "improvement"),
    "rank correlation of a study": ("dashfx.study.scores", "rank_correlation"),
    "unreal data": ("dashfx.data.sets.unreal", "unreal"),
    "poisoned space": ("dashfx.study.poison", "poisoned"),
    "ranks over several conditions": ("dashfx.study.conditions", "ranked"),
    "ONNX file as text": ("dashfx.deploy.texts.onnx_text", "onnx_text"),
    "split of a supernet": ("dashfx.strategies.engine.split", "splits"),
    "choice under budgets": ("dashfx.cost.select", "select_under"),
    "kernels and bits together": ("dashfx.cost.precision", "best"),
    "calibration in the report": ("dashfx.task.calibration", "trust"),
}

HEAD = """
## Rows of the survey

{count} rows stand here. Each runs by name on any model and data, such as `examples/my_model.py:Net` and `digits`;
tables, caches and weights are files of yours. {calls} are called from Python.

| row | by | command |
| --- | --- | --- |
"""


def parts() -> dict[str, list[str]]:
    """Row -> what it is on this page; rows in the order of their numbers, those of the second table last."""
    from dashfx.plugins import HOMES, known_of

    # optimisers are strategies too, by the same names
    said = [(each.row, f"{kind} `{each.name}`") for kind in HOMES if kind != "optimiser" for each in known_of(kind)]
    said += [(getattr(import_module(module), name).row, title) for title, (module, name) in BESIDE.items()]
    found: dict[str, list[str]] = {}
    for rows, part in said:
        for row in filter(None, rows.split(", ")):
            found.setdefault(row, []).append(part)
    return {row: found[row] for row in sorted(found, key=lambda row: (row.startswith("X"), len(row), row))}


def section() -> str:
    """The rows as a table of the page of all plug-ins."""
    found = parts()
    how = {row: f"dashfx {command}" for row, command in COMMANDS.items()} | CALLS
    lines = [f"| {row} | {', '.join(found[row])} | `{how[row]}` |\n" for row in found]
    return HEAD.format(count=len(found), calls=len(CALLS)) + "".join(lines)
