"""Ladder of spans: a strategy that proposes a few uniform choices by rule, from the own kernels' span upwards.

Trainings tell which of them is the best; nothing is learned before. Where kernels matter at all, the mean span of a
network explains most of what a choice gains, so a handful of spans covers what thousands of genotypes hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median_low
from typing import Annotated, Literal

from pydantic import Field

from dashfx.config.run import RunConfig
from dashfx.cost.base import Choices, site_of
from dashfx.cost.budgets import Limits
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.space import BESIDE, DENSE, Candidate, Shared
from dashfx.strategies.base import Context, Strategy

TAPS = 7.0  # times the own kernel's: the most that a rung has, so that rungs of two and three axes are smaller
STEP = 5 / 3  # in taps from one dense rung to the next, at least
CLIMB = 3.0  # in span from one dilated rung to the next, at least
SHARE = 0.25  # of the input: the span of the widest of several dilated rungs

Known = Mapping[str, Mapping[Candidate, Candidate]]  # site -> rung -> that rung as a candidate there


@dataclass(frozen=True)
class Ladder(Strategy):
    """One option for all searched convs, out of a few rungs that follow from the space and the input's size by rule.

    1. Dense rungs: the largest kernel without dilation that has at most 7 times the taps of the own kernel, then, going
       down, the next of at most 3/5 of the taps of the one before, as long as it spans more than the own kernel. Own
       taps and span are the median over the sites.
    2. Dilated rungs: what spans nearest to the largest dense rung, then, for long inputs, each time the next that spans
       at least 3 times as much, up to a quarter of the input. Of equal spans the one with the most taps.
    3. Rungs of several scales: the output channels of each conv shared by its own kernel and the two widest dense rungs
       (MixConv, Tan and Le, BMVC 2019), and the sum of its own kernel and the first dilated rung.
    4. At a site where a rung is none of the candidates that are left, or spans more than the input there, the widest
       narrower rung takes its place, or else the own kernel. Factorised convs stay so, as the space has it. Convs of
       the user's own classes, and those with fewer channels or groups than parts, have fewer parts or one.
    5. Where a trained model grows (`search.init=grow`) a rung counts at a site only if it has all taps of the own
       kernel there, or is added to it, so that each proposal starts with the model's own output.
    6. At a wide site a rung is the branch of its size beside the own kernel, where the space has that instead of the
       dense kernel. Candidates of other families are left out, with a note.
    7. What exceeds a budget leaves, and so does what changes nothing or repeats an earlier proposal.

    The proposals come in this order: shared channels, dense rungs from the widest to the narrowest, dilated ones from
    the narrowest to the widest, the sum; with `by=stage` after them, in the same order, each in one stage alone.

    Args:
        by: "network" for one option everywhere, or "stage" to add those that change one stage and leave the others: the
            sites whose input has one resolution.
        multiscale: whether rule 3 holds.
        most: at most so many proposals, the first ones; 0 for all.
        strict: whether a ladder without any is an error, or else the untouched model's.
    """

    by: Literal["network", "stage"] = "network"
    multiscale: bool = True
    most: Annotated[int, Field(ge=0)] = 0
    strict: bool = True

    def check(self, config: RunConfig) -> None:
        if config.search.tie != "none":
            raise ConfigError(
                f"search.tie={config.search.tie} ties mixtures, of which a ladder trains none: leave it out, or search "
                "by --strategy dash; ladder:by=stage gives each stage an option of its own"
            )

    def plan(self, config: RunConfig) -> str:
        return f"{config.search.strategy}: rungs by rule, nothing is trained"

    @property
    def proposed(self) -> int:
        """As usual for 1-D networks and images; how many there are is known when the sites are."""
        return self.most or (5 if self.multiscale else 3)

    def search(self, context: Context) -> Genotype:
        return self.proposals(context)[0]

    def proposals(self, context: Context) -> tuple[Genotype, ...]:
        others = {c.family for site in context.sites.values() for c in site.candidates} - {DENSE, BESIDE}
        if others:
            context.note(f"ladder: its rungs are dense kernels; {', '.join(sorted(others))} are left out")
        found = self._within(context.sites, context.limits, context.config)
        context.note(
            f"ladder: {len(found)} rung{'s' if len(found) != 1 else ''}: {', '.join(_name(each) for each in found)}"
        )
        return found

    def beside(self, sites: Mapping[str, AggConv], config: RunConfig) -> Choices:
        found = self._steps(sites, config).genotypes(self.by)
        shared = [(name, choice) for each in found for name, choice in each.items() if len(choice.parts) > 1]
        return {name: [choice for at, choice in dict.fromkeys(shared) if at == name] for name, _ in shared}

    def require(self, sites: Mapping[str, AggConv], limits: Limits | None, config: RunConfig) -> None:
        self._within(sites, limits, config)

    def _steps(self, sites: Mapping[str, AggConv], config: RunConfig) -> Steps:
        return Steps(sites, config.search.init == "grow", self.multiscale)

    def _within(self, sites: Mapping[str, AggConv], limits: Limits | None, config: RunConfig) -> tuple[Genotype, ...]:
        """All that fit.

        Raises:
            ConfigError: nothing does.
        """
        steps = self._steps(sites, config)
        found = tuple(dict.fromkeys(each for each in steps.genotypes(self.by) if not steps.is_untouched(each)))
        if not found and not self.strict:
            return (Genotype({name: site.original for name, site in sites.items()}, "ladder: nothing fits"),)
        if not found:
            raise ConfigError(
                "a ladder without rungs that fit: no candidate of the space is wider than the own kernels"
                + (", has all their taps" if steps.grows else "")
                + " and fits the input; give larger kernels (--kernels) or another --strategy"
            )
        held = tuple(each for each in found if limits is None or limits.held(each))
        if not held:
            raise ConfigError(
                f"a ladder without rungs that fit: none of {', '.join(_name(each) for each in found)} holds {limits}; "
                "allow more, give smaller kernels (--kernels) or another --strategy"
            )
        return held[: self.most or None]


@dataclass(frozen=True)
class Step:
    """A proposal for all sites.

    Attributes:
        text: what it is called.
        choices: of every site, what stands in for it included.
        stands: the sites that have the thing itself.
    """

    text: str
    choices: Mapping[str, Candidate]
    stands: frozenset[str]


class Steps:
    """The rungs of one model's sites.

    Args:
        grows: whether rungs have to hold the own kernels' taps.
        multiscale: whether there are some of several kernels.
    """

    def __init__(self, sites: Mapping[str, AggConv], grows: bool = False, multiscale: bool = True) -> None:
        self.grows, self._multiscale, self._convs = grows, multiscale, sites
        self._own = {name: site.original for name, site in sites.items()}
        self._alive = {name: _alive(site, False) for name, site in sites.items()}  # of each site, by rung
        self._left = {name: _alive(site, grows) for name, site in sites.items()}
        self._sizes = {name: site_of(site).input_size for name, site in sites.items()}
        self._axes = max((sum(_wide(own)) for own in self._own.values()), default=1)
        self.rungs = self._rungs() if sites else ()

    def is_untouched(self, genotype: Genotype) -> bool:
        return all(genotype[name] == own for name, own in self._own.items())

    def genotypes(self, by: str) -> Iterator[Genotype]:
        """What the ladder proposes, in its order; some may be equal."""
        steps = [step for step in self._steps() if step.stands]
        for step in steps:
            yield Genotype(step.choices, f"ladder: {step.text}")
        stages = list(dict.fromkeys(self._sizes.values())) if by == "stage" else []
        for step in steps if len(stages) > 1 else ():
            for number, size in enumerate(stages, 1):
                inside = {name: step.choices[name] for name in self._own if self._sizes[name] == size}
                if step.stands & inside.keys():
                    yield Genotype(self._own | inside, f"ladder: {step.text} in stage {number}")

    def _steps(self) -> Iterator[Step]:
        dense = [rung for rung in self.rungs if set(rung.dilation) == {1}]
        dilated = self.rungs[len(dense) :]
        if self._multiscale and dense:
            parts = dense[1::-1]  # the two widest, the narrower one first
            yield self._shared(f"own | {' | '.join(map(str, parts))} by channels", parts, "channels")
        yield from map(self._uniform, self.rungs)
        if self._multiscale and dilated:
            yield self._shared(f"own + {dilated[0]}", dilated[:1], "sum")

    def _uniform(self, rung: Candidate) -> Step:
        narrower = sorted((each for each in self.rungs if self._span(each) < self._span(rung)), key=self._height)
        order = [rung, *reversed(narrower)]
        choices = {name: next(self._fitting(self._left, name, order), own) for name, own in self._own.items()}
        stands = frozenset(name for name in self._own if any(True for _ in self._fitting(self._left, name, [rung])))
        return Step(str(rung), choices, stands)

    def _shared(self, text: str, rungs: Sequence[Candidate], how: Literal["channels", "sum"]) -> Step:
        known = self._alive if how == "sum" else self._left  # what is added to the own kernel starts at zero
        choices = {}
        for name, own in self._own.items():
            parts = list(dict.fromkeys([own, *self._fitting(known, name, rungs)]))
            if how == "channels":
                parts = [own, *parts[1:][-(self._units(name) - 1) :]] if self._units(name) > 1 else [own]
            shareable = self._convs[name].shareable and len(parts) > 1
            choices[name] = Shared(parts, how) if shareable else own
        return Step(text, choices, frozenset(name for name, choice in choices.items() if len(choice.parts) > 1))

    def _units(self, name: str) -> int:
        """What parts can share: groups, or output channels."""
        conv = self._convs[name]
        return conv.groups if conv.groups > 1 else conv.out_channels

    def _fitting(self, known: Known, name: str, rungs: Sequence[Candidate]) -> Iterator[Candidate]:
        """What the site has of these rungs, in their order."""
        for rung in rungs:
            found = known[name].get(rung)
            if found and all(s <= n for s, n in zip(found.span, self._sizes[name], strict=True)):
                yield found

    def _rungs(self) -> tuple[Candidate, ...]:
        """Dense ones from the widest down, then dilated ones from the narrowest up."""
        own_taps = median_low(own.taps for own in self._own.values())
        own_span = median_low(max(own.span) for own in self._own.values())
        known = {rung for name, left in self._alive.items() for rung, c in left.items() if c != self._own[name]}
        allowed = sorted((c for c in known if self._taps(c) <= TAPS * own_taps), key=self._height)
        dense: list[Candidate] = []
        for rung in reversed([c for c in allowed if set(c.dilation) == {1} and self._span(c) > own_span]):
            if not dense or STEP * self._taps(rung) <= self._taps(dense[-1]):
                dense.append(rung)
        wide = [c for c in allowed if set(c.dilation) != {1} and self._span(c) > own_span]
        return (*dense, *self._dilated(wide, self._span(dense[0]) if dense else own_span))

    def _dilated(self, wide: Sequence[Candidate], aim: int) -> Iterator[Candidate]:
        if not wide:
            return
        rung = min(wide, key=lambda c: (abs(log(self._span(c) / aim)), -self._taps(c)))
        most = SHARE * max(max(size) for size in self._sizes.values())
        while True:
            yield rung
            least = CLIMB * self._span(rung)
            further = [c for c in wide if least <= self._span(c) <= most]
            if not further:
                return
            rung = min(further, key=lambda c: (self._span(c), -self._taps(c)))

    def _span(self, rung: Candidate) -> int:
        return max(rung.span)

    def _taps(self, rung: Candidate) -> int:
        return rung.taps if rung.ndim > 1 else rung.taps**self._axes

    def _height(self, rung: Candidate) -> tuple[int, int, str]:
        return self._span(rung), self._taps(rung), str(rung)


def _alive(site: AggConv, grows: bool) -> dict[Candidate, Candidate]:
    """The candidates of a site that are left, by the rung that each is; where it grows, those it can grow to."""
    holds = site.covers() if grows else [True] * len(site.candidates)
    rows = zip(site.candidates, site.mask.tolist(), holds, strict=True)
    return {_rung(c, site.original): c for c, alive, whole in rows if alive and whole and c.family in (DENSE, BESIDE)}


def _rung(candidate: Candidate, own: Candidate) -> Candidate:
    """A candidate in terms that hold at every site: of one axis where all axes agree on which the own kernel is wide.

    >>> str(_rung(Candidate((1, 11), (1, 2)), Candidate((1, 7)))), str(_rung(Candidate((3, 5)), Candidate((3, 3))))
    ('k11 d2', 'k3x5 d1')
    """
    axes = list(zip(candidate.kernel, candidate.dilation, _wide(own), strict=True))
    wide, narrow = {(k, d) for k, d, w in axes if w}, {(k, d) for k, d, w in axes if not w}
    if len(wide) > 1 or not narrow <= {(1, 1)}:
        return candidate
    (kernel, dilation), *_ = wide
    return Candidate(kernel, dilation)


def _wide(own: Candidate) -> list[bool]:
    return [k > 1 for k in own.kernel]


def _name(genotype: Genotype) -> str:
    return genotype.rule.removeprefix("ladder: ")
