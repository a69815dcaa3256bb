"""Features of choices for predictors: sizes in logarithms, decision by decision, and a summary over all of them.

A one-hot code tells a predictor that every kernel is as far from every other; after few evaluations it then learns
nothing of what they have in common. Sizes have an order, and the summary (means, spreads, the spans of the first, the
middle and the last third of a network) says in a few numbers what a handful of labels can settle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashfx.options.base import Option

PARTS = 3  # of the depth, each with its mean span


def of_choices(choices: Sequence[Option]) -> np.ndarray:
    """(3 n + 6 + PARTS,): the features of each, their means and deviations, and the mean span of each part."""
    rows = np.array([list(choice.features().values()) for choice in choices])  # (n, 3)
    spans = [part.mean() if len(part) else rows[:, 2].mean() for part in np.array_split(rows[:, 2], PARTS)]
    return np.concatenate([rows.ravel(), rows.mean(0), rows.std(0), spans])
