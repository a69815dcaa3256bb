"""YAML, `--set` and genotypes of any form: read, or refused in one line, in bounded time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.config.files import LARGEST, assign, parse_value, parse_yaml, read_yaml
from dashfx.config.json import parse_json
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, DashfxError, GenotypeError
from dashfx.genotype import Genotype
from dashfx.space import Candidate

BOMB = "a0: &a0 [1,1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
ODD: dict[str, tuple[str, str]] = {
    "brackets": ("[" * 5000, "nested too deeply"),
    "braces": ("{a: " * 5000, "nested too deeply"),
    "an alias bomb": (BOMB, "repeated by aliases"),
    "a value that holds itself": ("a: &a [*a]\n", "contains itself"),
    "a name given twice": ("seed: 1\nseed: 2\n", "'seed' stands there twice"),
    "a number of 5,000 digits": (f"seed: {'9' * 5000}\n", "digits"),
    "no date": ("seed: 2020-99-99\n", "month must be"),
    "a list as a name": ("? [1]\n: 2\n", "unhashable"),
    "a tag of Python's": ("seed: !!python/object:os.system {}\n", "could not determine a constructor"),
}


@pytest.mark.parametrize(("text", "words"), ODD.values(), ids=ODD)
def test_odd_yaml_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as raised:
        read_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(raised.value) and "c.yaml" in str(raised.value) and len(str(raised.value)) < 500


def test_a_configuration_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# " + "x" * LARGEST)
    with pytest.raises(ConfigError, match="is larger than"):
        read_yaml(tmp_path / "c.yaml")


def test_aliases_that_stay_small_are_read() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}, e: *a}") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": [1, 2]},
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -5}, "'seed'.*greater than or equal to 0"),
        ({"seed": 10**22}, "'seed'.*less than"),
        ({"seed": 10**5000}, "'seed'"),
        ({"export": {"tolerance": float("inf")}}, "'export.tolerance'.*finite"),
        ({"export": {"tolerance": float("nan")}}, "'export.tolerance'.*finite"),
        ({"search": {"lr": float("inf")}}, "'search.lr'.*finite"),
        ({"tune": {"space": {"lr": {"low": 1, "high": float("inf")}}}}, "finite"),
        ({1: 2}, "option '?1'?"),
        ({"model_args": {1: 2}}, "model_args"),
    ],
)
def test_values_beyond_reason_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        RunConfig.parse(options)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


GENOTYPE = Genotype({"stem": Candidate((3, 3)), "head.0": Candidate(5, 2)}, "argmax").to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        (
            '{"dashfx_genotype": 1, "sites": {"a": {"kernel": ' + "[" * 500 + "3" + "]" * 500 + ', "dilation": [1]}}}',
            "k",
        ),
        ('{"dashfx_genotype": 1, "dashfx_genotype": 1}', "stands there twice"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": ["3"], "dilation": [1]}}}', "kernel"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": [3.5], "dilation": [1]}}}', "kernel"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": [NaN], "dilation": [1]}}}', "kernel"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": "33", "dilation": [1]}}}', "kernel"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": [], "dilation": []}}}', "kernel"),
        ('{"dashfx_genotype": 1, "sites": {"a": {"kernel": ' + "9" * 5000 + ', "dilation": 1}}}', "not a genotype"),
    ],
)
def test_odd_genotypes_are_one_line(text: str, words: str) -> None:
    with pytest.raises(GenotypeError, match=words) as raised:
        Genotype.from_json(text)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["seed", "search", "tune", "space", "model_args", "normalise", "budget", "amp", "preset", "x"])
FUZZ = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def read_or_refused(*texts: str, read: Any) -> None:
    try:
        read(*texts)
    except DashfxError as error:
        assert str(error) and "\n" not in str(error)


@FUZZ
@given(
    st.text("[]{}:&*!?|>-# \n'\"a1,<.%@", max_size=40) | st.dictionaries(NAMES, PLAIN, max_size=3).map(yaml.safe_dump)
)
def test_any_yaml_is_read_or_refused(text: str) -> None:
    def read(text: str) -> None:
        found = parse_value(text)
        if isinstance(found, dict):
            RunConfig.parse(found).to_yaml()

    read_or_refused(text, read=read)


@FUZZ
@given(NAMES, st.text(".=[]{}a1:", max_size=6), PLAIN)
def test_any_assignment_is_read_or_refused(name: str, more: str, value: Any) -> None:
    text = f"{name}.{more}={json.dumps(value)}"
    read_or_refused(text, read=lambda text: RunConfig.parse(assign({}, [text])))


@FUZZ
@given(st.integers(0, len(GENOTYPE)), st.text('[]{}",:0123a\\', max_size=8), st.integers(0, 8), PLAIN)
def test_any_genotype_is_read_or_refused(place: int, put: str, gone: int, value: Any) -> None:
    read_or_refused(GENOTYPE[:place] + put + GENOTYPE[place + gone :], read=Genotype.from_json)
    facts = parse_json(GENOTYPE)
    facts["sites"]["stem"]["kernel"] = value
    read_or_refused(json.dumps(facts), read=Genotype.from_json)
