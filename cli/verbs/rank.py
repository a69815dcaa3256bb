"""`dashfx rank`: models, or one model and a space, go in; how untrained proxies order them is shown and written."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.cli.proxy_input import proxy_input
from dashfx.cli.tables import rankings as ranking_tables
from dashfx.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from dashfx.genotype import Genotype
    from dashfx.proxy import Ranking
    from dashfx.proxy import Row as ModelRow
    from dashfx.run.known_networks import Build

SAMPLE = 64

Models = Annotated[
    list[str] | None,
    typer.Argument(help="file.py:Class, package.module:Class or timm:name", metavar="MODEL...", show_default=False),
]
Proxies = Annotated[str, typer.Option(help="gennas, combo, single, synflow, ... or gennas:TASK.json, apart by commas")]
Space = Annotated[str | None, typer.Option(help="rank random genotypes of the one MODEL: dash2d, dash1d or baby")]
Sample = Annotated[int, typer.Option(help="with --space: how many random genotypes", min=1)]
Truth = Annotated[
    Path | None,
    typer.Option(help="known results: a CSV of model and result, or a table of genotypes (JSON), which is then ranked"),
]
Column = Annotated[str | None, typer.Option(help="the column of the results; by default the last, or 'valid' in JSON")]
Csv = Annotated[Path | None, typer.Option("--csv", help="write the table", show_default=False)]
Plot = Annotated[Path | None, typer.Option(help="a PNG of scores against known results", show_default=False)]
Seed = Annotated[int, typer.Option(help="draws the weights, the rows, the noise and the sample")]


def rank(
    ctx: typer.Context,
    models: Models = None,
    data: options.Data = None,
    input: options.Input = None,
    proxies: Proxies = "gennas",
    space: Space = None,
    sample: Sample = SAMPLE,
    model_args: options.ModelArgs = None,
    batch_size: options.ProxyRows = 16,
    workers: options.Workers = 1,
    truth: Truth = None,
    column: Column = None,
    lower_is_better: options.LowerIsBetter = False,
    csv: Csv = None,
    plot: Plot = None,
    assignments: options.Assignments = None,
    seed: Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Order MODELs, or the kernels and dilations of one, without training them and without labels."""
    _check_places(csv, plot, truth)
    if not models:
        raise ConfigError(options.NO_MODEL)
    from dashfx.proxy import rank as rank_all
    from dashfx.proxy.named import load_proxy

    chosen = [load_proxy(name.strip(), seed) for name in proxies.split(",")]
    with render.progress(quiet) as observer:
        batch = proxy_input(ctx.params, batch_size)
        builds, genotypes, known = _to_rank(models, model_args, batch[0], space, sample, truth, column, seed)
        done = count(1)
        observer.stage("rank", f"{len(builds)} models")

        def told(row: ModelRow) -> None:
            observer.evaluated("rank", next(done), len(builds), None)

        found = rank_all(builds, batch, chosen, workers, seed, told)
    _show(found, chosen[0].name, genotypes)
    if known:
        render.show(ranking_tables.correlations(found.correlation(known, not lower_is_better, seed=seed)))
    if csv:
        csv.write_text(as_csv(found, genotypes), encoding="utf-8")
    if plot:
        draw(found, known, plot)


def _show(found: Ranking, by: str, genotypes: Mapping[str, Genotype]) -> None:
    render.show(*ranking_tables.ranking(found, by), *ranking_tables.notes(found))
    if genotypes:
        render.show(ranking_tables.fittest(found.order(by), genotypes))
    seconds = [row.seconds for row in found.rows]
    render.line(f"{median(seconds):.1f} seconds a model and process, at most {max(seconds):.1f}")


def _check_places(csv: Path | None, plot: Path | None, truth: Path | None) -> None:
    for option, path in (("--csv", csv), ("--plot", plot)):
        if path and not path.absolute().parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {path.absolute().parent}")
    if plot and plot.suffix != ".png":
        raise ConfigError(f"--plot {plot}: give a .png file")
    if plot and not truth:
        raise ConfigError("--plot needs --truth: known results to draw the scores against")


def _to_rank(
    models: list[str],
    model_args: list[str] | None,
    example: Tensor,
    space: str | None,
    sample: int,
    truth: Path | None,
    column: str | None,
    seed: int,
) -> tuple[Mapping[str, Build], Mapping[str, Genotype], Mapping[str, float]]:
    """What builds each model by name; the genotypes where one model's are ranked; known results."""
    from dashfx.blackbox.genotype_table import COLUMN, GenotypeTable
    from dashfx.frontend.model import build, load_model
    from dashfx.run.known_networks import builder, read_results, sampled, variants
    from dashfx.space import SearchSpace

    args = options.named_values(model_args or ())
    table = truth is not None and truth.suffix == ".json"
    if not (space or table):
        return {m: builder(m, args) for m in models}, {}, read_results(truth, column) if truth else {}
    if len(models) > 1:
        raise ConfigError("the genotypes of one model are ranked: give one MODEL, or no --space and no table")
    source, known = load_model(models[0], args), {}
    if table and truth:
        values = GenotypeTable.load(truth, column or COLUMN).values
        genotypes = {str(i + 1): genotype for i, genotype in enumerate(values)}
        known = {str(i + 1): value for i, value in enumerate(values.values())}
    else:
        genotypes = sampled(build(source, seed), example[:2], SearchSpace.preset(space or ""), sample, seed)
        known = read_results(truth, column) if truth else {}
    return variants(source, genotypes, example[:2], seed), genotypes, known


def as_csv(ranking: Ranking, genotypes: Mapping[str, Genotype]) -> str:
    """The ranking's own table, with a column for each site where genotypes were ranked."""
    if not genotypes:
        return ranking.to_csv()
    sites = list(next(iter(genotypes.values())))
    head, *rows = csv_format.reader(io.StringIO(ranking.to_csv()))
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow([head[0], *sites, *head[1:]])
    for row in rows:
        writer.writerow([row[0], *(str(genotypes[row[0]][site]) for site in sites), *row[1:]])
    return text.getvalue()


def draw(ranking: Ranking, known: Mapping[str, float], out: Path) -> None:
    """A panel a proxy: its score, turned so that right is better, against the known result."""
    from matplotlib.figure import Figure

    columns = max(1, min(3, len(ranking.proxies)))
    rows = -(-len(ranking.proxies) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in list(panels)[len(ranking.proxies) :]:
        axes.set_visible(False)
    for axes, proxy in zip(panels, ranking.proxies, strict=False):
        scores = {name: score for name, score in ranking.better(proxy).items() if name in known}
        axes.plot(list(scores.values()), [known[name] for name in scores], "o", markersize=3, alpha=0.7)
        axes.set_xlabel(proxy if ranking.maximise[proxy] else f"- {proxy}")
        axes.set_ylabel("known result")
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=150)
