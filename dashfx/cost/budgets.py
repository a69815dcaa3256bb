"""Budgets: texts such as `latency=2ms` go in; limits on costs that a genotype holds or misses come out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dashfx.cost import precision
from dashfx.cost.base import Choices, TotalCost
from dashfx.cost.named import TOTALS
from dashfx.cost.precision import UNKNOWN, Drops, Groups, Scores
from dashfx.cost.select import nearest, pareto, select_under
from dashfx.errors import ConfigError, did_you_mean
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.plugins import find, name_of
from dashfx.space import Candidate

ROUNDING = 1e-6  # of a limit, which a solver's answer may miss
TRIES = 8  # choices that are measured
LEAST_STEP = 0.005  # of a cost: how much less a choice has to cost than one that was measured to cost too much
Measure = Callable[[Mapping[str, Candidate]], Sequence[float]]  # a choice -> its model's cost under each limit


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost.

    Attributes:
        limit: in the cost's unit, or with `share` in costs of the untouched model.
        text: as it was given.
    """

    cost: TotalCost
    limit: float
    share: bool = False
    text: str = ""


def read_budget(text: str, **defaults: Any) -> Budget:
    """The budget that a text names.

    Args:
        defaults: arguments for costs that take them, such as `threads`.

    Raises:
        ConfigError: no such cost, or a limit in another unit.
    """
    name, equals, limit = text.strip().rpartition("=")
    name, limit = name.strip(), limit.strip()
    if not equals or not name:
        raise ConfigError(f"budget {text!r}: write COST=LIMIT, for example --max latency=2ms or --max params=0.7x")
    if ":" not in name and name not in TOTALS:
        near = did_you_mean(name, TOTALS)
        raise ConfigError(f"budget {text!r}: no cost {name!r}{near} has a limit; there are {', '.join(TOTALS)}")
    cost = find("cost", name, **defaults)
    if not isinstance(cost, TotalCost):
        raise ConfigError(f"budget {text!r}: {name} is no dashfx.cost.base.TotalCost, so a network has no total of it")
    share = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)x", limit)
    if share and float(share[1]) > 0:
        return Budget(cost, float(share[1]), True, text)
    try:
        return Budget(cost, cost.read(limit), False, text)
    except ConfigError as error:
        raise ConfigError(f"budget {text!r}: {error}") from None


def read_budgets(texts: Iterable[str], **defaults: Any) -> tuple[Budget, ...]:
    """Those of several texts, each once; budgets of one cost share what is measured of it."""
    found: dict[str, Budget] = {}
    for text in texts:
        budget = read_budget(text, **defaults)
        cost = next((each.cost for each in found.values() if each.cost == budget.cost), budget.cost)
        found[text] = replace(budget, cost=cost)
    return tuple(found.values())


@dataclass(frozen=True)
class Spent:
    """What a finished model costs beside a budget; an entry of `budgets` in `result.json`.

    Attributes:
        limit, estimated, measured: in `unit`.
    """

    budget: str
    cost: str
    unit: str
    limit: float
    estimated: float
    measured: float
    held: bool
    sentence: str


