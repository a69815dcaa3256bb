"""`dashfx search-task`: networks of known quality go in; the proxy task that orders them best is written as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.options import shared as options
from dashfx.cli.proxy_input import proxy_input
from dashfx.cli.tables import rankings as ranking_tables
from dashfx.errors import ConfigError

KnownNetworks = Annotated[
    Path,
    typer.Argument(help="a CSV of model and result, or a folder of runs", metavar="KNOWN", show_default=False),
]
Out = Annotated[Path, typer.Option(help="the task, for --proxies gennas:TASK.json; its history lies beside it")]
Resume = Annotated[bool, typer.Option("--resume", help="continue the history beside --out")]
Evaluations = Annotated[int, typer.Option(help="tasks tried: the population and its children", min=1)]
Population = Annotated[int, typer.Option(help="members; the oldest leaves for each child", min=1)]
Tournament = Annotated[int, typer.Option(help="members drawn, of which the fittest has the child", min=1)]
HeldOut = Annotated[float, typer.Option(help="the share of the known results that only judge the task found")]
Iterations = Annotated[int, typer.Option(help="training steps of each regression", min=1)]
Column = Annotated[str | None, typer.Option(help="the column of the results; by default the last")]
Seed = Annotated[int, typer.Option(help="draws the weights, the rows, the tasks and the pairs held out")]


def search_task(
    ctx: typer.Context,
    known: KnownNetworks,
    data: options.Data = None,
    input: options.Input = None,
    out: Out = Path("task.json"),
    resume: Resume = False,
    evaluations: Evaluations = 450,
    population: Population = 50,
    tournament: Tournament = 10,
    held_out: HeldOut = 0.3,
    iterations: Iterations = 100,
    batch_size: options.ProxyRows = 16,
    workers: options.Workers = 1,
    column: Column = None,
    lower_is_better: options.LowerIsBetter = False,
    assignments: options.Assignments = None,
    seed: Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Find the GenNAS task that orders KNOWN networks best: about twenty models with a measured result each."""
    history = out.with_suffix(".jsonl")
    _check_out(out, history, resume)
    how = f"continue with the same command and --resume; the history is {history}"
    with render.progress(quiet) as observer, interruptible(how):
        from dashfx.blackbox.base import best_of
        from dashfx.proxy.gennas.task_search import Options, search_task
        from dashfx.run.known_networks import known_models

        batch = proxy_input(ctx.params, batch_size)
        pairs = known_models(known, batch[0], column, not lower_is_better)
        settings = Options(evaluations, population, tournament, held_out, iterations, seed, workers)
        observer.stage("search-task", f"{len(pairs.models)} known results, {evaluations} tasks")
        rows: list[Any] = []

        def told(row: Any) -> None:
            rows.append(row)
            observer.evaluated("search-task", len(rows), evaluations, best_of(rows).value)

        found = search_task(pairs, batch, settings, history, told)
        observer.stage_done("search-task", sum(row.seconds for row in found.rows))
    out.write_text(found.to_json(), encoding="utf-8")
    if not quiet:
        judged = {"the task found": found.held_out, "combo": found.combo}
        render.show(ranking_tables.correlations(judged, "on held-out results"))
        render.line(f"rho {found.rho:.3f} on the results it was searched with; task: {out}")


def _check_out(out: Path, history: Path, resume: bool) -> None:
    if out.suffix != ".json" or not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: give a .json file in a folder that exists")
    if resume and not history.is_file():
        raise ConfigError(f"--resume: there is no {history} to continue")
    if not resume and (history.exists() or out.exists()):
        raise ConfigError(f"--out {out}: it or its history {history} exists; give another name, or --resume")
