"""Options of data and task: how files are read and normalised, and what training lowers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from dashfx.config.base import Strict


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
        normalise_targets: a regression model works in units of mean 0 and deviation 1 per output, and the exported one
            in the data's; null does so wherever it is regression.
    """

    name: str | None = None
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    pos_weight: Literal["balanced"] | float | tuple[float, ...] | None = None
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    gamma: float = Field(2.0, ge=0)
    normalise_targets: bool | None = None


class ReadingConfig(Strict):
    """How files and arrays become rows of one shape, see `dashfx.data.reading.Reading`.

    Attributes:
        window, stride: records are cut into windows of so many samples, at this distance; 0 does not cut.
        fit: how records of different lengths become rows of one: "pad", "mask" or "crop".
        length: of those rows; 0 is the longest record, for "crop" the shortest.
        vote: metrics count records, by the majority of their windows.
        log_mel: sounds become log-mel spectrograms of so many bands.
        rate: samples a second that sounds are resampled to.
        columns: the names of x and y in folders of `datasets` and in shards.
        size: images become so large, one number or [height, width]; stretched, or as `fit` "crop" or "pad" says.
        layout: where the channels of arrays stand among a row's axes: "first", "last" or "none".
        groups: whose files stay in one part: a table FILE.csv of files and groups, or an expression on their names.
        ignore: the number in masks that does not count, beside 255.
    """

    window: int = Field(0, ge=0)
    stride: int = Field(0, ge=0)
    fit: Literal["pad", "mask", "crop"] | None = None
    length: int = Field(0, ge=0)
    vote: bool = False
    log_mel: int = Field(0, ge=0)
    rate: int = Field(0, ge=0)
    columns: tuple[str, str] | None = None
    size: int | tuple[int, int] | None = None
    layout: Literal["first", "last", "none"] | None = None
    groups: str | None = None
    ignore: int | None = None

    @field_validator("size")
    @classmethod
    def _some_pixels(cls, size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if size is not None and min(size if isinstance(size, tuple) else (size,)) < 1:
            raise ValueError("images have at least one pixel a side; give a number such as 224, or [height, width]")
        return size