@dataclass(frozen=True)
class Limit:
    """A budget of one model.

    Attributes:
        most: in the cost's unit.
        rest: what the model costs beside its sites.
        own: site -> what its own kernel costs; `costs` holds its candidates'.
        whole: what the untouched model costs.
        own_int8, int8: the same as `own` and `costs` in int8; empty where all convs are in float.
    """

    budget: Budget
    most: float
    rest: float
    own: Mapping[str, float]
    costs: Mapping[str, Mapping[Candidate, float]]
    whole: float = float("inf")
    own_int8: Mapping[str, float] = field(default_factory=dict)
    int8: Mapping[str, Mapping[Candidate, float]] = field(default_factory=dict)

    def total(self, genotype: Mapping[str, Candidate]) -> float:
        """What the model costs with these choices; a site without one keeps its own kernel."""
        bits = genotype.bits if isinstance(genotype, Genotype) else {}
        return self.rest + sum(self.cost_of(name, genotype.get(name), bits.get(name)) for name in self.own)

    def cost_of(self, name: str, choice: Candidate | None, bits: int | None = None) -> float:
        """What a site costs.

        Args:
            choice: None for its own kernel.
            bits: None for float; one without costs in int8 costs as much.
        """
        own, costs = (self.own_int8, self.int8) if bits and self.int8 else (self.own, self.costs)
        return own[name] if choice is None else costs[name][choice]

    @property
    def is_chosen(self) -> bool:
        """Whether it depends on the choice."""
        rows = [[*row.values(), *self.int8.get(name, {}).values()] for name, row in self.costs.items()]
        return any(len(set(row)) > 1 for row in rows)

    def least_of(self, name: str) -> dict[Candidate, float]:
        """What a site costs at least with each candidate, over the precisions."""
        small = self.int8.get(name, {})
        return {choice: min(cost, small.get(choice, cost)) for choice, cost in self.costs[name].items()}

    def holds(self, value: float) -> bool:
        return value <= self.most * (1 + ROUNDING)

    @property
    def safe(self) -> float:
        """The most that a model may be measured at before it is trained, so that it holds when it is measured again."""
        room = (1 - self.budget.cost.noise) * self.most
        return max(room, self.whole) if self.whole <= self.most else room

    def spent(self, estimated: float, measured: float, spread: float = 0.0, what: str = "the model") -> Spent:
        """What a finished model costs.

        Args:
            estimated: as costs add up.
            spread: how far the quartiles of an unsteady measurement are apart, as a share of it.
        """
        cost, over, held = self.budget.cost, measured - self.most, self.holds(measured)
        of = f" of {cost.say(self.most)}" if self.budget.share else ""
        said = f"held{of}" if held else f"missed{of} by {cost.say(over)} ({over / self.most:.1%})"
        sums = "" if cost.say(estimated) == cost.say(measured) else f" (its parts add up to {cost.say(estimated)})"
        shaky = f" (not measured steadily: quartiles {spread:.0%} apart)" if spread else ""
        sentence = f"budget {self.budget.text}: {what} has {cost.say(measured)}{sums}, {said}{shaky}"
        name = name_of("cost", cost)
        return Spent(self.budget.text, name, cost.unit, self.most, estimated, measured, held, sentence)

    def said(self, value: float) -> str:
        """A value beside the limit."""
        say = self.budget.cost.say
        return f"{self.budget.text} (at most {say(self.most)}): {say(value)}"


