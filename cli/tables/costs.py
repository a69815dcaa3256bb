"""Tables of costs: the front of a search, its choices after a retraining each, and a run's own time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.cli.tables.shared import short, table

if TYPE_CHECKING:
    from torch import nn

    from dashfx.config.run import RunConfig
    from dashfx.cost.ceiling.rule import Held
    from dashfx.genotype import Genotype
    from dashfx.run.outcome.account import Account
    from dashfx.run.outcome.front import Front
    from dashfx.run.result import Result

ROOMY = 4  # kinds of time whose columns stand in 80 columns as they are


def widths(genotype: Genotype) -> Table:
    """Of each layer that became narrower, how many channels it keeps."""
    made = table("widths", "layer", "channels", "kept", numbers=("channels", "kept"))
    for name, width in genotype.widths.items():
        made.add_row(name, str(width.of), str(len(width.channels)))
    return made


def front(found: Front, metric: str) -> Table:
    """Choices from the cheapest on, with what each costs and is worth untrained."""
    untrained = f"{metric}, untrained"
    made = table(
        f"front over {found.cost}", found.cost, untrained, "kernel and dilation", numbers=(found.cost, untrained)
    )
    for each in found.points:
        made.add_row(each.said, f"{each.valid:.4g}", each.genotype.listed)
    return made


def ceiling(found: Held) -> Table:
    """Where the ceiling acts: the weights of each conv's options over its own, by the whole space and now.

    Convs of which all this is the same share a row.
    """
    from dashfx.cost.ceiling.supernet import own_weights  # with torch, for which help would wait

    numbers = ("params", "options", "now", "left")
    made = table("options under the ceiling", "convs", *numbers, "what they are", numbers=numbers)
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, offer in found.offers.items():
        if offer.why:
            kinds = Counter(choice.family for choice in offer.now)
            times = (f"{offer.times(choices):.3g}x" for choices in (offer.space, offer.now))
            row = short(own_weights(offer.site)), *times, f"{len(offer.now)} of {len(offer.space)}"
            said = ", ".join(f"{count} {family}" for family, count in kinds.items())
            rows.setdefault((*row, said), []).append(name)
    for row, names in rows.items():
        made.add_row(", ".join(names), *row)
    return made


def retrained(results: Sequence[Result], found: Front, metric: str) -> Table:
    """The same choices after a retraining each, with the folder of each."""
    head = ("folder", found.cost, f"{metric}, validation", f"{metric}, test")
    made = table("front, retrained", *head, numbers=head[1:])
    for result, point in zip(results, found.points, strict=True):
        made.add_row(str(result.folder), point.said, f"{result.valid:.4g}", f"{result.test:.4g}")
    return made


def retrain_front(result: Result, folder: Path, settings: RunConfig, resume: bool, quiet: bool) -> list[Result]:
    """A run's folder for each choice of the front, in `front/1` and so on; those that are there already are resumed."""
    from dashfx.pipeline import retrain_genotype
    from dashfx.stages.costs.points import retrained_points

    network, source = options.given(settings.model, options.NO_MODEL), options.given(settings.data, options.NO_DATA)
    assert result.front is not None  # the caller has seen one
    with render.progress(quiet) as progress:

        def retrain(choice: Genotype, start: nn.Module | None, config: RunConfig, out: Path, again: bool) -> Result:
            return retrain_genotype(
                network, source, choice, start=start, out=out, config=config, observer=progress, resume=again
            )

        return retrained_points(folder, result.front, retrain, resume)


def account(found: Account) -> Table:
    """Where a run's wall time went, in seconds: a row for stages of one kind, the longest first."""
    many = len(found.kinds) > ROOMY
    numbers = (*(_stacked(kind) if many else kind for kind in found.kinds), "in all")
    made = table("where the time went, in seconds", "stage", *numbers, numbers=numbers)
    if many:  # all kinds have to stand beside the stage's whole name in 80 columns
        made.padding = 0
    for name in sorted(found.rows, key=found.of, reverse=True):
        made.add_row(name, *(_part(found.rows[name].get(kind, 0.0)) for kind in found.kinds), _part(found.of(name)))
    made.add_section()
    made.add_row("in all", *(_part(found.kind(kind)) for kind in found.kinds), _part(found.total), style="bold")
    return made


def _stacked(kind: str) -> str:
    """A long heading in two lines: `valida-` over `tion`."""
    return kind if len(kind) < 10 else f"{kind[:-4]}-\n{kind[-4:]}"


def _part(seconds: float) -> str:
    from dashfx.run.outcome.account import SHOWN  # its room imports torch, which help need not wait for

    return f"{seconds:.1f}" if seconds >= SHOWN else ""
