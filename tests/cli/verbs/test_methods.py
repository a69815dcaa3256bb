"""`dashfx methods`: every plug-in is listed, and the page in docs/ is what it generates."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml

from dashfx.cli.main import app, run, separate_values
from dashfx.cli.methods import survey
from dashfx.cli.options.shared import configuration
from dashfx.cli.verbs.methods import page, page_of_methods
from dashfx.config.methods import METHODS
from dashfx.plugins import HOMES, find, known_of
from dashfx.strategies.named import strategy_of

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "systems.md"


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: dashfx methods --markdown > docs/reference/systems.md"


@pytest.mark.parametrize("kind", HOMES)
def test_every_plug_in_says_what_it_does(kind: str) -> None:
    assert known_of(kind)
    for each in known_of(kind):
        assert each.line.endswith((".", ":", ")")) and (each.paper or not each.row), each.name


def test_one_kind_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "update"]) == 0
    shown = capsys.readouterr().out
    assert "unrolled" in shown and "ICLR 2019" in shown and "soft-gumbel" not in shown
    assert run(["methods", "updat"]) == 2


def test_the_text_of_the_page_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--markdown"]) == 0
    assert capsys.readouterr().out == page()


def test_the_page_of_methods_is_what_they_say() -> None:
    text = PAGE.with_name("methods.md").read_text(encoding="utf-8")
    assert text == page_of_methods(), "run: dashfx methods method --markdown > docs/reference/methods.md"
    assert all(f"| `{name}` |" in text for name in METHODS)


@pytest.mark.parametrize("arguments", [["darts-pt"], ["--method", "darts-pt"]])
def test_a_method_is_shown_by_its_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", *arguments]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == METHODS["darts-pt"].options and "ICLR 2021" in shown


def test_methods_are_listed_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "method"]) == 0
    shown = capsys.readouterr().out
    assert "darts-pt" in shown and "soft-gumbel" not in shown
    assert run(["methods"]) == 0
    assert capsys.readouterr().out.startswith("method")
    assert run(["methods", "darst"]) == run(["methods", "--method", "darst"]) == 2
    assert "did you mean 'darts'" in capsys.readouterr().err


def test_a_kind_and_a_method_are_two_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "update", "--method", "darts"]) == 2
    assert "leave one of them" in capsys.readouterr().err


WAVE = "2 3 4 6 8 9 18 19 20 28 30 31 34 42 44 46 56 59 66 79 91 94 110 115 118 120 129 136 X1 X3"


def test_every_row_of_the_survey_has_a_part_and_a_command() -> None:
    found = survey.parts()
    assert set(WAVE.split()) <= set(found) == {*survey.COMMANDS, *survey.CALLS}
    assert len(found) == len(survey.COMMANDS) + len(survey.CALLS)
    assert f"{len(found)} rows stand here." in survey.section()


def test_a_row_that_is_called_says_a_function_that_there_is() -> None:
    for row, call in survey.CALLS.items():
        module, _, name = call.partition("(")[0].rpartition(".")
        assert getattr(import_module(module), name).row == row and f"| {row} | " in survey.section()


@pytest.mark.parametrize("row", survey.COMMANDS)
def test_a_row_s_command_says_options_that_there_are(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("TABLE.json").write_text('{"rows": [{"genotype": {"stem": "3,1"}, "valid": 0.9}]}', encoding="utf-8")
    verb, *words = separate_values(shlex.split(survey.COMMANDS[row]))
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    config = configuration(command.make_context(verb, words).params)
    strategy_of(config).check(config)
    find("weight optimiser", config.retrain.optimizer)
    find("alpha optimiser", config.search.alpha_optimizer)
