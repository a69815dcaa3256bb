"""Options of the ensemble: how many trained models are averaged, and whether one is trained on its answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dashfx.config.base import Strict


class EnsembleConfig(Strict):
    """The average of the best trained models, and a model that learns from it.

    Attributes:
        count: how many models are averaged, the best of a run on the validation part; 0 for none, "auto" for two where
            there are two and their task has an average.
        distil: train the model that would be handed back once more, on the average's answers too, and hand that one
            back where it is better on the validation part.
        share: of the average's answers in the loss of that training; the rest is the usual loss.
        temperature: that divides the scores of both before they are compared; numbers have none.
    """

    count: Annotated[int, Field(ge=0)] | Literal["auto"] = 0
    distil: bool = False
    share: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(2.0, gt=0)

    @property
    def wanted(self) -> int:
        """At most so many are averaged."""
        return 2 if self.count == "auto" else self.count

    @field_validator("count")
    @classmethod
    def _one_is_no_average(cls, count: int | Literal["auto"]) -> int | Literal["auto"]:
        if count == 1:
            raise ValueError("an average needs 2 models or more; 0 makes none")
        return count

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> EnsembleConfig:
        if self.distil and not self.count:
            raise ValueError(
                "ensemble.distil trains on the answers of an ensemble: give ensemble.count (--ensemble 2) too"
            )
        return self
