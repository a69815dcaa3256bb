"""Text and finished HTML go in; HTML elements, and one page that needs no other file, come out."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Html(str):
    """Finished HTML. Every other string is text and is escaped on its way into the page."""


def as_html(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; a trailing underscore of an attribute's name is dropped (`class_`)."""
    facts = "".join(f' {key.rstrip("_")}="{as_html(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{facts}>{''.join(map(as_html, children))}</{name}>")


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Html:
    """A table whose first column names its rows; a wide one scrolls by itself instead of widening the page."""
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))) if head else Html("")
    labels = [{"data-label": str(name)} for name in head[1:]]
    body = []
    for first, *rest in rows:
        cells = zip(rest, labels or [{}] * len(rest), strict=False)
        body.append(tag("tr", tag("th", first, scope="row"), *(tag("td", cell, **label) for cell, label in cells)))
    return tag("div", tag("table", top, tag("tbody", *body)), class_="wide")


def items(lines: Iterable[object], **attributes: object) -> Html:
    return tag("ul", *(tag("li", line) for line in lines), **attributes)


def section(title: str, *children: object) -> Html:
    return tag("section", tag("h2", title), *children)


def page(title: str, children: Iterable[object]) -> str:
    """The whole document."""
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{phone}{tag("title", title)}'
    style, body = Html(CSS + "\n".join(MARKS)), tag("main", *children)
    return f'<!doctype html>\n<html lang="en"><head>{head}\n{tag("style", style)}</head>\n<body>{body}</body></html>\n'


def snippet(*children: object) -> str:
    """A piece for a notebook, with the style that its drawings need; it takes the notebook's own text colour."""
    rules = ("{ --hole: #8882; --line: #8886; --soft: #7b8794; --accent: #3b82f6; }", *MARKS)
    style = tag("style", Html("\n".join(f".dashfx {rule}" for rule in rules)))
    return tag("div", style, *children, class_="dashfx")


MARKS = (  # of the taps of a kernel
    ".span { fill: var(--hole); stroke: var(--line); stroke-width: .5; }",
    ".own { fill: var(--soft); }",
    ".chosen { fill: var(--accent); }",
)

# Figures take the page's text colour (`currentColor`) and have no background, so that one drawing serves both schemes.
CSS = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1c2530; --soft: #5b6775; --line: #d9dee5;
  --accent: #2563eb; --warn: #b45309; --hole: #e6eaf0; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12161c; --card: #1b2129; --text: #e4e8ee; --soft: #9aa6b4; --line: #333d49; --accent: #60a5fa;
    --warn: #fbbf24; --hole: #2c3540; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 8px 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 12px; }
h3 { font-size: .95rem; margin: 0 0 6px; line-height: 1.3; overflow-wrap: anywhere; }
p { margin: 0 0 12px; }
ul { margin: 0; padding-left: 1.2em; }
li { overflow-wrap: anywhere; }
.soft, caption, figcaption { color: var(--soft); font-size: .875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 16px 0; }
* + h3 { margin-top: 12px; }
.warnings li { margin-bottom: 6px; }
.warnings { border-left: 4px solid var(--warn); padding: 0 0 0 24px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 12px 0; }
.fact b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 12px;
  margin-bottom: 12px; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 12px; }
.pair { display: flex; flex-wrap: wrap; gap: 12px 20px; margin-bottom: 6px; }
.pair figure.line { flex: 1 1 100%; }
figure { margin: 0; min-width: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 20px; }
svg { display: block; max-width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.figures svg { width: 100%; max-width: 520px; }
.network { margin: 0 auto; } .network text { font-size: 12px; fill: var(--text); }
.network .faint { font-size: 10.5px; fill: var(--soft); } .wire { fill: none; stroke: var(--soft); stroke-width: 1.2; }
.end { fill: var(--text); } .alone { fill: var(--card); stroke: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
tbody th { font-weight: 500; min-width: 7em; }
.bars th, .bars td, .numbers th, .numbers td { white-space: nowrap; }
.matrix th, .matrix td { white-space: nowrap; min-width: 0; padding-right: 10px; }
@media (max-width: 560px) {  /* a row of numbers becomes a block, so that none is cut off */
  .numbers thead { display: none; }
  .numbers tr { display: block; border-bottom: 1px solid var(--line); padding: 6px 0; }
  .numbers th, .numbers td { display: block; border: 0; padding: 1px 0; white-space: normal; }
  .numbers td[data-label]:not(:empty)::before { content: attr(data-label) ": "; color: var(--soft); }
}
.bars td:last-child { width: 40%; }
.bar { display: block; height: 10px; margin-top: 6px; border-radius: 2px; background: var(--accent); min-width: 1px; }
pre { overflow-x: auto; font-size: .8rem; margin: 0; }
summary { cursor: pointer; }
"""
