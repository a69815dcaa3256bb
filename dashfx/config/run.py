"""YAML, `--set a.b=c` and keywords go in; one checked, frozen configuration of a run comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from dashfx.config import effort, methods, presets
from dashfx.config.base import Strict
from dashfx.config.data import LossConfig, NormaliseConfig, ReadingConfig
from dashfx.config.ensemble import EnsembleConfig
from dashfx.config.export import ExportConfig
from dashfx.config.files import seconds_of
from dashfx.config.finalists import FinalistsConfig
from dashfx.config.search import AUTO, WIDTHS, BlackBoxConfig, FitConfig, SearchConfig
from dashfx.config.space import SpaceConfig
from dashfx.config.tuning import TuneConfig

LADDER = "ladder:multiscale=false,strict=false"  # of uniform rungs, so that all layers stay those of torch.nn


class RetrainConfig(FitConfig):
    """How the lowered model is trained.

    Attributes:
        epochs: a number, or "auto": the rate stays at its peak until validation has reached a plateau and then falls
            over a fifth of all epochs, see `dashfx.train.length`; at least 500 steps and 10 epochs, at most 6,000 steps
            or 60 epochs, whichever are more.
        max_epochs: the most that "auto" trains, in place of those; `budget` sets it.
        weights: "inherit" starts from the supernet, "pretrained" from the checkpoint's kernels restricted to the chosen
            support, "fresh" from the model as its class builds it.
        model_args: arguments of the model's class that only retraining uses, such as a larger width; the choices go
            over by the names of the sites.
        dropout: the probability of every nn.Dropout of the model; None leaves each as it is.
        drop_path: the probability that a residual branch is left out of a row, at the end of the training; it grows
            linearly from 0 (NASNet).
        transfer: with `model_args`: choices go over by groups of repeated blocks where the model has other sites.
        ema: the decay of a moving average over the weights, which is then judged and kept; 0 for none.
        patience: stop after so many epochs without a better metric; 0 never stops early.
        autotune: measure which large kernels the Fourier path computes faster, and train with it; the model stays the
            same. Only on a CPU in full precision, without `compile` and `channels_last`.
        channels_last: keep images as NHWC in memory.
        compile: run the model through torch.compile.
    """

    epochs: int | Literal["auto"] = AUTO
    max_epochs: int | None = Field(None, ge=1)
    weights: Literal["inherit", "pretrained", "fresh"] = "inherit"
    model_args: dict[str, Any] = Field(default_factory=dict)
    dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1)
    transfer: bool = False
    ema: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    autotune: bool = True
    channels_last: bool = False
    compile: bool = False

    @field_validator("epochs", mode="before")
    @classmethod
    def _a_number_or_auto(cls, value: Any) -> Any:
        number = value.strip() if isinstance(value, str) else value
        if number != AUTO and (isinstance(number, bool) or not str(number).isdecimal() or int(number) < 1):
            raise ValueError("give a number of epochs, 1 or more, or auto")
        return number

    @model_validator(mode="after")
    def _auto_ends_by_itself(self) -> RetrainConfig:
        """What needs to know the length, or sets it, does not go with `auto`."""
        if self.epochs != AUTO:
            return self
        found = "which retrain.epochs=auto finds while it trains: give retrain.epochs a number, or set"
        if self.schedule != AUTO:
            raise ValueError(f"schedule {self.schedule} needs the length of a training, {found} retrain.schedule=auto")
        if self.patience:
            raise ValueError(f"patience {self.patience} cuts a given length short, {found} retrain.patience=0")
        return self

    @field_validator("model_args")
    @classmethod
    def _another_model_starts_afresh(cls, args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if args and info.data.get("weights") != "fresh":
            raise ValueError("they make another model, which earlier weights do not fit; set retrain.weights=fresh")
        return args


class RunConfig(Strict):
    """All of a run; what a run's `config.yaml` holds.

    Attributes:
        preset: a task of NAS-Bench-360, whose settings hold where nothing else is said, see `dashfx.config.presets`.
        method: a method by name, whose options hold where nothing else is said, see `dashfx.config.methods`.
        effort: how much is trained: "quick" gives every conv several kernels and makes no choice, "thorough" tunes and
            trains the best with several seeds, see `dashfx.config.effort`; what else is said wins.
        valid_fraction: the share of the training data that becomes validation where the data has none.
        augment: what training batches go through: names such as "flip,crop", or `file.py:function`.
        limit: at most so many rows of each part, for a quick look.
        normalise: true fits mean and standard deviation per channel on the train part, "positions" for each position by
            itself; "imagenet" or one's own numbers for a checkpoint that wants those; false leaves the data as it is.
        checkpoint_key: the entry of the checkpoint to take, such as "model_ema", or what its names begin with.
        new_head: the last layer's weights are not taken from the checkpoint.
        amp: half precision by autocast.
        control: also train the untouched model by the retraining's recipe, and hand back the searched one only where it
            is better on the validation part.
        random_control: also train a random choice per site by that recipe, for comparison only.
    """

    preset: str | None = None
    method: str | None = None
    effort: Literal["quick", "default", "thorough"] = "default"
    model: str | None = None
    model_args: dict[str, Any] = Field(default_factory=dict)
    data: str | None = None
    valid_fraction: float = Field(0.2, gt=0, lt=1)
    reading: ReadingConfig = ReadingConfig()
    augment: str | None = None
    limit: int | None = Field(None, ge=1)
    normalise: bool | Literal["imagenet", "positions"] | NormaliseConfig = True
    task: str | None = None
    loss: LossConfig = LossConfig()
    checkpoint: str | None = None
    checkpoint_key: str | None = None
    new_head: bool = False
    space: SpaceConfig = SpaceConfig()
    search: SearchConfig = SearchConfig()
    blackbox: BlackBoxConfig = BlackBoxConfig()
    tune: TuneConfig = TuneConfig()
    retrain: RetrainConfig = RetrainConfig()
    finalists: FinalistsConfig = FinalistsConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    export: ExportConfig = ExportConfig()
    control: bool = True
    random_control: bool = False
    budget: str | None = None
    seed: int = Field(0, ge=0, lt=2**32)  # what all generators take, NumPy's older ones included
    device: str = "auto"
    amp: Literal["no", "bf16", "fp16"] = "no"

    @model_validator(mode="before")
    @classmethod
    def _what_options_bring_along(cls, options: Any) -> Any:
        """What a checkpoint, a method, an effort and a preset say, in this order, where a user does not."""
        if not isinstance(options, Mapping):
            return options
        if options.get("checkpoint"):
            options = cls._gentler_from_a_checkpoint(options)
        options = methods.under(options) if options.get("method") else options
        options = effort.under(options)
        options = presets.under(options) if options.get("preset") else options
        return cls._with_strategy(options)

    @staticmethod
    def _with_strategy(options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without a strategy, or with "auto": the ladder, or DASH where something asks for a choice conv by conv.

        With morphisms evolution, by short trainings.

        What the ladder trains is averaged too: that costs nothing more, and gains the most.
        """
        search, ensemble = ({} if options.get(name) is None else options[name] for name in ("search", "ensemble"))
        if _block(options, "space").get("morph"):
            options = {**options, "blackbox": {"evaluator": "train", **_block(options, "blackbox")}}
        if not isinstance(search, Mapping) or search.get("strategy", AUTO) != AUTO:
            return options
        if _block(options, "space").get("morph"):
            return {**options, "search": {**search, "strategy": "evolution"}}
        named = {"kernels", "dilations", "families"} & _block(options, "space").keys()
        if search.get("widths") and not named:
            return {**options, "search": {**search, "strategy": WIDTHS}}
        if search.keys() - {"strategy"} or named or "rule" in _block(_block(options, "tune"), "space"):
            return {**options, "search": {**search, "strategy": "dash"}}
        average = {"count": AUTO, **ensemble} if isinstance(ensemble, Mapping) else ensemble
        return {**options, "ensemble": average, "search": {**search, "strategy": LADDER}}

    @staticmethod
    def _gentler_from_a_checkpoint(options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is not said otherwise starts from the checkpoint's weights, at rates that do not destroy them."""
        blocks = {name: options.get(name) or {} for name in ("search", "retrain")}
        if not all(isinstance(block, Mapping) for block in blocks.values()):
            return options
        search = {"init": "grow", "lr": 0.01, **blocks["search"]}
        return {**options, "search": search, "retrain": {"lr": 5e-4, **blocks["retrain"]}}

    @model_validator(mode="after")
    def _one_last_training(self) -> RunConfig:
        if self.finalists.refit and self.ensemble.distil:
            raise ValueError(
                "--refit trains the kept model by the labels alone, which a distilled model is not: leave it (--effort "
                "thorough brings it along: --set finalists.refit=false) or --distil away"
            )
        return self

    @field_validator("amp", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: Any) -> Any:
        return "no" if value is False else value  # YAML 1.1 reads a bare no as false

    @field_validator("budget")
    @classmethod
    def _a_duration(cls, value: str | None) -> str | None:
        if value is not None:
            seconds_of(value)
        return value

    @property
    def trains_supernet(self) -> bool:
        """Whether the search leaves weights that the lowered model can inherit, as far as the options' names tell."""
        asked = (
            self.search.strategy
            if self.search.kind in ("BlackBox", "Robust", "Parametric")
            else self.blackbox.evaluator
        )
        by_supernet = not self.search.asks_nobody and ("BySupernet(" in asked or asked.startswith("supernet"))
        return self.search.judges_mixtures or by_supernet

    def with_drop(self, drop: float | str | None) -> RunConfig:
        """With this as `export.max_drop`; None changes nothing."""
        export = self.export if drop is None else self.export.model_copy(update={"max_drop": drop})
        return self.model_copy(update={"export": export})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _block(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block of options; empty where none is given, and where it is something else, which is refused later."""
    found = options.get(name)
    return found if isinstance(found, Mapping) else {}
