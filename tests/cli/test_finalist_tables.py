"""The tables of a race and of the finalists, in 80 columns."""

from __future__ import annotations

import io
import math
from typing import Any

from rich.console import Console

from dashfx.cli.tables import finalists as finalist_tables
from dashfx.cli.tables import shared as tables


def printed(*parts: Any) -> list[str]:
    console = Console(width=80, file=io.StringIO(), markup=False, emoji=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def entry(name: str, judged: float, kept: bool = False, **more: Any) -> dict[str, Any]:
    usual = {"origin": "searched", "seeds": 1, "spread": None, "cost": 2.5, "valid": judged + 0.01, "test": 0.7}
    sizes = {"parameters": 12_345, "macs": 6_000_000, "latency": {"median": 0.00123}}
    return {"name": name, "judged": judged, "kept": kept, **usual, **sizes, **more}


def facts(*finalists: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"metric": "accuracy", "maximise": True, "onnx_valid": 0.91, "refit": None, "test": 0.7}
    return {**usual, "finalists": list(finalists), **more}


UNTOUCHED = entry("untouched", 0.8, origin="untouched", cost=1.0)


def test_a_row_a_finalist_with_its_training_and_its_size() -> None:
    lines = printed(*finalist_tables.trained(facts(entry("k7 d1", 0.9, kept=True), UNTOUCHED)))
    assert max(map(len, lines)) <= 80 and lines[0].startswith("accuracy (higher is better)")
    text = " ".join(" ".join(lines).split())
    assert "model judged valid test trained params MACs ms" in text
    assert "0.9000 0.9100 0.7000 2.50x 12.3k 6.00M 1.23" in text and "handed back" in text
    assert "untouched 0.8000 0.8100 0.7000 1.00x 12.3k 6.00M 1.23" in text
    assert text.index("ONNX Runtime") < text.index("untouched 0.8000") and "±" not in text


def test_seeds_have_their_spread_and_what_was_not_measured_is_empty() -> None:
    lost = entry("plain", 0.7, test=None, parameters=None, macs=None, latency=None, cost=None)
    lines = printed(*finalist_tables.trained(facts(entry("k7 d1", 0.9, True, seeds=3, spread=0.0123), lost)))
    assert any("±0.0123" in line for line in lines)
    row = next(line for line in lines if line.strip().startswith("plain"))
    assert row.split() == ["plain", "0.7000", "0.7100"]


def test_a_refitted_model_shows_no_figure_of_rows_that_it_has_seen() -> None:
    lines = printed(*finalist_tables.trained(facts(entry("k7 d1", 0.9, True), UNTOUCHED, refit=0.99, test=0.75)))
    text = " ".join(" ".join(lines).split())
    assert "0.7500" in text and "0.99" not in text and "ONNX" not in text and "trained on both" in text


def test_the_race_is_a_table_of_its_own() -> None:
    short = [
        {"name": "k7 d1", "stage": "race-1-k7 d1", "epochs": 10, "loss": 0.5, "valid": 0.6, "kept": True},
        {"name": "k5 d1", "stage": "race-1-k5 d1", "epochs": 10, "loss": 0.7, "valid": 0.6, "kept": False},
    ]
    lines = [line.split() for line in printed(*finalist_tables.trained(facts(UNTOUCHED, race=short))) if line.strip()]
    assert ["1", "k7", "d1", "10", "0.5000", "yes"] in lines and ["1", "k5", "d1", "10", "0.7000"] in lines


def test_a_training_that_diverged_is_told_in_words_and_a_huge_loss_in_short() -> None:
    gone = entry("untouched, longer", math.nan, test=None, parameters=None, macs=None, latency=None)
    short = {"name": "k7 d3", "stage": "race-1-k7 d3", "epochs": 1, "loss": 6.59e24, "valid": 0.6, "kept": False}
    text = " ".join(" ".join(printed(*finalist_tables.trained(facts(UNTOUCHED, gone, race=[short])))).split())
    assert "untouched, longer diverged 2.50x" in text and "nan" not in text
    assert "k7 d3 1 6.59e+24" in text


def test_results_of_earlier_versions_have_the_table_that_they_had() -> None:
    old = facts(models={"searched": {"valid": 0.3, "test": 0.4}}, kept=None, valid=0.3)
    old["finalists"] = [{"name": "searched", "origin": "searched", "kept": True}]
    (table,) = finalist_tables.trained(old)
    assert [column.header for column in table.columns] == ["model", "validation", "test"]


def test_an_untouched_model_that_is_handed_back_is_named() -> None:
    longer = entry("untouched, longer", 0.9, kept=True, origin="longer")
    assert list(tables.not_kept(facts(longer))) == [
        "The untouched, longer model is handed back: on validation this choice did not beat it."
    ]
    assert list(tables.not_kept(facts(entry("k7 d1", 0.9, kept=True), UNTOUCHED))) == []
