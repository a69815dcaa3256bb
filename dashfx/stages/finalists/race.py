"""Race of a search's proposals: low rungs of short trainings, from which few go on to a full one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashfx.genotype import Genotype
from dashfx.run.result import Short
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.finalists.base import Finalist, Start, Trained
from dashfx.stages.finalists.lengths import RACE, Rung, rungs, with_epochs
from dashfx.stages.finalists.training import train_finalists
from dashfx.stages.retrain import epochs_of


@dataclass(frozen=True)
class Race:
    """What the low rungs have left.

    Attributes:
        names: of the proposals that are trained in full, the best first.
        short: every training of a low rung, in order.
        work: of these trainings, in multiply-adds.
    """

    names: Mapping[str, Genotype]
    short: tuple[Short, ...] = ()
    work: float = 0.0

    @property
    def first(self) -> Genotype:
        return next(iter(self.names.values()))


def raced(run: Run, proposals: Sequence[Genotype], sites: Mapping[str, Site], start: Start) -> Race:
    """The proposals that are trained in full: `finalists.count` of them, the best first.

    1. Equal ones are one. One that is the untouched model is left out where this is trained as a control and others
       are left.
    2. No more than `finalists.count`: they go on as they came, the likeliest first, and nothing is trained.
    3. Else each low rung (`lengths.rungs`) trains all that are left with a complete short schedule and keeps the best
       by validation loss, which tells more than the metric after a short training; of equals the likelier one.

    The untouched model, wider or not, and a random choice are no entrants: they reach the last rung in any case, so a
    low rung would decide nothing about them.
    """
    left = distinct(run, proposals, sites)
    short, work = list[Short](), 0.0
    for rung in rungs(run.config, epochs_of(run), len(left)):
        done = train_finalists(run, entrants(run, rung, left), start, trainings=1)
        left, work = best_by_loss(done, rung.kept), work + sum(each.work for each in done)
        short += [_short(each, rung, each.finalist.name in left) for each in done]
        run.note(f"{RACE}-{rung.number}: {told(done, left)}")
    return Race({name: run.session.agree(genotype) for name, genotype in left.items()}, tuple(short), work)


def _short(each: Trained, rung: Rung, goes_on: bool) -> Short:
    return Short(each.finalist.name, each.finalist.stage, rung.epochs, each.loss, each.valid, goes_on)


def distinct(run: Run, proposals: Sequence[Genotype], sites: Mapping[str, Site]) -> dict[str, Genotype]:
    """Name -> proposal, without equal ones, the likeliest first."""
    found = list(dict.fromkeys(proposals))
    own = {name: sites[name].original for name in found[0] if name in sites}
    others = [each for each in found if each != own]
    if run.config.control and not run.strategy.is_control and others and len(others) < len(found):
        run.note("one proposal of the search is the untouched model, which is trained as the control")
        found = others
    return {run.strategy.origin: found[0]} if len(found) == 1 else named(found)


def named(proposals: Sequence[Genotype]) -> dict[str, Genotype]:
    """Each by what its strategy calls it, else by the one choice of all its sites, or by its number.

    >>> from dashfx.space import Candidate
    >>> k3, k7 = Candidate(3), Candidate(7)
    >>> list(named([Genotype({"a": k7, "b": k7}), Genotype({"a": k7, "b": k3})]))
    ['k7 d1', 'proposal 2']
    >>> list(named([Genotype({"a": k7}, "ladder: k7 d1"), Genotype({"a": k3}, "ladder: own")]))
    ['k7 d1', 'own']
    """
    found: dict[str, Genotype] = {}
    for number, genotype in enumerate(proposals, 1):
        choices = set(map(str, genotype.values()))
        called = genotype.rule.partition(": ")[2]
        name = called or (choices.pop() if len(choices) == 1 else f"proposal {number}")
        found[name if name not in found else f"{name}, proposal {number}"] = genotype
    return found


def entrants(run: Run, rung: Rung, left: Mapping[str, Genotype]) -> list[Finalist]:
    """What a rung trains."""
    recipe, origin = with_epochs(run.config, rung.epochs), run.strategy.origin
    what = f"rung {rung.number}, {run.config.retrain.weights} weights"
    return [
        Finalist(name, origin, genotype, recipe, f"{RACE}-{rung.number}-{file_name(name)}", f"{name}, {what}")
        for name, genotype in left.items()
    ]


def file_name(name: str) -> str:
    """A name that may stand in the name of a checkpoint.

    >>> file_name("k3 d1 | k7/3 d1")
    'k3 d1 - k7-3 d1'
    """
    return re.sub(r"[^\w.,+ =-]", "-", name)


def best_by_loss(done: Sequence[Trained], kept: int) -> dict[str, Genotype]:
    """The best of a rung, best first; what diverged, or has no loss, comes last."""
    ordered = sorted(done, key=lambda each: math.inf if math.isnan(each.loss) else each.loss)
    alive = [each for each in ordered if each.model is not None]
    return {each.finalist.name: each.finalist.genotype for each in alive[:kept]}


def told(done: Sequence[Trained], left: Mapping[str, Genotype]) -> str:
    """A rung in a line."""
    losses = ", ".join(f"{each.finalist.name} {each.loss:.4g}" for each in done)
    return f"validation loss {losses}; {' and '.join(left)} {'goes' if len(left) == 1 else 'go'} on"
