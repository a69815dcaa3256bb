"""AutoBuild: message passing whose norms are ordered as the values are, so that a norm says what a part is worth.

Mills et al., "Building Optimal Neural Architectures using Interpretable Knowledge", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.predictors.networks.ranking import diff_kendall

HOPS, HIDDEN, STEPS, RATE, SHARPNESS = 2, 16, 200, 0.02, 2.0


def worths(space: Space[G], genomes: Sequence[G], fitness: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """One array a position, (its level,): how far above the mean of the position's options each one's norm is.

    Nodes are the decisions, each with its position and option as a one-hot code. After each of 0 to 2 hops along the
    graph the mean norm of a genome's nodes is trained to be ordered as the fitness is, by `diff_kendall`; the norm of a
    node after 0 hops is what its option is worth by itself. After the paper, whose loss is a soft Spearman correlation
    of the norm of the graph's embedding; the mean of the nodes' norms is a sum over decisions, which a table can hold.

    Args:
        fitness: of each genome, finite; larger is better. Where all are equal, nothing is worth more than another.
    """
    levels = space.levels()
    if min(fitness) == max(fitness):
        return [np.zeros(size) for size in levels]
    starts = np.cumsum([0, *levels[:-1]])
    nodes = torch.tensor(np.array([starts + space.places(genome) for genome in genomes]))  # (n, positions)
    adjacency = torch.stack([_reads(space, genome, len(levels)) for genome in genomes])
    y = torch.tensor(fitness, dtype=torch.float64)
    y = (y - y.mean()) / y.std()
    generator = torch.Generator().manual_seed(seed)
    table, hops = _weights((sum(levels), HIDDEN), generator), _weights((HOPS, 2 * HIDDEN, HIDDEN), generator)
    optimiser = torch.optim.AdamW([table, hops], RATE, weight_decay=0.01)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimiser.zero_grad()
            scores = _scores(table, hops, nodes, adjacency)
            (-sum(diff_kendall(_deviations(each), y, SHARPNESS) for each in scores)).backward()  # type: ignore[union-attr]
            optimiser.step()
    norms = table.detach().norm(dim=1).numpy()
    rows = [norms[start : start + size] for start, size in zip(starts, levels, strict=True)]
    return [row - row.mean() for row in rows]


def _scores(table: Tensor, hops: Tensor, nodes: Tensor, adjacency: Tensor) -> list[Tensor]:
    """After each number of hops, (n,) mean norms of the nodes."""
    state = table[nodes]  # (n, positions, hidden)
    found = [state.norm(dim=2).mean(1)]
    for weight in hops:
        state = torch.nn.functional.silu(torch.cat([state, adjacency @ state], 2) @ weight)
        found.append(state.norm(dim=2).mean(1))
    return found


def _deviations(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / (scores.std() + 1e-9)


def _reads(space: Space[Any], genome: Any, size: int) -> Tensor:
    """(positions, positions): a row's 1s are the nodes that it reads."""
    found = torch.zeros(size, size, dtype=torch.float64)
    for producer, consumer in space.graph(genome).edges:
        found[consumer, producer] = 1
    return found


def _weights(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    found = torch.randn(shape, generator=generator, dtype=torch.float64) * shape[-2] ** -0.5
    return found.requires_grad_()
