"""Ranks that stay: the epoch at which a scripted search stops, and that a resumed one stops there too."""

from __future__ import annotations

import torch
from engines import engine

from dashfx.strategies.monitors import Context, RankStable, Stop

ORDERS = [
    (0, 1, 2, 3),
    (0, 1, 3, 2),
    (0, 1, 3, 2),
    (0, 1, 3, 2),
    (1, 0, 3, 2),
    (1, 0, 3, 2),
    (1, 0, 3, 2),
    (1, 0, 3, 2),
]


def stops(resumed: int | None = None, settled: int = 0) -> int | None:
    """The epoch after which it stops; it is replaced by one that knows what it remembered before epoch `resumed`."""
    made, monitor = engine(), RankStable(3)
    for epoch, order in enumerate(ORDERS):
        if epoch == resumed:
            state, monitor = monitor.state_dict(), RankStable(3)
            monitor.load_state_dict(state)
        for site in made.sites.values():
            site.alpha.data[list(order)] = torch.tensor([3.0, 2.0, 1.0, 0.0]) + epoch
        found = monitor.on_epoch(Context(made.sites, epoch, True, epoch - settled))
        if any(isinstance(action, Stop) for action in found):
            return epoch
    return None


def test_it_stops_when_the_whole_order_has_stayed() -> None:
    assert stops() == 7  # from epoch 4 on; the likeliest alone, 0, had stayed from 0 to 3
    assert [stops(resumed) for resumed in range(1, 8)] == [7] * 7


def test_epochs_before_the_search_has_settled_do_not_count() -> None:
    assert stops(settled=5) is None
