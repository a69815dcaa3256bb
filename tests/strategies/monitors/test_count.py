"""Counts of sites that lean to an extreme."""

from __future__ import annotations

import pytest
from engines import engine

from dashfx.plugins import find
from dashfx.strategies.monitors import Context, CountSites


@pytest.mark.parametrize(("kind", "index"), [("widest", 3), ("narrowest", 0), ("original", 0)])
def test_it_stops_at_so_many_sites_and_not_before(kind: str, index: int) -> None:
    made, monitor = engine(), find("monitor", f"count:sites=2,kind={kind}")
    for site in made.sites.values():
        site.alpha.data[1] = 1.0
    for count, site in enumerate(made.sites.values(), 1):
        site.alpha.data[index] = 2.0
        assert not monitor.on_epoch(Context(made.sites, 5, False, 0))
        (*found,) = monitor.on_epoch(Context(made.sites, 5, True, 0))
        assert [action.reason for action in found] == [
            f"2 sites lean towards their {kind} candidate, and 2 are too many"
        ] * (count == 2)


def test_a_site_whose_candidates_span_the_same_has_no_widest() -> None:
    made = engine()
    for site in made.sites.values():
        site.keep([1, 2])  # k3 d2 and k5 d1
    assert not CountSites(1).on_epoch(Context(made.sites, 5, True, 0))
