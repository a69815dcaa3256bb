"""`dashfx methods`: methods by name, and plug-ins by kind as their classes describe themselves; as a page too."""

from __future__ import annotations

from typing import Annotated

import typer

from dashfx.cli import render
from dashfx.cli.methods import survey
from dashfx.cli.methods import tables as method_tables
from dashfx.cli.tables import shared as tables
from dashfx.errors import ConfigError, did_you_mean

Kind = Annotated[
    str | None,
    typer.Argument(help="only this kind, such as relaxation or update; or a method, such as darts", show_default=False),
]
Wanted = Annotated[
    str | None, typer.Option("--method", help="the options that this method stands for", show_default=False)
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="as the text of docs/reference/systems.md; of the kind method, of methods.md")
]

METHOD = "method"
HEAD = """# Systems by name

What a search can be made of, by kind, as `dashfx methods` lists it. This page is generated:
`dashfx methods --markdown > docs/reference/systems.md`. How a part is named in an option, and how to write one of your
own, stands in [Strategies and their parts](strategies.md). The row is the number of a method in the survey that these
parts follow. That a method is here says that it does what its equations say, not that it finds better models.
"""

METHODS_HEAD = """# Methods by name

Each is a few options, which `dashfx methods --method NAME` prints and `--method NAME` sets; what else you say wins. How
methods are compared stands in [Compare methods](../guides/study.md), what they are made of in
[Systems by name](systems.md). This page is generated: `dashfx methods method --markdown > docs/reference/methods.md`.
"""


def methods(kind: Kind = None, method: Wanted = None, markdown: Markdown = False) -> None:
    """List the methods, and what a search can be made of: every plug-in with a line, its paper, its row in the survey.

    A method's name shows the lines of configuration that it stands for.
    """
    from dashfx.config.methods import METHODS, find_method
    from dashfx.plugins import HOMES, known_of

    if kind is not None and method is not None:
        raise ConfigError(f"{kind!r} and --method {method} are two questions: leave one of them")
    if (name := method if kind is None else kind if kind in METHODS else None) is not None:
        render.text(method_tables.lines(name, find_method(name)))
        return
    kinds = [METHOD, *HOMES]
    if kind is not None and kind not in kinds:
        near = did_you_mean(kind, [*kinds, *METHODS])
        raise ConfigError(f"no kind or method {kind!r}{near}; the kinds are {', '.join(kinds)}")
    if markdown:
        render.text(page_of_methods() if kind == METHOD else page())
        return
    for each in [kind] if kind else kinds:
        render.show(method_tables.methods(METHODS) if each == METHOD else tables.methods(each, known_of(each)))


def page() -> str:
    """The page of all plug-ins."""
    from dashfx.plugins import HOMES

    return HEAD + survey.section() + "".join(_section(kind) for kind in HOMES)


def page_of_methods() -> str:
    """The page of all methods."""
    from dashfx.config.methods import METHODS

    head = ["| name | what it does | paper | it needs | what is not the paper's |", "| --- | --- | --- | --- | --- |"]
    cells = ((name, m.line, m.paper, m.needs, m.ours) for name, m in METHODS.items())
    rows = [f"| `{name}` | " + " | ".join(map(_cell, rest)) + " |" for name, *rest in cells]
    return "\n".join([METHODS_HEAD, *head, *rows, ""])


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
