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

Ceiling = Annotated[
    str | None,
    typer.Option(
        help="the most that a large supernet may have of its model's parameters and multiply-adds: params=4x,macs=5x, "
        "or none",
        rich_help_panel=SPACE,
        show_default=False,
    ),
]

Morph = Annotated[
    str | None,
    typer.Option(
        help="grow the network by steps that keep its function: widen, deepen, enlarge, branch",
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
