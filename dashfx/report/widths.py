"""Widths of the searched model, a part of the report: how many channels each layer keeps."""

from __future__ import annotations

from dashfx.drawing.html import Html, section, table, tag
from dashfx.run.result import Result


def widths(result: Result) -> Html:
    """A row a layer that became narrower; nothing where no widths were chosen."""
    if not result.chosen.widths:
        return Html("")
    text = (
        "How many of its channels each layer keeps; channels of tensors that are added or multiplied are the same "
        "ones, so that a residual stream has one row, by the first layer that gives its channels. Layers that are not "
        "here keep all of theirs. What the whole model costs beside the untouched one stands under Models."
    )
    rows = [
        (name, width.of, len(width.channels), f"{len(width.channels) / width.of:.0%}")
        for name, width in result.chosen.widths.items()
    ]
    return section("Widths", tag("p", text, class_="soft"), table(rows, ("layer", "channels", "kept", "share")))
