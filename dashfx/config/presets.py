"""The name of a NAS-Bench-360 task goes in; the settings that DASH ran it with come out, as options of a run.

The settings are those of Shen, Khodak and Talwalkar, "Efficient Architecture Search for Diverse Tasks" (NeurIPS 2022),
the tasks those of Tu et al., "NAS-Bench-360" (NeurIPS 2022 Datasets and Benchmarks). What the paper does not set, such
as the cost in the loss, stays as it is in dashfx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dashfx.errors import ConfigError, did_you_mean
from dashfx.space import size_text


@dataclass(frozen=True)
class Preset:
    """One task of the benchmark.

    Attributes:
        shape: (C, *size) of one input.
        kind, n_outputs: of the targets, as in `Data`.
        task: with its metric.
        dense: whether there is an answer for every position: every stride is then 1, and rates are a tenth.
        data: what stands for `--data` where it is not given.
        more: options beside those that all tasks share.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    n_outputs: int
    task: str
    batch_size: int
    space: str
    dense: bool = False
    data: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        return len(self.shape) - 1

    @property
    def model(self) -> str:
        return "dashfx.backbones:WRN1d" if self.ndim == 1 else "dashfx.backbones:WRN"

    @property
    def model_args(self) -> dict[str, Any]:
        shared = {"num_classes": self.n_outputs, "in_channels": self.shape[0]}
        return shared | ({"depth": 16, "width": 1, "dense": self.dense} if self.ndim == 2 else {})

    def options(self) -> dict[str, Any]:
        """All that the preset says, but for the model and its arguments."""
        rate = 0.01 if self.dense else 0.1
        fit = {"batch_size": self.batch_size, "optimizer": "sgd", "lr": rate, "weight_decay": 5e-4, "momentum": 0.9}
        steps = (0.3, 0.6, 0.8) if self.ndim == 2 else (0.15, 0.3, 0.45, 0.6, 0.8)
        search = {"epochs": 100, "fraction": 0.2, "clip": 1.0, "schedule": "steps", "milestones": (0.6,)}
        alpha = {"alpha_lr": rate / 2, "alpha_optimizer": "sgd"}
        retrain = {"epochs": 200, "clip": 0.0, "schedule": "steps", "milestones": steps, "weights": "fresh"}
        return {
            "data": self.data or f"{self.name}:",  # which says what files it needs
            "task": self.task,
            "space": {"preset": self.space},
            "search": {**fit, **search, **alpha},
            "retrain": {**fit, **retrain},
            **self.more,
        }

    def check(self, name: str, shape: tuple[int, ...], kind: str, n_outputs: int) -> str | None:
        """A note where data differ from the task's in size alone.

        Raises:
            ConfigError: data of other channels, axes, targets or outputs.
        """
        if (len(shape), shape[0], kind, n_outputs) != (len(self.shape), self.shape[0], self.kind, self.n_outputs):
            raise ConfigError(
                f"preset {self.name} is for {size_text(self.shape)} with {self.n_outputs} outputs of {self.kind}, "
                f"{name} has {size_text(shape)} with {n_outputs} of {kind}; "
                "leave --preset out, or give that task's data"
            )
        if shape == self.shape:
            return None
        return f"preset {self.name} was made for {size_text(self.shape)}, {name} has {size_text(shape)}"


def _loss(**options: Any) -> dict[str, Any]:
    return {"loss": options}


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("cifar100", (3, 32, 32), "classes", 100, "classify:error", 64, "dash2d"),
        Preset("spherical", (3, 60, 60), "classes", 100, "classify:error", 64, "dash2d"),
        Preset("ninapro", (1, 16, 52), "classes", 18, "classify:error", 128, "dash2d-small", more=_loss(name="focal")),
        Preset("fsd50k", (1, 96, 101), "multilabel", 200, "multilabel:map", 128, "dash2d", more=_loss(pos_weight=10.0)),
        Preset(
            "darcy",
            (3, 85, 85),
            "dense",
            1,
            "regress:relative_l2",
            10,
            "dash2d",
            True,
            "darcy:421/5/900-100-100",
            {"normalise": "positions", **_loss(normalise_targets=True)},
        ),
        Preset(
            "psicov",
            (57, 128, 128),
            "dense",
            1,
            "regress:mae8",
            8,
            "dash2d",
            True,
            more=_loss(name="mse", normalise_targets=False),
        ),
        Preset(
            "cosmic",
            (1, 128, 128),
            "multilabel",
            1,
            "multilabel:auroc",
            4,
            "dash2d",
            True,
            more={"valid_fraction": 0.1},
        ),
        Preset("ecg", (1, 1000), "classes", 4, "classify:f1", 1024, "dash1d"),
        Preset("satellite", (1, 46), "classes", 24, "classify:error", 256, "dash1d"),
        Preset("deepsea", (4, 1000), "multilabel", 36, "multilabel:auroc", 256, "dash1d", more=_loss(pos_weight=4.0)),
    )
}


def find(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}{did_you_mean(name, PRESETS)}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def under(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` over those of the preset that they name: what a user says wins, one option at a time.

    The preset's model is taken where none is named, and its arguments go with that model only. A folder as data holds
    the benchmark's files. With a checkpoint, retraining does not start afresh.
    """
    preset = find(str(options["preset"]))
    base = preset.options()
    if options.get("checkpoint"):
        del base["retrain"]["weights"]
    merged = _over(base, options)
    if merged.setdefault("model", preset.model) == preset.model:
        merged["model_args"] = {**preset.model_args, **(options.get("model_args") or {})}
    data = merged["data"]
    if isinstance(data, str) and Path(data).expanduser().is_dir():
        merged["data"] = f"{preset.name}:{data}"
    return merged


def _over(base: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **options}
    for name, block in base.items():
        given = options.get(name)
        if isinstance(block, Mapping) and isinstance(given, Mapping):
            merged[name] = {**block, **given}
    return merged
