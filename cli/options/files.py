"""Options on the files that are written for deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from dashfx.errors import ConfigError

Int8 = Annotated[
    bool | None,
    typer.Option("--int8", help="also write an int8 file, as far as its metric holds", show_default=False),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        "--max-drop",
        help="how much worse the int8 file's metric may be: in its units, as 0.01, or standard errors; by default 1se",
        metavar="DROP",
        show_default=False,
    ),
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


def asked_drop(text: str | None, int8: bool | None) -> float | str | None:
    """The drop that is given, as `export.max_drop` has it; None where none is.

    Raises:
        ConfigError: it is no drop, or no int8 file is asked for.
    """
    if text is None:
        return None
    if not int8:
        raise ConfigError(
            f"--max-drop {text} says how much worse the int8 file may be, and none is asked for: add --int8"
        )
    from dashfx.config.export import ExportConfig

    return ExportConfig.parse({"max_drop": text}).max_drop
