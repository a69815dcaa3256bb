"""`dashfx methods`: every plug-in is listed, and the page in docs/ is what it generates."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashfx.cli.main import run
from dashfx.cli.verbs.methods import page
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
