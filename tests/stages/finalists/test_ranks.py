"""A race, its controls and a refit in two processes: both decide alike."""

from __future__ import annotations

import pytest
from proposing import everything
from ranks import in_ranks


@pytest.mark.slow
def test_both_processes_come_to_the_same() -> None:
    first, second = in_ranks(2, everything, limit=600)
    assert not isinstance(first, Exception), first
    assert first == second and len(first["finalists"]) == 5 and len(first["race"]) == 3
