"""Option of `search` that names a method."""

from __future__ import annotations

from typing import Annotated

import typer

Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="a method by name, such as darts or gaea: the options that its paper combines; what else you say wins; "
        "dashfx methods lists them",
        rich_help_panel="How it is searched",
        show_default=False,
    ),
]
