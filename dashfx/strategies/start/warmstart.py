"""Warm start: the logits that mixtures start from, by what is known before a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor

from dashfx.blackbox.base import Row
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.space import Candidate

STRENGTH, LIMIT = 0.5, 2.0


def leading_logits(candidates: Sequence[Candidate], original: Candidate, share: float) -> Tensor:
    """(n_candidates,): the conv's own kernel has this share of the mixture, the others have equal parts of the rest.

    All are 0, an even mixture, where an even part is no less than the share or the conv's own kernel is not there.
    """
    logits, others = torch.zeros(len(candidates)), len(candidates) - 1
    if original in candidates and share * (others + 1) > 1:
        logits[candidates.index(original)] = math.log(share * others / (1 - share))
    return logits


@torch.no_grad()
def favour_original(sites: Mapping[str, AggConv], share: float) -> None:
    """Start each mixture with so much of the conv's own kernel; what a grown model computes does not depend on it."""
    for site in sites.values():
        site.alpha.copy_(leading_logits(site.candidates, site.original, share))


def marginal_logits(rows: Sequence[Row[Genotype]], site: str, candidates: Sequence[Candidate]) -> Tensor:
    """(n_candidates,): half the z-score of each candidate's mean rank, within -2 and 2; 0 for one never drawn.

    With ranks r spread evenly over [-1, 1], best at 1, a mean over n draws has the standard deviation 1 / sqrt(3 n)
    where the candidate makes no difference, so z = sqrt(3 n) mean(r): noise moves a logit by about a half, and no
    candidate starts with less than e^-4 of another's share.
    """
    ranks = 2 * (rankdata([row.fitness for row in rows]) - 0.5) / len(rows) - 1
    logits = []
    for candidate in candidates:
        drawn = [rank for rank, row in zip(ranks, rows, strict=True) if row.genome[site] == candidate]
        z = math.sqrt(3 * len(drawn)) * sum(drawn) / max(1, len(drawn))
        logits.append(min(max(STRENGTH * z, -LIMIT), LIMIT))
    return torch.tensor(logits)
