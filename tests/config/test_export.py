"""Drops of int8 files: in the metric's units, or as standard errors; all else is one line."""

from __future__ import annotations

import pytest

from dashfx.config.export import ExportConfig
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "kept", "drop"),
    [
        (None, "1se", 0.04),
        ("1se", "1se", 0.04),
        (" 2.5 SE ", "2.5se", 0.1),
        ("0se", "0se", 0.0),
        ("0.01", 0.01, 0.01),
        (0, 0.0, 0.0),
        ("1e-3", 1e-3, 1e-3),
    ],
)
def test_units_and_standard_errors(given: str | float | None, kept: str | float, drop: float) -> None:
    options = ExportConfig.parse({"max_drop": given})
    assert options.max_drop == kept and ExportConfig.parse(options.model_dump()) == options
    assert options.drop(lambda: 0.04)[0] == pytest.approx(drop)


def test_the_standard_error_is_asked_only_where_it_counts() -> None:
    def never() -> float:
        raise AssertionError

    assert ExportConfig(max_drop=0.2).drop(never) == (0.2, "export.max_drop")
    assert ExportConfig.parse({"max_drop": "0se"}).drop(never)[0] == 0.0
    assert [ExportConfig.parse({"max_drop": t}).drop(lambda: 1.0)[1] for t in ("1se", "2se")] == [
        "one standard error of the metric",
        "2 standard errors of the metric",
    ]


@pytest.mark.parametrize("text", ["5%", "-0.1", "-1se", "nan", "inf", "se", "", "1sd", True])
def test_what_is_no_drop_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"option 'max_drop': give a number in the metric's units.*such as 1se, got"):
        ExportConfig.parse({"max_drop": text})


def test_another_drop_changes_nothing_else() -> None:
    config = RunConfig.parse({"export": {"int8": True}})
    assert config.with_drop(None) == config
    assert config.with_drop(0.2).export == config.export.model_copy(update={"max_drop": 0.2})