@dataclass(frozen=True)
class Limits:
    """All budgets of one model.

    Attributes:
        drops: what int8 costs in quality, where precisions are chosen too.
        measure: costs of whole models, where parts do not quite add up to them.
    """

    each: tuple[Limit, ...]
    drops: Drops = UNKNOWN
    measure: Measure | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return ", ".join(limit.budget.text for limit in self.each)

    @property
    def is_precise(self) -> bool:
        """Whether each conv's precision is chosen too; the budgets are then those of the int8 file."""
        return any(limit.int8 for limit in self.each)

    def hold(self, genotype: Mapping[str, Candidate]) -> bool:
        """Whether what its parts add up to does; nothing is measured.

        A genotype that says nothing of precisions, where they are chosen too, holds where it does in some of them.
        """
        if all(limit.holds(limit.total(genotype)) for limit in self.each):
            return True
        if not self.is_precise or (isinstance(genotype, Genotype) and genotype.bits):
            return False
        return precision.settled(self, Genotype(genotype), math.inf) is not None

    def settled(self, genotype: Genotype) -> Genotype | None:
        """The genotype where it holds all budgets, with bits within the drop that is allowed; else None."""
        if self.is_precise:
            return precision.settled(self, genotype)
        return genotype if self.held(genotype) else None

    def held(self, genotype: Mapping[str, Candidate]) -> bool:
        """The same of the whole model, measured where that may come to something else."""
        return self.missed(genotype) <= 0

    def missed(self, genotype: Mapping[str, Candidate]) -> float:
        """By how much the whole model costs too much, at most over all budgets, as a share; 0 or less where none."""
        if self.measure is None:
            return -1.0 if self.hold(genotype) else max(each.total(genotype) / each.most - 1 for each in self.each)
        values = zip(self.each, self.measure(genotype), strict=True)
        return max(value / (limit.safe * (1 + ROUNDING)) - 1 for limit, value in values)

    def chosen(self, scores: Scores, alike: Groups = None) -> Genotype:
        """`best`, solved anew with less room as often as the whole model is measured to cost too much.

        Of `TRIES` choices none of which holds, the one that misses by the least.
        """
        limits, tried = self, dict[Genotype, float]()
        while len(tried) < TRIES:
            found = limits.best(scores, alike)
            if found in tried:
                break
            tried[found] = self.missed(found)
            if tried[found] <= 0:
                return found
            limits = self._tighter(limits, found)
        return min(tried, key=lambda each: tried[each])

    def _tighter(self, limits: Limits, found: Genotype) -> Limits:
        """Limits under which the choice does not hold, by as much as it was measured to cost more than its parts."""
        values = self.measure(found) if self.measure else [limit.total(found) for limit in self.each]
        each = list[Limit]()
        for limit, before, value in zip(self.each, limits.each, values, strict=True):
            over, total = value - limit.safe, limit.total(found)
            most = max(total - max(over, LEAST_STEP * total), ROUNDING * limit.most)  # above 0: shares are of it
            each.append(replace(before, most=min(before.most, most)) if over > 0 else before)
        return Limits(tuple(each))

    def best(self, scores: Scores, alike: Groups = None) -> Genotype:
        """The choices of the largest sum of scores that hold; where none do, those that miss by the least.

        Args:
            scores: of every candidate that may be chosen; other sites keep their own kernels.
            alike: the sites that choose together, each in one group; by default each chooses for itself.
        """
        if self.is_precise:
            return precision.best(self, scores, alike)
        rows = _summed(scores, scores, alike)
        costs, limits = self._tables(scores, alike)
        found = select_under(rows, costs, limits)
        found = nearest(rows, costs, limits, [limit.most for limit in self.each]) if found is None else found
        return _expanded(found, scores, alike)

    def front(self, scores: Scores, points: int, alike: Groups = None) -> list[Genotype]:
        """The best choices from the least of the first budget's cost to as much as the best of all has."""
        if self.is_precise:
            return precision.front(self, scores, points, alike)
        costs, _ = self._tables(scores, alike)
        found = pareto(_summed(scores, scores, alike), costs[0], points)
        return [_expanded(each, scores, alike) for each in found]

    def check(self, choices: Choices, alike: Groups = None) -> None:
        """Whether any choice holds all of them.

        Raises:
            ConfigError: none does; with the least that can be had.
        """
        scores = {name: dict.fromkeys(row, 0.0) for name, row in choices.items()}
        closest = self.best(scores, alike)
        if self.hold(closest) or (self.measure is not None and self.held(closest)):
            return
        for limit in self.each:
            alone = Limits((limit,))
            least = alone.least(choices, alike)
            if not limit.holds(least):
                say = limit.budget.cost.say
                why = "" if limit.is_chosen else " (no choice of kernels changes it)"
                tied = " with tied choices (search.tie)" if least > alone.least(choices) else ""
                raise ConfigError(
                    f"budget {limit.budget.text}: the least that this model and space can have{tied} is {say(least)}"
                    f"{why}, the limit is {say(limit.most)}; allow more, give smaller kernels, or a smaller model"
                )
        values = "; ".join(limit.said(limit.total(closest)) for limit in self.each)
        raise ConfigError(
            f"budgets {self}: each can be held, but not all at once; the nearest choice has {values}; allow more"
        )

    def least(self, choices: Choices, alike: Groups = None) -> float:
        """The least of the first budget's cost that any choice has."""
        (limit, *_) = self.each
        scores = {name: dict.fromkeys(row, 0.0) for name, row in choices.items()}
        costs = {name: limit.least_of(name) for name in choices}
        chosen = sum(min(row) for row in _summed(costs, scores, alike).values())
        others = [min(cost, limit.own_int8.get(name, cost)) for name, cost in limit.own.items() if name not in choices]
        return limit.rest + chosen + sum(others)

    def _tables(self, scores: Scores, alike: Groups) -> tuple[list[dict[str, list[float]]], list[float]]:
        """The costs of the options, and what the limits leave for them."""
        costs = [_summed(limit.costs, scores, alike) for limit in self.each]
        kept = [limit.rest + sum(own for name, own in limit.own.items() if name not in scores) for limit in self.each]
        return costs, [limit.most - rest for limit, rest in zip(self.each, kept, strict=True)]


