"""YAML, `--set a.b=c` and keywords go in; one checked, frozen configuration of a run comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from dashfx.config import presets
from dashfx.config.base import Strict
from dashfx.config.files import seconds_of
from dashfx.config.search import BlackBoxConfig, FitConfig, SearchConfig
from dashfx.config.tuning import TuneConfig
from dashfx.space import Candidate, SearchSpace, Size, preset_lists


class CandidateConfig(Strict):
    """One candidate, sizes per axis."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]


class ChoicesConfig(Strict):
    """Kernel sizes and dilations, every one with every other; ints hold for all axes, lists are per axis.

    Attributes:
        candidates: the choices one by one, instead of the product.
    """

    kernels: tuple[int | tuple[int, ...], ...] | None = None
    dilations: tuple[int | tuple[int, ...], ...] | None = None
    candidates: tuple[CandidateConfig, ...] | None = None

    def choices(self, kernels: Iterable[Size], dilations: Iterable[Size]) -> tuple[Candidate, ...]:
        """The candidates; what is not given is taken from the arguments."""
        if self.candidates is not None:
            return tuple(Candidate(c.kernel, c.dilation) for c in self.candidates)
        return SearchSpace.product(self.kernels or kernels, self.dilations or dilations).candidates


class SpaceConfig(ChoicesConfig):
    """Which kernels and dilations: a preset, lists, or candidates; by default the paper's preset for the dimension.

    Attributes:
        keep_original: add each conv's own kernel and dilation to its choices, so that the untouched model can be
            chosen.
        overrides: other choices for the sites that a glob names.
        include, exclude: globs over site names.
        sites: "all", or "auto" for those that a short probe of the grown model finds worth a search.
        share: for "auto": at most this share of the sites.
        probe: for "auto": batches of the probe.
    """

    preset: str | None = None
    keep_original: bool = True
    overrides: dict[str, ChoicesConfig] = Field(default_factory=dict)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    sites: Literal["all", "auto"] = "all"
    share: float = Field(0.5, gt=0, le=1)
    probe: int = Field(30, ge=2)

    def build(self, ndim: int) -> SearchSpace:
        """The space for a model whose convs have `ndim` axes."""
        kernels, dilations = preset_lists(self.preset or ("dash1d" if ndim == 1 else "dash2d"))
        overrides = tuple((glob, choices.choices((3,), (1,))) for glob, choices in self.overrides.items())
        return SearchSpace(self.choices(kernels, dilations), overrides, self.keep_original)

    def holding(self, space: SearchSpace) -> SpaceConfig:
        """This configuration with the choices of `space` written out, so that `config.yaml` tells them."""
        overrides = {glob: {"candidates": _listed(choices)} for glob, choices in space.overrides}
        written = {
            "candidates": _listed(space.candidates),
            "overrides": overrides,
            "keep_original": space.keep_original,
        }
        return SpaceConfig.parse({**self.model_dump(exclude={"preset", "kernels", "dilations"}), **written})


def _listed(candidates: Iterable[Candidate]) -> list[dict[str, list[int]]]:
    return [candidate.to_dict() for candidate in candidates]


