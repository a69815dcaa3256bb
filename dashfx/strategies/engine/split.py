"""Splits of a supernet: candidates whose gradients disagree on what all share get a copy of it each.

Hu, Wang, Hong, Li, Hsieh and Feng, "Generalizing Few-Shot NAS with Gradient Matching", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dashfx.plugins import published

if TYPE_CHECKING:
    from dashfx.strategies.engine.engine import Engine
    from dashfx.train.fit import Batch

EXACT = 12  # candidates of which all halvings are looked at; of more, those of one order


@dataclass(frozen=True)
class Split:
    """Two halves of a site's candidates, by place; `engine.fork({split.site: half})` is the search that has one.

    Attributes:
        apart: the mean of 1 - cosine across the halves minus that within them, from -2 to 2.
    """

    site: str
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    apart: float


@published("Hu et al., Generalizing Few-Shot NAS with Gradient Matching, ICLR 2022", "88")
def splits(engine: Engine, batch: Batch) -> list[Split]:
    """The best halving of each site's candidates, those that are furthest apart first.

    Nothing is changed: the model is in eval mode, and the other sites mix without noise.
    """
    found = []
    for name, site in engine.sites.items():
        alive = [i for i, kept in enumerate(site.mask.tolist()) if kept]
        if len(alive) > 1:
            halves, apart = halved(similarities(engine, batch, name, alive))
            first, second = (tuple(alive[i] for i in half) for half in halves)
            found.append(Split(name, (first, second), apart))
    return sorted(found, key=lambda each: -each.apart)


def similarities(engine: Engine, batch: Batch, name: str, places: Sequence[int]) -> np.ndarray:
    """(n, n): cosines of the gradients that the shared weights have with each of these candidates alone at a site.

    Shared are all weights that learn but those of the site.
    """
    x, y = batch
    own = {id(p) for p in engine.sites[name].parameters()}
    shared = [w for w in engine.learning if id(w) not in own]
    others = {each: site.coefficients().detach() for each, site in engine.sites.items()}
    rows: list[Tensor] = []
    with engine.alone(), engine.evaluating():
        for place in places:
            loss = engine.task.loss(engine.answer(x, {**others, name: place}).float(), y)
            flat = torch.cat([g.flatten() for g in engine.gradients(loss, shared)])
            rows.append(flat / flat.norm().clamp_min(1e-30))
    found: np.ndarray = (torch.stack(rows) @ torch.stack(rows).T).double().cpu().numpy()
    return found


def halved(similarity: np.ndarray) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """The two halves, of as equal size as can be, with the least similarity across them, and how far they are apart.

    Of many rows only the halving of the order by the second eigenvector of the Laplacian is looked at.
    """
    n = len(similarity)
    if n <= EXACT:
        firsts = [half for half in combinations(range(n), n // 2) if n % 2 or 0 in half]
    else:
        rest = similarity - similarity.min()
        order = np.argsort(np.linalg.eigh(np.diag(rest.sum(1)) - rest)[1][:, 1], kind="stable")
        firsts = [tuple(sorted(order[: n // 2].tolist()))]
    found = [(_across(similarity, half), half) for half in firsts]
    across, first = min(found)
    second = tuple(i for i in range(n) if i not in first)
    pairs = [similarity[a, b] for half in (first, second) for a, b in combinations(half, 2)]
    within = float(np.mean(pairs)) if pairs else 1.0
    return (first, second), within - across


def _across(similarity: np.ndarray, half: Sequence[int]) -> float:
    """The mean similarity between a half and the rest."""
    rest = [i for i in range(len(similarity)) if i not in half]
    return float(similarity[np.ix_(list(half), rest)].mean())
