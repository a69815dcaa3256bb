"""Options of reading, which readers share: what a user can say of how files become rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Fit = Literal["pad", "mask", "crop"]
Layout = Literal["first", "last", "none"]


@dataclass(frozen=True)
class Reading:
    """How records, waves, images and columns become rows of one shape.

    Attributes:
        window: records are cut into windows of so many samples, each with its record's label; 0 does not cut.
        stride: the distance of the windows' starts; 0 is `window`.
        fit: how records of different lengths become rows of one: "pad" puts zeros behind them, "mask" does so and adds
            a channel that is 1 where there is data, "crop" takes a piece, in training at random, else the middle. With
            `size`, how an image keeps its proportions: "pad" puts zeros around, "crop" takes the middle.
        length: of those rows; 0 is the longest record for "pad" and "mask", the shortest for "crop".
        vote: metrics count records, not windows: the class that most of a record's windows get.
        log_mel: rows of sound become log-mel spectrograms of so many bands; 0 leaves waves.
        rate: samples a second that waves are resampled to; 0 asks for one rate.
        columns: the names of x and y in `datasets` folders and shards.
        size: images become so large: one number for both axes, or (height, width); stretched unless `fit` says else.
        layout: where the channels of arrays stand, "first" or "last" of a row's axes, or "none"; else the shape tells.
        groups: the patient, speaker or other group of each file of a folder: a `.csv` or `.tsv` file of names and
            groups, or a regular expression whose first bracket finds the group in a file's path below the part.
        ignore: the number in masks that does not count, beside 255 and what is below 0.
    """

    window: int = 0
    stride: int = 0
    fit: Fit | None = None
    length: int = 0
    vote: bool = False
    log_mel: int = 0
    rate: int = 0
    columns: tuple[str, str] | None = None
    size: int | tuple[int, int] | None = None
    layout: Layout | None = None
    groups: str | None = None
    ignore: int | None = None

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width) of images, where it is said."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """The reading that `to_json` wrote, of this version or an earlier one."""
        facts: dict[str, Any] = json.loads(text)
        listed: dict[str, Any] = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
        return cls(**(facts | listed))


USUAL = Reading()
