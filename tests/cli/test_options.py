"""Files, flags and --set become one configuration, the later ones winning."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashfx.cli.main import separate_values
from dashfx.cli.naming import folders
from dashfx.cli.options import shared as options
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError


def test_flags_win_over_the_file_and_set_wins_over_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seed: 1\nsearch: {epochs: 1, lr: 0.5}\nretrain: {batch_size: 8}\n")
    flags = {"config": file, "epochs": 2, "batch_size": 16, "assignments": ["search.epochs=3"], "out": "ignored"}
    made = options.configuration(flags)
    assert (made.seed, made.search.lr, made.search.epochs) == (1, 0.5, 3)
    assert (made.search.batch_size, made.retrain.batch_size) == (16, 16)


def test_a_method_goes_over_the_file_and_under_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RunConfig.parse({"method": "gdas", "seed": 3}).to_yaml())
    made = options.configuration({"config": file, "method": "darts", "rule": "energy"})
    assert (made.method, made.search.update, made.search.relaxation) == ("darts", "unrolled", "softmax")
    assert (made.search.rule, made.seed) == ("energy", 3)
    with pytest.raises(ConfigError, match="leave one of the two"):
        options.configuration({"method": "darts", "strategy": "evolution"})


def test_an_earlier_run_is_the_start() -> None:
    before = RunConfig.parse({"seed": 7, "space": {"kernels": [3, [3, 7]]}})
    made = options.configuration({"seed": None, "retrain_epochs": 4}, before)
    assert made.seed == 7 and made.space.kernels == (3, (3, 7)) and made.retrain.epochs == 4
    assert options.configuration({"retrain_epochs": "20"}, before).retrain.epochs == 20  # as the command line gives it
    assert options.configuration({"retrain_epochs": "auto"}, made).retrain.epochs == "auto"


def test_every_flag_reaches_its_key() -> None:
    flags = {
        "model_args": ["a=1 b=x", "c=[1,2],d=1e-3"],
        "kernels": "3, 5x7",
        "dilations": "1",
        "include": ["layer1.*,stem", "head"],
        "exclude": ["*.down"],
        "space": "baby",
    }
    made = options.configuration(flags)
    assert made.model_args == {"a": 1, "b": "x", "c": [1, 2], "d": 0.001}
    assert made.space.kernels == (3, (5, 7)) and made.space.dilations == (1,) and made.space.preset == "baby"
    assert made.space.include == ("layer1.*", "stem", "head") and made.space.exclude == ("*.down",)


def test_zero_is_a_value_and_not_a_missing_one() -> None:
    assert options.configuration({"seed": 0}, RunConfig(seed=3)).seed == 0


@pytest.mark.parametrize("text", ["", "3;5", "3x", "a", "-3", "3.5"])
def test_sizes_of_another_form(text: str) -> None:
    with pytest.raises(ConfigError):
        options.sizes(text)


@pytest.mark.parametrize("text", ["", "3", "3,32,32", "0x8x8", "3x32x", "2x3x4x5x6"])
def test_shapes_of_another_form(text: str) -> None:
    with pytest.raises(ConfigError):
        options.shape(text)


def test_a_flag_through_a_single_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("search: dash\n")
    with pytest.raises(ConfigError, match="must be a block"):
        options.configuration({"config": file, "epochs": 2})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--model-args a=1 b=2 net.py:Net", "--model-args a=1 --model-args b=2 net.py:Net"),
        ("--set a.b=1 c=2 --seed 3 d=4", "--set a.b=1 --set c=2 --seed 3 d=4"),
        ("--wider width=8 depth=4", "--wider width=8 --wider depth=4"),
        ("net.py:Net --data x", "net.py:Net --data x"),
    ],
)
def test_several_values_after_one_flag(given: str, meant: str) -> None:
    assert list(separate_values(given.split())) == meant.split()


def test_flags_of_the_finalists() -> None:
    flags = {"finalists": 2, "seeds": 3, "longer": False, "wider": ["width", "depth=4"], "refit": True}
    found = options.configuration(flags).finalists
    assert (found.count, found.seeds, found.longer, found.refit) == (2, 3, False, True)
    assert found.wider == {"width": "auto", "depth": 4}
    assert options.configuration({"longer": True}).finalists.longer is True
    assert options.configuration({}).finalists.longer == "auto"


@pytest.mark.parametrize("text", ["=8", "two words", "a-b=3"])
def test_a_wider_model_needs_a_name(text: str) -> None:
    with pytest.raises(ConfigError, match="--wider"):
        options.configuration({"wider": [text]})


def test_the_first_free_folder(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-2").touch()
    assert folders.free_folder(str(tmp_path / "run")) == tmp_path / "run-3"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("a/Crop.npz", "Crop"),
        ("a.npz+b.npz", "a"),
        ("planted:3", "planted-3"),
        ("my data/", "my-data"),
        ("d.py:f", "f"),
    ],
)
def test_a_run_is_named_after_model_and_data(data: str, name: str) -> None:
    assert folders.run_name("pkg.nets:Net", data) == f"Net-{name}"
