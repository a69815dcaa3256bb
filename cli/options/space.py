"""Options on the space that is searched, beside kernels and dilations."""

from __future__ import annotations

import re
from typing import Annotated

import typer

SPACE = "What may be chosen"

Families = Annotated[
    str | None,
    typer.Option(
        help="what a conv may become: dense, grouped, depthwise, separable, skip, pool, zero, or nested: dense,skip",
        metavar="NAMES",
        rich_help_panel=SPACE,
        show_default=False,
    ),
]


def family_names(text: str) -> list[str]:
    """The families that a text names; a comma before an argument's name is part of that family.

    >>> family_names("dense, grouped:groups=2,skip")
    ['dense', 'grouped:groups=2', 'skip']
    """
    return [name.strip() for name in re.split(r",(?!\s*\w+\s*=)", text) if name.strip()]
