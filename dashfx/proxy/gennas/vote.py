"""Scores of several proxies go in; their common opinion comes out: each module's mean rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata


def vote(columns: Sequence[Sequence[float]]) -> list[float]:
    """Mean over the columns of each row's rank from the best (1); equal scores share their mean rank.

    Args:
        columns: scores of one proxy each, larger is better; an infinite one is the worst or the best.
    """
    ranks = [rankdata([-score for score in column]) for column in columns]
    return [float(mean) for mean in np.mean(ranks, axis=0)]
