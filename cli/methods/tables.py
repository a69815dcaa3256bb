"""Tables of methods: what each does and needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dashfx.config.methods import Method


def methods(known: Mapping[str, Method]) -> Table:
    """Every method: name, what it does, where it was published and what it needs."""
    table = Table(title="method", box=box.SIMPLE, title_justify="left")
    for column in ("name", "what it does"):
        table.add_column(column)
    for name, each in known.items():
        needs = f"needs {each.needs}" if each.needs else ""
        table.add_row(name, Text("\n".join(filter(None, (each.line, each.paper, needs)))))
    return table


def lines(name: str, method: Method) -> str:
    """A method as the lines of a configuration that it stands for, with what is to know of it as comments."""
    said = (method.line, method.paper, method.needs and f"needs {method.needs}", method.ours and f"ours: {method.ours}")
    head = f"# {name}: " + "\n# ".join(filter(None, said))
    return f"{head}\n{method.to_yaml()}"
