"""Agreement of a run's searches, a part of the report: what each seed chose, how clearly, and what chance would do."""

from __future__ import annotations

from dashfx.drawing.html import Html, section, table, tag
from dashfx.strategies.agreement import Agreement, Decided

SHOWN = 4  # sites of a decision that are named


def agreement(found: Agreement | None) -> Html:
    """A row a decision; nothing where one search without ties was run."""
    if found is None:
        return Html("")
    sentence = found.sentence[0].upper() + found.sentence[1:] + "." if found.seeds > 1 else ""
    text = (
        f"{sentence} Behind each choice its coefficient in the mixture when the search ended: near 1 it was decided, "
        "near 1 over the number of candidates it was not."
    )
    seeds = [f"search {number + 1}" for number in range(found.seeds)] if found.seeds > 1 else ["choice"]
    rows = [_row(each, found.seeds > 1) for each in found.decisions]
    head = ("decision", "candidates", *seeds, *(["alike"] if found.seeds > 1 else []))
    title = "Agreement of the searches" if found.seeds > 1 else "Tied decisions"
    return section(title, tag("p", text.strip(), class_="soft"), table(rows, head))


def _row(each: Decided, many: bool) -> tuple[object, ...]:
    names = ", ".join(each.sites[:SHOWN]) + (f" and {len(each.sites) - SHOWN} more" if len(each.sites) > SHOWN else "")
    pairs = zip(each.choices, each.coefficients, strict=True)
    cells = [choice if share is None else f"{choice} ({share:.2f})" for choice, share in pairs]
    return (names, each.candidates, *cells, *([("yes" if each.agreed else "no")] if many else []))
