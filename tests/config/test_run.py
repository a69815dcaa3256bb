"""Options: YAML and --set go in, one checked configuration comes out; mistakes are named with the nearest option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dashfx.config.files import assign, read_yaml
from dashfx.config.run import RunConfig
from dashfx.config.space import SpaceConfig
from dashfx.errors import ConfigError
from dashfx.plugins import parse_value
from dashfx.space import Candidate, SearchSpace


def test_defaults_survive_yaml() -> None:
    config = RunConfig()
    assert RunConfig.parse(yaml.safe_load(config.to_yaml())) == config


def test_everything_survives_yaml() -> None:
    options = {
        "model": "net.py:Net",
        "model_args": {"width": 3, "kernels": [3, 5]},
        "data": "digits",
        "normalise": {"mean": [0.5], "std": [0.25]},
        "space": {
            "kernels": [3, [3, 7]],
            "dilations": [1],
            "overrides": {"stem*": {"kernels": [7]}},
            "exclude": ["head*"],
        },
        "search": {"tau": [2.0, 0.1], "alpha_on": "held-out"},
        "retrain": {"weights": "fresh", "milestones": [0.5]},
        "amp": "bf16",
    }
    config = RunConfig.parse(options)
    assert RunConfig.parse(yaml.safe_load(config.to_yaml())) == config
    assert config.search.tau == (2.0, 0.1) and config.retrain.milestones == (0.5,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sede": 1}, r"no option 'sede' \(did you mean 'seed'"),
        ({"search": {"epoch": 3}}, r"no option 'epoch' in 'search' \(did you mean 'epochs'"),
        ({"space": {"overrides": {"a": {"kernel": [3]}}}}, "no option 'kernel' in 'space.overrides.a'"),
        ({"search": {"epochs": 0}}, "option 'search.epochs': .*greater than or equal to 1, got 0"),
        ({"search": {"lr": "fast"}}, "option 'search.lr': .*got 'fast'"),
        ({"retrain": {"weights": "warm"}}, "option 'retrain.weights'.*'inherit'.*got 'warm'"),
        ({"search": 3}, "option 'search'"),
        ({"valid_fraction": 1.5}, "valid_fraction"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        RunConfig.parse(options)
    assert "\n" not in str(raised.value)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().search.epochs = 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.05", 0.05),
        ("1e-3", 1e-3),
        ("[3, 5]", [3, 5]),
        ("true", True),
        ("null", None),
        ("cosine", "cosine"),
        ("held-out", "held-out"),
        ("fresh", "fresh"),
        ("net.py:Net", "net.py:Net"),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_values_are_read_as_yaml(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_assignments_go_deep_and_override() -> None:
    options = assign(
        {"seed": 1, "search": {"lr": 1}}, ["seed=2", "search.lr=5e-2", "space.overrides={'stem*': {kernels: [7]}}"]
    )
    config = RunConfig.parse(options)
    assert (config.seed, config.search.lr) == (2, 0.05) and list(config.space.overrides) == ["stem*"]


@pytest.mark.parametrize("assignment", ["seed", "=3", "seed.deep=3"])
def test_broken_assignments(assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        assign({"seed": 1}, [assignment])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b", "name: value"),
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "name: value"),
    ],
)
def test_broken_files(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        read_yaml(tmp_path / "run.yaml")
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(("ndim", "candidates"), [(1, 20), (2, 16), (3, 16)])
def test_the_default_space_is_the_papers(ndim: int, candidates: int) -> None:
    space = SpaceConfig().build(ndim)
    assert len(space) == candidates and space.keep_original


def test_spaces() -> None:
    config = SpaceConfig.parse({"kernels": [3, [1, 5]], "overrides": {"stem": {"kernels": [7], "dilations": [1, 2]}}})
    space = config.build(2)
    assert Candidate((1, 5), 15) in space.candidates  # dilations from the preset
    assert space.for_site("stem", Candidate((3, 3)))[:2] == (Candidate((7, 7)), Candidate((7, 7), 2))
    assert len(SpaceConfig.parse({"preset": "baby"}).build(1)) == 4


def test_a_space_from_python_is_written_out() -> None:
    space = SearchSpace((Candidate(3), Candidate(5, 2)), (("stem", (Candidate((7, 3)),)),), keep_original=False)
    config = SpaceConfig.parse({"exclude": ["head"]}).holding(space)
    assert config.build(2) == space and config.exclude == ("head",)
    assert SpaceConfig.parse(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize("value", [".inf", ".nan", "0", "0.5"])
def test_no_tolerance_turns_the_check_of_the_onnx_file_off(value: str) -> None:
    with pytest.raises(ConfigError, match=r"export\.tolerance"):
        RunConfig.parse({"export": {"tolerance": yaml.safe_load(value)}})
