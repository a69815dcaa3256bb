"""Options and decisions: what may be chosen, and what a file holds of it."""

from __future__ import annotations

import json

import pytest

from dashfx.errors import GenotypeError, SpaceError
from dashfx.options.base import Decision, read, written
from dashfx.space import Candidate, Shared

KERNELS = (Candidate(3), Candidate((3, 5), (1, 2)), Candidate(1, 1, "skip"), Shared([Candidate(3), Candidate(5)]))


@pytest.mark.parametrize("option", KERNELS, ids=str)
def test_options_are_equal_after_json(option: Candidate) -> None:
    facts = json.loads(json.dumps(written(option)))
    assert facts["kind"] == "conv" and read(facts) == option and hash(read(facts)) == hash(option)


def test_an_unknown_kind_is_one_line_with_the_nearest_name() -> None:
    with pytest.raises(GenotypeError, match=r"kind 'convs' are not known \(did you mean 'conv'\?\).*upgrade"):
        read({"kind": "convs", "kernel": [3]})


@pytest.mark.parametrize("options", [(), (Candidate(3), Candidate(3))])
def test_a_decision_has_options_that_are_all_different(options: tuple[Candidate, ...]) -> None:
    with pytest.raises(SpaceError, match=r"decision 'stem' of .*one option or more, all different"):
        Decision("stem", options, Candidate(5))


def test_a_decision_is_of_one_kind_and_its_default_need_not_be_an_option() -> None:
    class Other(Candidate):
        kind = "other"

    assert Decision("stem", (Candidate(3),), Candidate(5)).default == Candidate(5)
    with pytest.raises(SpaceError, match="kinds conv, other"):
        Decision("stem", (Candidate(3), Other(5)), Candidate(5))
