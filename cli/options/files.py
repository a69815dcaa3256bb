"""Options on the files that are written for deployment."""

from __future__ import annotations

from typing import Annotated

import typer

Int8 = Annotated[
    bool | None,
    typer.Option("--int8", help="also write an int8 file, as far as its metric holds", show_default=False),
]
Fp16 = Annotated[
    bool | None,
    typer.Option("--fp16", help="also write a file in half precision, for GPUs", show_default=False),
]
Preprocess = Annotated[
    bool | None,
    typer.Option("--preprocess", help="also write model.complete.onnx, which takes raw rows", show_default=False),
]
Postprocess = Annotated[
    bool | None,
    typer.Option("--postprocess", help="also write it, with probabilities and labels", show_default=False),
]
