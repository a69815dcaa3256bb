"""Options of `search` on strategies that evaluate genotypes one by one."""

from __future__ import annotations

from typing import Annotated

import typer

from dashfx.cli.options.shared import SEARCH

Evaluator = Annotated[
    str | None,
    typer.Option(
        help="of evolution, nsga2 and their like: gennas or another proxy, supernet, train, or a table FILE.json",
        rich_help_panel=SEARCH,
    ),
]
Evaluations = Annotated[int | None, typer.Option(help="how many genotypes are evaluated", rich_help_panel=SEARCH)]
Objectives = Annotated[
    str | None,
    typer.Option(
        help="what is improved together: valid and costs, as valid,latency; of nsga2, linas and others",
        rich_help_panel=SEARCH,
        show_default=False,
    ),
]