def _summed(values: Scores, scores: Scores, alike: Groups) -> dict[str, list[float]]:
    """The first site of each group -> the sum over the group for each candidate of `scores`."""
    groups = [[name] for name in scores] if alike is None else alike
    return {group[0]: [sum(values[name][c] for name in group) for c in scores[group[0]]] for group in groups}


def _expanded(options: Mapping[str, int], scores: Scores, alike: Groups) -> Genotype:
    """The choice of each site from the option of each group."""
    groups = [[name] for name in scores] if alike is None else alike
    chosen = {name: list(scores[group[0]])[options[group[0]]] for group in groups for name in group}
    return Genotype({name: chosen[name] for name in scores})


def first_held(genotypes: Iterable[Genotype], limits: Limits) -> Genotype:
    """The first whose whole model holds; of at least one none of which does, the one that misses by the least."""
    missed: dict[Genotype, float] = {}
    for each in genotypes:
        missed[each] = limits.missed(each)
        if missed[each] <= 0:
            return each
    return min(missed, key=lambda each: missed[each])


def limits_of(budgets: Sequence[Budget], program: Program, choices: Choices, int8: bool = False) -> Limits:
    """What the budgets allow a model; costs that are measured are measured now.

    Args:
        program: of the untouched model.
        int8: each conv's precision is chosen too.
    """
    return Limits(tuple(_limit(budget, program, choices, int8) for budget in budgets))


def _limit(budget: Budget, program: Program, choices: Choices, int8: bool) -> Limit:
    cost, sites = budget.cost, program.sites
    cost.prepare(sites, choices)
    own = {name: cost.at(site, site.original) for name, site in sites.items()}
    costs = {name: {c: cost.at(sites[name], c) for c in row} for name, row in choices.items()}
    for name, site in sites.items():
        costs.setdefault(name, {})[site.original] = own[name]
    rest = cost.rest(program)
    whole = rest + sum(own.values())
    most = budget.limit * whole if budget.share else budget.limit
    limit = Limit(budget, most, rest, own, costs, whole)
    if int8:
        cost.prepare_int8(sites, choices)
        small = {name: {c: cost.in_int8(sites[name], c) for c in row} for name, row in costs.items()}
        limit = replace(limit, int8=small, own_int8={name: small[name][sites[name].original] for name in sites})
    return corrected(limit)


def corrected(limit: Limit) -> Limit:
    """With what parts add up to as the cost corrects it; a limit that is corrected already is another one."""
    offset, scale = limit.budget.cost.line
    if (offset, scale) == (0.0, 1.0):
        return limit
    costs, int8 = (
        {n: {c: scale * v for c, v in row.items()} for n, row in t.items()} for t in (limit.costs, limit.int8)
    )
    own, small = ({name: scale * value for name, value in t.items()} for t in (limit.own, limit.own_int8))
    rest = offset + scale * limit.rest
    return replace(limit, rest=rest, own=own, costs=costs, own_int8=small, int8=int8)
