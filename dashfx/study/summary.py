"""Summary of a study: outcomes go in; a row a method, against random choices and the untouched model, comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

import numpy as np

from dashfx.proxy import Correlation
from dashfx.run.outcome.standing import known
from dashfx.study.plan import RANDOM, UNTOUCHED, Plan
from dashfx.study.runs import Outcome
from dashfx.study.statistics import LEAST_RANDOM, Improvement, holm, improvement, welch

CLEAR = 0.05  # of p after Holm's correction


@dataclass(frozen=True)
class Row:
    """One method of a study, or one of its controls.

    Attributes:
        values: of each seed on the test part, those that diverged left out; `valid` on the validation part.
        planned: how many there were to be; `failed` how many diverged.
        against: what random choices come to beside it; None of random choices themselves, and where a seed diverged.
        adjusted: its p by Holm's correction for all methods of the study.
        lead: the difference to the untouched model's mean, positive where it is better, with its interval (Welch).
        cost: all training that led to its model over the untouched model's training, the mean.
        correlations: one a seed: how the search's own score orders genotypes of known results.
    """

    method: str
    values: tuple[float, ...]
    valid: tuple[float, ...]
    planned: int
    failed: int = 0
    against: Improvement | None = None
    adjusted: float | None = None
    lead: tuple[float, float, float] | None = None
    cost: float | None = None
    correlations: tuple[Correlation, ...] = ()

    @property
    def mean(self) -> float:
        return fmean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds (n - 1); None of fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def tau(self) -> float | None:
        """The mean of Kendall's tau over seeds; None where the search has no score, or all scores were the same."""
        known_ones = [each.tau for each in self.correlations if not math.isnan(each.tau)]
        return fmean(known_ones) if known_ones else None

    def to_dict(self) -> dict[str, Any]:
        """An entry of `methods` in `study.json`."""
        against = {name: known(value) for name, value in asdict(self.against).items()} if self.against else None
        return {
            "method": self.method,
            "test": list(self.values),
            "mean": known(self.mean),
            "spread": self.spread,
            "valid": known(fmean(self.valid)) if self.valid else None,
            "planned": self.planned,
            "failed": self.failed,
            "against_random": against,
            "p_holm": self.adjusted,
            "lead_over_untouched": [known(each) for each in self.lead] if self.lead else None,
            "cost": self.cost,
            "tau": self.tau,
            "correlations": [_facts(each) for each in self.correlations],
        }


@dataclass(frozen=True)
class Summary:
    """All rows, the methods first and then random choices and the untouched model.

    Attributes:
        notes: what is to know before the figures are believed.
    """

    metric: str
    maximise: bool
    rows: tuple[Row, ...]
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    def row(self, method: str) -> Row:
        return next(each for each in self.rows if each.method == method)

    def to_dict(self, plan: Plan) -> dict[str, Any]:
        """What `study.json` holds."""
        return {
            "metric": self.metric,
            "maximise": self.maximise,
            "seeds": plan.seeds,
            "random": plan.random,
            "methods": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
            "runs": [each.to_dict() for each in self.outcomes],
        }


def summarised(
    plan: Plan, outcomes: Sequence[Outcome], correlations: Mapping[str, Sequence[Correlation]] | None = None
) -> Summary:
    """The rows of what has been run so far.

    Args:
        correlations: method -> one a seed.
    """
    first = next((each for each in outcomes if each.done), None)
    metric, maximise = (first.metric, first.maximise) if first else ("", True)
    rows = [_row(name, plan, outcomes) for name in plan.rows]
    by_name = {row.method: row for row in rows}
    chance, untouched = by_name[RANDOM], by_name[UNTOUCHED]
    usual = _mean_work(outcomes, UNTOUCHED)
    found = []
    for row in rows:
        work = _mean_work(outcomes, row.method)
        cost = work / usual if work and usual else None
        correlated = tuple((correlations or {}).get(row.method, ()))
        row = replace(row, cost=cost, correlations=correlated)
        found.append(_compared(row, chance, untouched, maximise))
    return Summary(metric, maximise, _adjusted(found, plan), tuple(outcomes), tuple(_notes(plan, found, outcomes)))


def _row(name: str, plan: Plan, outcomes: Sequence[Outcome]) -> Row:
    own = [each for each in outcomes if each.trial.method == name]
    done = [each for each in own if each.done]
    return Row(
        name,
        tuple(each.test for each in done),
        tuple(each.valid for each in done),
        len(plan.of(name)),
        len(own) - len(done),
    )


def _mean_work(outcomes: Sequence[Outcome], method: str) -> float | None:
    works = [each.work for each in outcomes if each.trial.method == method and each.work]
    return fmean(works) if works else None


def _compared(row: Row, chance: Row, untouched: Row, maximise: bool) -> Row:
    """With what random choices and the untouched model come to, where there are enough of them."""
    enough = len(chance.values) >= LEAST_RANDOM and row.method != RANDOM and row.values and not row.failed
    against = improvement(row.values, chance.values, maximise) if enough else None
    if row.method == UNTOUCHED or not untouched.values or not row.values:
        return replace(row, against=against)
    sign = 1 if maximise else -1
    own, other = sign * np.asarray(row.values), sign * np.asarray(untouched.values)
    return replace(row, against=against, lead=(float(own.mean() - other.mean()), *welch(own, other)))


def _adjusted(rows: Sequence[Row], plan: Plan) -> tuple[Row, ...]:
    """The p of the methods, not of the untouched model, for as many questions as there are methods."""
    asked = [row for row in rows if row.against and row.method in plan.methods]
    adjusted = dict(zip([r.method for r in asked], holm([r.against.p for r in asked if r.against]), strict=True))
    return tuple(replace(row, adjusted=adjusted.get(row.method)) for row in rows)


def _notes(plan: Plan, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> list[str]:
    found = []
    done = sum(each.done or bool(each.failure) for each in outcomes)
    total = sum(1 for _ in plan.trials())
    if done < total:
        found.append(f"{done} of {total} runs are done: the figures are those of what is there")
    for row in rows:
        if row.failed:
            found.append(
                f"{row.method}: {row.failed} of {row.planned} trainings diverged and are left out of its mean, "
                "so there is no p"
            )
    least = 1 / math.comb(plan.seeds + plan.random, plan.seeds)
    if least * len(plan.methods) > CLEAR:
        found.append(
            f"{plan.seeds} searches beside {plan.random} random choices: p is {least:.2g} at least, so no method can "
            "be shown to be better; take more of either"
        )
    return found


def verdict(summary: Summary, plan: Plan) -> str:
    """Which methods are shown to be better than random choices, in a sentence."""
    rows = [row for row in summary.rows if row.method in plan.methods and row.adjusted is not None]
    clear = [row.method for row in rows if row.adjusted is not None and row.adjusted <= CLEAR]
    rest = [row.method for row in rows if row.method not in clear]
    said = []
    if clear:
        said.append(f"better than random choices at equal training (p <= {CLEAR:g} by Holm): {', '.join(clear)}")
    if rest:
        said.append(f"not shown to be better: {', '.join(rest)}")
    return "; ".join(said)


def _facts(found: Correlation) -> dict[str, Any]:
    return {
        name: [known(each) for each in value] if isinstance(value, tuple) else known(value)
        for name, value in asdict(found).items()
    }
