"""Agreement of searches: what several seeds chose goes in; at how many decisions they chose alike, against chance, out.

Where n candidates are as likely as each other, s seeds choose alike with probability n^(1 - s) at a decision; how many
decisions chance makes alike is then a sum of independent draws (Poisson's binomial distribution).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dashfx.genotype import Genotype
from dashfx.space import Candidate

LIKELY = 0.05  # what chance does more often than this tells nothing
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Found:
    """What one search came to.

    Attributes:
        decisions: the sites that chose together, each in one group.
        candidates: of each site, how many there were when the search began.
        coefficients: of each site, the share of the chosen candidate in the mixture when the search ended; None where
            nothing was mixed.
    """

    genotype: Genotype
    decisions: Sequence[Sequence[str]]
    candidates: Mapping[str, int]
    coefficients: Mapping[str, float | None]


@dataclass(frozen=True)
class Decided:
    """One decision, a choice and a coefficient a seed.

    Attributes:
        sites: those that it holds for.
        candidates: how many it had.
    """

    sites: tuple[str, ...]
    candidates: int
    choices: tuple[str, ...]
    coefficients: tuple[float | None, ...]

    @property
    def agreed(self) -> bool:
        return len(set(self.choices)) == 1

    @property
    def chance(self) -> float:
        """The probability that the seeds choose alike by chance."""
        return float(self.candidates) ** (1 - len(self.choices))

    def __str__(self) -> str:
        where = self.sites[0] if len(self.sites) == 1 else f"{self.sites[0]} and {len(self.sites) - 1} more"
        shares = ("" if share is None else f" {share:.2f}" for share in self.coefficients)
        return f"{where}: " + ", ".join(f"{c}{share}" for c, share in zip(self.choices, shares, strict=True))


@dataclass(frozen=True)
class Agreement:
    """Every decision that had a choice, in the order of the sites."""

    decisions: tuple[Decided, ...]

    @classmethod
    def of(cls, found: Sequence[Found]) -> Agreement | None:
        """None where no search had anything to decide."""
        if not found:
            return None
        first = found[0]
        open_ = [group for group in first.decisions if first.candidates[group[0]] > 1]
        decisions = [
            Decided(
                tuple(group),
                first.candidates[group[0]],
                tuple(str(each.genotype[group[0]]) for each in found),
                tuple(each.coefficients[group[0]] for each in found),
            )
            for group in open_
        ]
        return cls(tuple(decisions)) if decisions else None

    @property
    def seeds(self) -> int:
        return len(self.decisions[0].choices)

    @property
    def agreed(self) -> int:
        """At how many decisions all seeds chose alike."""
        return sum(each.agreed for each in self.decisions)

    @property
    def chance(self) -> float:
        """How many that would be by chance."""
        return sum(each.chance for each in self.decisions)

    @property
    def luck(self) -> float:
        """The probability that chance alone makes as many alike, or more."""
        counts = [1.0]  # the probability of 0, 1, ... alike
        for each in self.decisions:
            p = each.chance
            counts = [(1 - p) * a + p * b for a, b in zip([*counts, 0.0], [0.0, *counts], strict=True)]
        return min(1.0, sum(counts[self.agreed :]))

    @property
    def verdict(self) -> str:
        """What it says of the choice: "the same", "same in part", "not one", or "open" where chance does as much."""
        if 2 * self.agreed < len(self.decisions):
            return "not one"
        if self.luck > LIKELY:
            return "open"
        return "the same" if self.agreed == len(self.decisions) else "same in part"

    @property
    def sentence(self) -> str:
        """The same for people; of a single seed, what was decided and how clearly."""
        if self.seeds == 1:
            return f"{_counted(len(self.decisions), 'decision')}: " + "; ".join(map(str, self.decisions))
        joint = any(len(each.sites) > 1 for each in self.decisions)
        what = _counted(len(self.decisions), "decision" if joint else "site")
        says = {
            "the same": "the choice reproduces",
            "same in part": "the choice reproduces in part, and where they differ it is not one",
            "not one": "the choice is not one",
            "open": "chance does as much, so that this tells nothing",
        }
        many = COUNTS[self.seeds] if self.seeds < len(COUNTS) else str(self.seeds)
        return f"{many} seeds agree at {self.agreed} of {what} (chance {self.chance:.2g}): {says[self.verdict]}"

    def to_dict(self) -> dict[str, Any]:
        """The entry `agreement` of `result.json`."""
        return {
            "seeds": self.seeds,
            "agreed": self.agreed,
            "of": len(self.decisions),
            "chance": self.chance,
            "luck": self.luck,
            "verdict": self.verdict if self.seeds > 1 else None,
            "sentence": self.sentence,
            "decisions": [asdict(each) for each in self.decisions],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Agreement:
        """What `to_dict` wrote."""
        named = ("sites", "choices", "coefficients")
        rows = facts["decisions"]
        return cls(tuple(Decided(**{**row, **{name: tuple(row[name]) for name in named}}) for row in rows))


def shares_of(coefficients: Mapping[str, Mapping[Candidate, float]], genotype: Genotype) -> dict[str, float | None]:
    """The coefficient of each site's choice; None where it was not mixed."""
    return {name: coefficients.get(name, {}).get(choice) for name, choice in genotype.items()}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
