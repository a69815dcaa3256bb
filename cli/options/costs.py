"""Options on what models cost: where latency is measured, and the front of a search."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "How it is searched"

Widths = Annotated[
    bool | None,
    typer.Option(
        "--widths",
        help="also choose how many channels each layer keeps, under --max macs=0.5x or params=0.5x; without kernels to "
        "choose from, widths alone",
        rich_help_panel="What may be chosen",
        show_default=False,
    ),
]
LatencyThreads = Annotated[
    int | None,
    typer.Option(help="threads of ONNX Runtime that latency is measured with", min=1, rich_help_panel=PANEL),
]
LatencyProvider = Annotated[
    str | None,
    typer.Option(help="the execution provider that latency is measured on: cpu, cuda, ...", rich_help_panel=PANEL),
]
Pareto = Annotated[
    int | None,
    typer.Option(
        "--pareto",
        help="also show so many choices of the search, from the cheapest on, with what each is worth",
        min=2,
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
ParetoCost = Annotated[
    str | None,
    typer.Option(help="over which cost: params, macs, size or latency", rich_help_panel=PANEL),
]
ParetoFolders = Annotated[
    bool,
    typer.Option("--pareto-folders", help="retrain each of them, in RUN/front/1 and so on", rich_help_panel=PANEL),
]

# A verb's parameter -> the key of RunConfig that it sets.
KEYS = {
    "widths": "search.widths",
    "latency_threads": "search.latency_threads",
    "latency_provider": "search.latency_provider",
    "pareto": "search.pareto",
    "pareto_cost": "search.pareto_cost",
}
