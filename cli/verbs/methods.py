"""`dashfx methods`: the plug-ins of each kind, as their classes describe themselves; as a page too."""

from __future__ import annotations

from typing import Annotated

import typer

from dashfx.cli import render, tables
from dashfx.errors import ConfigError, did_you_mean

Kind = Annotated[str | None, typer.Argument(help="only this kind, such as relaxation or update", show_default=False)]
Markdown = Annotated[bool, typer.Option("--markdown", help="as the text of docs/reference/systems.md")]

HEAD = """# Systems by name

What a search can be made of, by kind, as `dashfx methods` lists it. This page is generated:
`dashfx methods --markdown > docs/reference/systems.md`. How a part is named in an option, and how to write one of your
own, stands in [Strategies and their parts](strategies.md). The row is the number of a method in the survey that these
parts follow. That a method is here says that it does what its equations say, not that it finds better models.
"""


def methods(kind: Kind = None, markdown: Markdown = False) -> None:
    """List what a search can be made of: every plug-in with a line, its paper, and its row in the survey."""
    from dashfx.plugins import HOMES, known_of

    if kind is not None and kind not in HOMES:
        raise ConfigError(f"no kind {kind!r}{did_you_mean(kind, HOMES)}; there are {', '.join(HOMES)}")
    if markdown:
        render.text(page())
        return
    for each in [kind] if kind else HOMES:
        render.show(tables.methods(each, known_of(each)))


def page() -> str:
    """The page of all plug-ins."""
    from dashfx.plugins import HOMES

    return HEAD + "".join(_section(kind) for kind in HOMES)


def _section(kind: str) -> str:
    from dashfx.plugins import known_of

    rows = [f"| `{k.name}` | {_cell(k.line)} | {_cell(k.paper)} | {k.row} |" for k in known_of(kind)]
    return "\n".join(
        [
            f"\n## {kind.capitalize()}\n",
            "| name | what it does | paper | row |",
            *["| --- | --- | --- | --- |"],
            *rows,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
