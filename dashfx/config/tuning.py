"""The block `tune` of a run's options: what is varied between trainings, how it is drawn, and how often."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dashfx.config.base import Strict


class RangeConfig(Strict):
    """All numbers from `low` to `high`, drawn evenly, or evenly in their logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _holds_something(self) -> RangeConfig:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError("a range needs low < high, and low > 0 where it is logarithmic")
        return self


class TuneConfig(Strict):
    """How the options of retraining are tuned; on the validation part only.

    Attributes:
        trials: how many trainings the study has in the end; 0 sets no such limit.
        minutes: how many minutes the study's trainings take together; 0 sets no such limit. Without either of the two
            limits nothing is tuned.
        sampler: "tpe" learns from what was tried (Bergstra et al., NeurIPS 2011), "random" does not, "grid" tries every
            combination of lists.
        halving: of the trials that reach a rung, one in so many goes on (asynchronous successive halving, Li et al.,
            MLSys 2020); 0 trains all to the end.
        epochs: of a trial; by default two fifths of `retrain.epochs`, as in the paper.
        fraction: the share of the training data that an epoch of a trial draws; by default that of retraining.
        space: an option of retraining, or "augment", "rule" or "model_args.NAME" -> a list of values, or a range. By
            default the paper's grid for "grid", and else ranges around what `retrain` says.
        storage: a database URL instead of a journal file in the run's folder, for workers on several machines.
        together: how many trials are drawn before the first of them has ended. With `--workers` that many are
            trained at a time; another number is another study, whoever trains.
        finalist: where a trial with other options is the best, retrain in full by the options as they are too, and go
            on with the better of the two on validation.
    """

    trials: int = Field(0, ge=0)
    minutes: float = Field(0.0, ge=0)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    halving: int = Field(3, ge=0)
    epochs: int | None = Field(None, ge=1)
    fraction: float | None = Field(None, gt=0, le=1)
    space: dict[str, RangeConfig | tuple[Any, ...]] = Field(default_factory=dict)
    storage: str = ""
    together: int = Field(1, ge=1)
    finalist: bool = True

    @field_validator("halving")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one in one is no halving: 0 for none, or 2 and more")
        return value

    @property
    def wanted(self) -> bool:
        return self.trials > 0 or self.minutes > 0
