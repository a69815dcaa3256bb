"""`dashfx methods`: every plug-in is listed, and the page in docs/ is what it generates."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dashfx.cli.main import run
from dashfx.cli.verbs.methods import page, page_of_methods
from dashfx.config.methods import METHODS
from dashfx.plugins import HOMES, known_of

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
