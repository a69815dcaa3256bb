"""Options of the ONNX files: how they are written, which there are, and how much an int8 file may lose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator

from dashfx.config.base import Strict

ERRORS = "se"  # behind a number of standard errors
ONE_ERROR = f"1{ERRORS}"


class ExportConfig(Strict):
    """How the ONNX file is written and how closely it must agree with PyTorch (relative).

    Attributes:
        tolerance: the largest error; up to the usual one, no more than rounding explains is allowed either.
        layout: "auto" rewrites the graph of the file where that is measured to be faster.
        int8: also write an int8 file, `model.int8.onnx`, where it is smaller or faster and good enough.
        finetune: where some of it would lose too much in int8, epochs of training with it as in int8; the float file
            keeps its weights.
        fp16: also write a file in half precision for GPUs, `model.fp16.onnx`, with float32 inputs and outputs.
        preprocess: also write `model.complete.onnx`, which takes raw rows: the graph scales, lays out and normalises.
        postprocess: also write it, with probabilities and labels in place of scores.
        max_drop: how much worse the int8 file's metric on the validation part may be: a number in the metric's units,
            or standard errors of it as "1se".
    """

    opset: int = Field(18, ge=18, le=20)
    dynamic_size: bool = True
    tolerance: float = Field(1e-4, gt=0, le=0.01, allow_inf_nan=False)
    layout: Literal["auto", "off"] = "auto"
    int8: bool = False
    finetune: int = Field(0, ge=0)
    fp16: bool = False
    preprocess: bool = False
    postprocess: bool = False
    max_drop: float | str = ONE_ERROR

    @field_validator("max_drop", mode="before")
    @classmethod
    def _units_or_errors(cls, value: Any) -> float | str:
        """Earlier versions wrote nothing for the default."""
        value = ONE_ERROR if value is None else value
        text = "" if isinstance(value, bool) else str(value).strip().lower()
        try:
            if not 0 <= (number := float(text.removesuffix(ERRORS))) < math.inf:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"give a number in the metric's units, 0 or more, such as 0.01, or standard errors, such as {ONE_ERROR}"
            ) from None
        return f"{number:g}{ERRORS}" if text.endswith(ERRORS) else number

    def drop(self, standard_error: Callable[[], float]) -> tuple[float, str]:
        """The largest drop in the metric's units, and what it is.

        Args:
            standard_error: the metric's, asked where the drop is so many of it.
        """
        if not isinstance(self.max_drop, str):
            return self.max_drop, "export.max_drop"
        number = float(self.max_drop.removesuffix(ERRORS))
        said = "one standard error" if number == 1 else f"{number:g} standard errors"
        return number * standard_error() if number else 0.0, f"{said} of the metric"
