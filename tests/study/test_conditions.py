"""Ranks over conditions: who is best everywhere is first, equals tie, errors count the other way round."""

from __future__ import annotations

import pytest

from dashfx.errors import ConfigError
from dashfx.study.conditions import ranked
from dashfx.study.summary import Row, Summary


def summary(maximise: bool = True, p: float = 0.5, **means: float) -> Summary:
    rows = tuple(Row(name, (mean - 0.01, mean + 0.01), (mean,), 2, adjusted=p) for name, mean in means.items())
    return Summary("accuracy", maximise, rows, ())


def test_an_oracle_is_first_everywhere_and_two_copies_tie() -> None:
    studies = {
        "digits argmax": summary(oracle=0.9, twin=0.8, copy=0.8, random=0.7),
        "digits energy": summary(oracle=0.9, twin=0.6, copy=0.6, random=0.7, other=0.1),
        "errors": summary(maximise=False, p=0.01, oracle=0.1, twin=0.3, copy=0.3, random=0.2),
    }
    found = ranked(studies)
    assert [each.method for each in found] == ["oracle", "random", "copy", "twin"]
    assert found[0].rank == 1 and found[0].spread == 0 and found[0].shown == ("errors",)
    assert found[2].rank == found[3].rank == pytest.approx((2.5 + 3.5 + 3.5) / 3)
    assert dict(found[1].ranks) == {"digits argmax": 4, "digits energy": 2, "errors": 2}


def test_one_condition_has_no_spread_and_methods_must_be_in_all() -> None:
    assert ranked({"one": summary(a=0.1, b=0.2)})[0].spread is None
    for studies in ({}, {"one": summary(a=0.1), "two": summary(b=0.1)}):
        with pytest.raises(ConfigError, match="run the same --methods in each"):
            ranked(studies)