class RetrainConfig(FitConfig):
    """How the lowered model is trained.

    Attributes:
        weights: "inherit" starts from the supernet, "pretrained" from the checkpoint's kernels restricted to the chosen
            support, "fresh" from the model as its class builds it.
        model_args: arguments of the model's class that only retraining uses, such as a larger width; the choices go
            over by the names of the sites.
        dropout: the probability of every nn.Dropout of the model; None leaves each as it is.
        ema: the decay of a moving average over the weights, which is then judged and kept; 0 for none.
        patience: stop after so many epochs without a better metric; 0 never stops early.
        autotune: measure which large kernels the Fourier path computes faster, and train with it; the model stays the
            same. Only on a CPU in full precision, without `compile` and `channels_last`.
        channels_last: keep images as NHWC in memory.
        compile: run the model through torch.compile.
    """

    weights: Literal["inherit", "pretrained", "fresh"] = "inherit"
    model_args: dict[str, Any] = Field(default_factory=dict)
    dropout: float | None = Field(None, ge=0, lt=1)
    ema: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    autotune: bool = True
    channels_last: bool = False
    compile: bool = False

    @field_validator("model_args")
    @classmethod
    def _another_model_starts_afresh(cls, args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if args and info.data.get("weights") != "fresh":
            raise ValueError("they make another model, which earlier weights do not fit; set retrain.weights=fresh")
        return args


class ExportConfig(Strict):
    """How the ONNX file is written and how closely it must agree with PyTorch (relative)."""

    opset: int = Field(18, ge=18, le=20)
    dynamic_size: bool = True
    tolerance: float = Field(1e-4, gt=0)


class NormaliseConfig(Strict):
    """Mean and standard deviation per channel, as a checkpoint was trained with; images have values from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = NormaliseConfig(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class LossConfig(Strict):
    """What training lowers, see `dashfx.task.LossOptions`.

    Attributes:
        name: the task's usual loss where it is not given.
        class_weights: "balanced", or a number per class.
        pos_weight: "balanced", or the weight of positives among several labels, one or a number per label.
        label_smoothing: the share of certainty that is spread over the other classes.
        gamma: of the focal loss.
        normalise_targets: a regression model works in units of mean 0 and deviation 1 per channel.
    """

    name: str | None = None
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    pos_weight: Literal["balanced"] | float | tuple[float, ...] | None = None
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    gamma: float = Field(2.0, ge=0)
    normalise_targets: bool = False


class ReadingConfig(Strict):
    """How files become rows of one shape, see `dashfx.data.reading.Reading`.

    Attributes:
        window, stride: records are cut into windows of so many samples, at this distance; 0 does not cut.
        fit: how records of different lengths become rows of one: "pad", "mask" or "crop".
        length: of those rows; 0 is the longest record, for "crop" the shortest.
        vote: metrics count records, by the majority of their windows.
        log_mel: sounds become log-mel spectrograms of so many bands.
        rate: samples a second that sounds are resampled to.
        columns: the names of x and y in folders of `datasets` and in shards.
    """

    window: int = Field(0, ge=0)
    stride: int = Field(0, ge=0)
    fit: Literal["pad", "mask", "crop"] | None = None
    length: int = Field(0, ge=0)
    vote: bool = False
    log_mel: int = Field(0, ge=0)
    rate: int = Field(0, ge=0)
    columns: tuple[str, str] | None = None


class RunConfig(Strict):
    """All of a run; what a run's `config.yaml` holds.

    Attributes:
        preset: a task of NAS-Bench-360, whose settings hold where nothing else is said, see `dashfx.config.presets`.
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
    export: ExportConfig = ExportConfig()
    control: bool = True
    random_control: bool = False
    budget: str | None = None
    seed: int = 0
    device: str = "auto"
    amp: Literal["no", "bf16", "fp16"] = "no"

    @model_validator(mode="before")
    @classmethod
    def _what_options_bring_along(cls, options: Any) -> Any:
        """A preset's options and those for a checkpoint, where a user does not say otherwise."""
        if not isinstance(options, Mapping):
            return options
        if options.get("checkpoint"):
            options = cls._gentler_from_a_checkpoint(options)
        return presets.under(options) if options.get("preset") else options

    @staticmethod
    def _gentler_from_a_checkpoint(options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is not said otherwise starts from the checkpoint's weights, at rates that do not destroy them."""
        blocks = {name: options.get(name) or {} for name in ("search", "retrain")}
        if not all(isinstance(block, Mapping) for block in blocks.values()):
            return options
        search = {"init": "grow", "lr": 0.01, **blocks["search"]}
        return {**options, "search": search, "retrain": {"lr": 5e-4, **blocks["retrain"]}}

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
        asked = self.search.strategy if self.search.kind == "BlackBox" else self.blackbox.evaluator
        by_supernet = not self.search.is_control and ("BySupernet(" in asked or asked.startswith("supernet"))
        return self.search.judges_mixtures or by_supernet

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
