"""Importance of options: what each adds on average to the value that a predictor expects, and which ones to prune.

Luo, Tan, Wang, Qin, Chen and Liu, "Accuracy Prediction with Non-neural Model for Neural Architecture Search", 2020:
options of the most negative SHAP value leave the space. Here, after it, an option's effect is what changes on average
where it alone is put in (a partial dependence), which for a sum over positions is the same and needs no trees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.predictors.base import Predictor


def effects(
    space: Space[G], genomes: Sequence[G], fitness: Sequence[float], predictor: Predictor, seed: int = 0
) -> list[np.ndarray]:
    """One array a position, (its level,): how far above the mean of the position's options each one is expected.

    Args:
        fitness: of each genome, finite; larger is better.
    """
    x = np.array([space.one_hot(genome) for genome in genomes])
    fitted = predictor.fit(x, np.array(fitness, dtype=float), seed)
    found, start = [], 0
    for size in space.levels():
        means = np.empty(size)
        for option in range(size):
            put_in = x.copy()
            put_in[:, start : start + size] = np.arange(size) == option
            means[option] = fitted.mean(put_in).mean()
        found.append(means - means.mean())
        start += size
    return found


def harmful(found: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The options of the most negative effects as (position, option), worst first; a position's best one never."""
    options = [
        (float(effect), place, option)
        for place, row in enumerate(found)
        for option, effect in enumerate(row)
        if effect < 0 and option != int(row.argmax())
    ]
    return [(place, option) for _, place, option in sorted(options)]
