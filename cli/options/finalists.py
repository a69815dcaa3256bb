"""Options of `search` and `retrain` on what is trained beside the searched model, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from dashfx.errors import ConfigError

COMPARED = "What the result is compared with"

Effort = Annotated[
    str | None,
    typer.Option(
        "--effort",
        help="quick (no choice, two trainings), default, or thorough (tuning, seeds and an average; some 25 trainings)",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
FinalistCount = Annotated[
    int | None,
    typer.Option(
        "--finalists",
        help="how many of the search's proposals are trained in full beside the controls",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        help="train each of the last models so often, and judge it by the mean",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        help="for few validation rows: judge each of the last models on so many splits of train and validation",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Longer = Annotated[
    bool | None,
    typer.Option(
        "--longer/--no-longer",
        help="also train the untouched model for as long as all that led to the searched one; by default where its "
        "usual training has not converged",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Wider = Annotated[
    list[str] | None,
    typer.Option(
        "--wider",
        help="also train a wider untouched model: width=12, or width for as many parameters as the searched one",
        metavar="NAME[=VALUE]",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Refit = Annotated[
    bool | None,
    typer.Option(
        "--refit",
        help="train the model that is kept once more, on train and validation together",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Ensemble = Annotated[
    int | None,
    typer.Option(
        help="also average so many of the best trained models, in one ONNX file",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Distil = Annotated[
    bool | None,
    typer.Option(
        "--distil",
        help="train the model once more on the ensemble's answers, and keep the better one on validation",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]


def wider_values(texts: Iterable[str]) -> dict[str, Any]:
    """The arguments of a wider model, one a text; a name alone is looked for.

    >>> wider_values(["width=12"]), wider_values(["width", "depth=20"])
    ({'width': 12}, {'width': 'auto', 'depth': 20})

    Raises:
        ConfigError: neither a name nor name=value.
    """
    from dashfx.config.files import parse_value

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name.isidentifier() or (equals and not value):
            raise ConfigError(f"--wider {text!r}: write a name or name=value, such as width=12")
        values[name] = parse_value(value) if equals else "auto"
    return values
