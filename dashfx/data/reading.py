"""What a user can say of how files are read: the options that readers share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Fit = Literal["pad", "mask", "crop"]


@dataclass(frozen=True)
class Reading:
    """How records, waves and columns become rows of one shape.

    Attributes:
        window: records are cut into windows of so many samples, each with its record's label; 0 does not cut.
        stride: the distance of the windows' starts; 0 is `window`.
        fit: how records of different lengths become rows of one: "pad" puts zeros behind them, "mask" does so and adds
            a channel that is 1 where there is data, "crop" takes a piece, in training at random, else the middle.
        length: of those rows; 0 is the longest record for "pad" and "mask", the shortest for "crop".
        vote: metrics count records, not windows: the class that most of a record's windows get.
        log_mel: rows of sound become log-mel spectrograms of so many bands; 0 leaves waves.
        rate: samples a second that waves are resampled to; 0 asks for one rate.
        columns: the names of x and y in `datasets` folders and shards.
    """

    window: int = 0
    stride: int = 0
    fit: Fit | None = None
    length: int = 0
    vote: bool = False
    log_mel: int = 0
    rate: int = 0
    columns: tuple[str, str] | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """The reading that `to_json` wrote."""
        facts = json.loads(text)
        return cls(**facts | {"columns": tuple(facts["columns"]) if facts["columns"] else None})


USUAL = Reading()
