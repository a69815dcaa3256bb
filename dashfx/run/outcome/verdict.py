"""Verdict of a run: which model is kept, by how much the searched one is ahead, and after how much training of each.

What is not known is not claimed: an interval that holds 0 is said to leave it open, a difference in training stands
beside the figure that it may explain, and a choice that is the untouched model has not won.
"""

from __future__ import annotations

import math

from dashfx.run.outcome.standing import DISTILLED, LONGER, UNTOUCHED, WIDER, Standing
from dashfx.task.lead import Lead

ALIKE = 0.1  # of the untouched model's training: costs that are nearer than this are called equal
CONVERGED = "the untouched model's had converged, so more of it was not tried (--longer does)"
UNKNOWN = "more training may explain such a difference as well as the choice does"
NOBODY = "the search chose every conv's own kernel, so there is one model, and nobody has won"


def outcome(searched: Standing, untouched: Standing | None, kept: Standing | None, changed: bool) -> str:
    """Searched against untouched on the validation part, in short."""
    if not changed and untouched is None:
        return f"validation: {searched.value:.4f}; unchanged"
    assert untouched is not None  # without one, nothing is said of a model that has changed
    values = f"validation: searched {told(searched)}, untouched {told(untouched)}"
    if not changed:
        return f"{values}; unchanged"
    if kept and kept.origin == DISTILLED:
        return f"{values}; {(searched if kept.genotype == searched.genotype else untouched).name} is kept, distilled"
    return f"{values}; {kept.name if kept else untouched.name} is kept"


def verdict(
    searched: Standing,
    controls: dict[str, Standing],
    kept: Standing | None,
    changed: bool,
    converged: bool = False,
) -> str:
    """The same as a sentence, with what else there is to compare.

    Args:
        controls: origin -> the untouched models, as usual, longer and wider, as far as they were trained.
        converged: whether the untouched model's usual training had, as far as its epochs tell.
    """
    first = outcome(searched, controls.get(UNTOUCHED), kept, changed)
    if not changed:
        return f"{first}: {NOBODY}"
    rivals = [controls[origin] for origin in (UNTOUCHED, LONGER, WIDER) if origin in controls]
    parts = [first, *(against(searched, each) for each in rivals)]
    if LONGER not in controls and unequal(searched, controls[UNTOUCHED]):
        parts.append(CONVERGED if converged else UNKNOWN)
    if lead := next((each.lead for each in rivals if each.lead), None):
        rows = f"the same {lead.rows} validation rows"
        parts.append(f"differences are those of the kept weights on {rows} with intervals of 95 % ({lead.how})")
    return "; ".join(parts)


def told(standing: Standing) -> str:
    """What it was judged by, with the spread over its trainings."""
    spread = "" if standing.spread is None else f" ± {standing.spread:.4f} ({standing.seeds} trainings)"
    return f"{standing.value:.4f}{spread}"


def against(searched: Standing, other: Standing) -> str:
    """The searched model's difference to another, and after how much training of each."""
    if math.isnan(other.value):
        return f"the training of {other.name} diverged, so nothing is known against it"
    name = other.name if other.origin == UNTOUCHED else f"{other.name} ({told(other)})"
    return f"against {name} {_by(other.lead)}, after {unequal(searched, other) or 'equal training'}"


def _by(lead: Lead | None) -> str:
    if lead is None or not lead.low <= lead.high:
        return "without an interval"
    word = ("better" if lead.difference > 0 else "worse") if lead.is_clear else "which is better is open"
    return f"{lead}, {word}"


def unequal(searched: Standing, other: Standing) -> str:
    """How much training each of the two has had; empty where it is the same, or not known."""
    if not searched.cost or not other.cost or abs(searched.cost - other.cost) <= ALIKE:
        return ""
    usual = "" if other.origin == UNTOUCHED else f" and {other.cost:.2f}"
    return f"{searched.cost:.2f}{usual} times the untouched model's training"
