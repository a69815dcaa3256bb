"""The options that verbs share; a configuration file, flags and --set go in, one checked RunConfig comes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dashfx.cli.options import costs as cost_options
from dashfx.cli.options.finalists import wider_values
from dashfx.cli.options.space import family_names
from dashfx.errors import ConfigError

if TYPE_CHECKING:
    from dashfx.config.run import RunConfig

T = TypeVar("T")

SPACE = "What may be chosen"
SEARCH = "How it is searched"
RETRAIN = "How the result is trained"
RUN = "The run"
NO_MODEL = "no model: give file.py:Class or package.module:Class, here or as 'model' in --config"
NO_DATA = "no data: give --data a file, a folder, a named set such as digits, or file.py:factory"

Model = Annotated[
    str | None,
    typer.Argument(help="file.py:Class, file.py:factory or package.module:Class", metavar="MODEL", show_default=False),
]
Folder = Annotated[Path, typer.Argument(help="a run's folder", metavar="RUN", show_default=False)]
Data = Annotated[
    str | None,
    typer.Option(
        help=".npz, .pt, .ts, .tsv, a folder of images or sounds by class, hf:FOLDER, wds:SHARDS, a named set such as "
        "digits, or file.py:factory"
    ),
]
MovedData = Annotated[
    str | None, typer.Option("--data", help="where the run's data are now, if not where they were", show_default=False)
]
Augment = Annotated[
    str | None,
    typer.Option(help="of training batches: image, signal, flip, crop, mixup, jitter, scale, or file.py:function"),
]
Task = Annotated[
    str | None,
    typer.Option(help="classify, multilabel, regress or dense-classify, a metric as in classify:f1; or file.py:name"),
]
Preset = Annotated[
    str | None, typer.Option(help="the settings of a NAS-Bench-360 task: cifar100, ninapro, darcy, ecg, satellite, ...")
]
Loss = Annotated[
    str | None, typer.Option(help="cross_entropy, bce, focal, mse, mae or relative_l2; by default the task's own")
]
ModelArgs = Annotated[
    list[str] | None, typer.Option(help="arguments of the model's class", metavar="NAME=VALUE", show_default=False)
]
Checkpoint = Annotated[str | None, typer.Option(help="weights for the model: .safetensors, .pt, .pth, .th or .ckpt")]
NewHead = Annotated[
    bool | None, typer.Option("--new-head", help="start the last layer anew, for other classes", show_default=False)
]

Kernels = Annotated[str | None, typer.Option(help="kernel sizes: 3,5,7, or per axis: 3x7,5", rich_help_panel=SPACE)]
Dilations = Annotated[str | None, typer.Option(help="dilations: 1,3, or per axis: 1x3", rich_help_panel=SPACE)]
Space = Annotated[str | None, typer.Option(help="a preset: dash2d, dash1d or baby", rich_help_panel=SPACE)]
Include = Annotated[
    list[str] | None,
    typer.Option(help="search only convs whose name fits", metavar="GLOB", rich_help_panel=SPACE, show_default=False),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="leave these convs as they are", metavar="GLOB", rich_help_panel=SPACE, show_default=False),
]
Sites = Annotated[
    str | None,
    typer.Option(help="all, or auto: only where a short probe of the grown model sees a gain", rich_help_panel=SPACE),
]

Strategy = Annotated[
    str | None,
    typer.Option(
        help="dash, evolution, nsga2, surrogate:ridge and others, see dashfx methods; controls: random, untouched",
        rich_help_panel=SEARCH,
    ),
]
WarmStart = Annotated[
    str | None,
    typer.Option(
        help="for dash: mixtures start from what this evaluator, such as gennas, says", rich_help_panel=SEARCH
    ),
]
Max = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        help="the most that the model may cost: params, macs, size, memory or latency, as latency=2ms or params=0.7x",
        metavar="COST=LIMIT",
        rich_help_panel=SEARCH,
        show_default=False,
    ),
]
Init = Annotated[str | None, typer.Option(help="grow (from the model's weights) or fresh", rich_help_panel=SEARCH)]
Rule = Annotated[str | None, typer.Option(help="argmax, contribution or energy", rich_help_panel=SEARCH)]
Tie = Annotated[
    str | None,
    typer.Option(help="convs that choose alike: none, all, stage (of one size) or shape", rich_help_panel=SEARCH),
]
SearchSeeds = Annotated[
    int | None,
    typer.Option(help="searches by so many seeds; what they agree on is reported", rich_help_panel=SEARCH),
]
Epochs = Annotated[int | None, typer.Option(help="epochs of the search", rich_help_panel=SEARCH)]
BatchSize = Annotated[int | None, typer.Option(help="of search and retraining", rich_help_panel=SEARCH)]
RETRAIN_EPOCHS = "epochs of the retraining; auto, the default: until validation has reached a plateau"
RetrainEpochs = Annotated[str | None, typer.Option(help=RETRAIN_EPOCHS, metavar="N|auto", rich_help_panel=RETRAIN)]
OwnRetrainEpochs = Annotated[
    str | None, typer.Option("--epochs", help=RETRAIN_EPOCHS, metavar="N|auto", rich_help_panel=RETRAIN)
]
Weights = Annotated[
    str | None,
    typer.Option(help="where retraining starts: inherit, pretrained or fresh", rich_help_panel=RETRAIN),
]
RetrainArgs = Annotated[
    list[str] | None,
    typer.Option(
        help="arguments of the model's class that only retraining uses, such as a larger width; from fresh weights",
        metavar="NAME=VALUE",
        rich_help_panel=RETRAIN,
        show_default=False,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(help="wall time of all stages, such as 2h or 90m: epochs become what fits", rich_help_panel=RUN),
]
TuneTrials = Annotated[
    int | None,
    typer.Option("--tune", help="trainings that tune retraining's options; 0 for none", rich_help_panel=RETRAIN),
]
TuneMinutes = Annotated[
    float | None, typer.Option(help="or tune for so many minutes of training", rich_help_panel=RETRAIN)
]

Config = Annotated[Path | None, typer.Option(help="a YAML file of options, such as a run's config.yaml")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="any option, such as search.lr=0.05", metavar="A.B=VALUE", show_default=False),
]
Seed = Annotated[int | None, typer.Option(help="draws the split, the weights and the noise", rich_help_panel=RUN)]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda", rich_help_panel=RUN)]
Amp = Annotated[str | None, typer.Option(help="no, bf16 or fp16", rich_help_panel=RUN)]
Limit = Annotated[int | None, typer.Option(help="keep at most this many rows of each part", rich_help_panel=RUN)]
Control = Annotated[
    bool | None,
    typer.Option(
        "--control/--no-control",
        help="also train the untouched model, and keep the better one on validation",
        rich_help_panel=RETRAIN,
        show_default=False,
    ),
]
RandomControl = Annotated[
    bool | None,
    typer.Option(
        "--random-control",
        help="also train a random choice per site, for comparison",
        rich_help_panel=RETRAIN,
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="the run's folder", rich_help_panel=RUN, show_default=False)]
Resume = Annotated[bool, typer.Option("--resume", help="continue the run in --out", rich_help_panel=RUN)]
Input = Annotated[
    str | None, typer.Option(help="shape of one input, such as 3x32x32, where there is no --data", show_default=False)
]
ProxyRows = Annotated[int, typer.Option(help="rows that the proxies see", min=2)]
Workers = Annotated[int, typer.Option(help="processes, each with one thread; the scores are the same", min=1)]
TrainingWorkers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        help="who does trainings that do not depend on each other: so many processes, dask://HOST:PORT, or a dask "
        "scheduler's file; any number comes to the same",
        rich_help_panel=RUN,
        show_default=False,
    ),
]
LowerIsBetter = Annotated[bool, typer.Option("--lower-is-better", help="the known results are errors")]
MLflow = Annotated[
    bool, typer.Option("--mlflow", help="also log to MLflow: MLFLOW_TRACKING_URI, or a database in the run's folder")
]
WandB = Annotated[
    bool, typer.Option("--wandb", help="also log to Weights & Biases, offline unless WANDB_MODE says otherwise")
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="also write scalars for TensorBoard into the run's folder")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="show errors only")]


def configuration(flags: Mapping[str, Any], before: RunConfig | None = None) -> RunConfig:
    """The checked options of `told`.

    Raises:
        ConfigError: an unknown option, or a value that cannot be used.
    """
    from dashfx.config.run import RunConfig

    return RunConfig.parse(told(flags, before))


def told(flags: Mapping[str, Any], before: RunConfig | None = None) -> dict[str, Any]:
    """--config (or `before`, an earlier run's), then --method, then flags, then --set: what comes later wins.

    Args:
        flags: a verb's parameters by name, as in `typer.Context.params`; those without a key are left out.
    """
    from dashfx.config.files import assign, read_yaml
    from dashfx.config.methods import over

    options: dict[str, Any] = before.model_dump(mode="json") if before else {}
    options = options if flags.get("config") is None else read_yaml(flags["config"])
    options = over(options, flags["method"]) if flags.get("method") else options
    if flags.get("retrain_args"):  # another model starts from fresh weights
        _put(options, "retrain.weights", "fresh")
    for name, (keys, read) in KEYS.items():
        value = flags.get(name)
        if value not in (None, [], ()):
            for key in keys.split():
                _put(options, key, read(value))
    return assign(options, flags.get("assignments") or ())


def sizes(text: str) -> list[int | list[int]]:
    """Kernel sizes or dilations.

    >>> sizes("3,5x7")
    [3, [5, 7]]

    Raises:
        ConfigError: another form.
    """
    if not re.fullmatch(r"\d+(x\d+)*(\s*,\s*\d+(x\d+)*)*", text.strip()):
        raise ConfigError(f"sizes {text!r}: write whole numbers as 3,5,7, or per axis as 3x7,5")
    per_axis = [[int(axis) for axis in size.split("x")] for size in text.split(",")]
    return [axes[0] if len(axes) == 1 else axes for axes in per_axis]


def shape(text: str) -> tuple[int, ...]:
    """The shape of one input.

    >>> shape("3x32x32")
    (3, 32, 32)

    Raises:
        ConfigError: another form, or no spatial axis.
    """
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,3}", text.strip()):
        raise ConfigError(f"--input {text!r}: write channels and sizes without the batch, such as 3x32x32 or 1x784")
    return tuple(map(int, text.split("x")))


def named_values(texts: Iterable[str]) -> dict[str, Any]:
    """`name=value` pairs, one or several a text; values are read as YAML.

    >>> named_values(["depth=16 act=relu", "widths=[8,16],p=1e-3"])
    {'depth': 16, 'act': 'relu', 'widths': [8, 16], 'p': 0.001}

    Raises:
        ConfigError: a text without "=".
    """
    from dashfx.config.files import parse_value

    values = {}
    for pair in (pair for text in texts for pair in re.split(r"[,\s]+(?=\w+=)", text.strip())):
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--model-args {pair!r}: write name=value, for example --model-args depth=16")
        values[name] = parse_value(value)
    return values


def globs(texts: Iterable[str]) -> list[str]:
    """Globs, one or several a text, apart by commas."""
    return [glob.strip() for text in texts for glob in text.split(",") if glob.strip()]


def given(value: T | None, otherwise: str) -> T:
    """The value, which has to come from somewhere.

    Raises:
        ConfigError: it is not there, with the text `otherwise`.
    """
    if value is None:
        raise ConfigError(otherwise)
    return value


def _put(options: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for step in path:
        options = options.setdefault(step, {})
        if not isinstance(options, dict):
            raise ConfigError(f"option {step!r} must be a block of options, such as '{step}: {{{last}: ...}}'")
    options[last] = value


def _as_it_is(value: Any) -> Any:
    return value


# A verb's parameter -> the keys of RunConfig that it sets, and how its text is read.
KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "preset": ("preset", _as_it_is),
    "method": ("method", _as_it_is),
    "model": ("model", _as_it_is),
    "data": ("data", _as_it_is),
    "augment": ("augment", _as_it_is),
    "task": ("task", _as_it_is),
    "loss": ("loss.name", _as_it_is),
    "model_args": ("model_args", named_values),
    "checkpoint": ("checkpoint", _as_it_is),
    "new_head": ("new_head", _as_it_is),
    "space": ("space.preset", _as_it_is),
    "kernels": ("space.kernels", sizes),
    "dilations": ("space.dilations", sizes),
    "families": ("space.families", family_names),
    "ceiling": ("space.ceiling", _as_it_is),
    "morph": ("space.morph", family_names),
    "include": ("space.include", globs),
    "exclude": ("space.exclude", globs),
    "sites": ("space.sites", _as_it_is),
    "strategy": ("search.strategy", _as_it_is),
    "evaluator": ("blackbox.evaluator", _as_it_is),
    "evaluations": ("blackbox.evaluations", _as_it_is),
    "objectives": ("blackbox.objectives", lambda text: globs([text])),
    "warm_start": ("search.warm_start", _as_it_is),
    "max": ("search.budgets", list),
    "init": ("search.init", _as_it_is),
    "rule": ("search.rule", _as_it_is),
    "tie": ("search.tie", _as_it_is),
    "search_seeds": ("search.seeds", _as_it_is),
    "epochs": ("search.epochs", _as_it_is),
    "batch_size": ("search.batch_size retrain.batch_size", _as_it_is),
    "retrain_epochs": ("retrain.epochs", _as_it_is),
    "weights": ("retrain.weights", _as_it_is),
    "retrain_args": ("retrain.model_args", named_values),
    "tune": ("tune.trials", _as_it_is),
    "tune_minutes": ("tune.minutes", _as_it_is),
    **{name: (name, _as_it_is) for name in ("budget", "seed", "device", "amp", "limit", "control")},
    **{name: (name, _as_it_is) for name in ("random_control", "effort")},
    **{name: (key, _as_it_is) for name, key in cost_options.KEYS.items()},
    "finalists": ("finalists.count", _as_it_is),
    "seeds": ("finalists.seeds", _as_it_is),
    "folds": ("finalists.folds", _as_it_is),
    "longer": ("finalists.longer", _as_it_is),
    "wider": ("finalists.wider", wider_values),
    "refit": ("finalists.refit", _as_it_is),
    "ensemble": ("ensemble.count", _as_it_is),
    "distil": ("ensemble.distil", _as_it_is),
    **{name: (f"export.{name}", _as_it_is) for name in ("int8", "max_drop", "fp16", "preprocess", "postprocess")},
}
