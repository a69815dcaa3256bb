"""Pictures of costs: which models are marked, and that nothing is drawn where there is nothing to compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from finished import CHOICES, Balance, config, figures_of, standing, written

from dashfx.cost.latency import Figures, Latency
from dashfx.data import Data
from dashfx.deploy.quantise.choose import Int8
from dashfx.report.costs import Mark, costs, latency_marks, scatter, shares
from dashfx.run.outcome.front import Front, Point, SiteTime
from dashfx.run.result import Result


def timed(result: Result) -> Result:
    def figures(valid: float, ms: float) -> Figures:
        return Figures(valid, 0.8, 1, 1, Latency(ms / 1e3, ms / 2e3, ms / 500, 30, 1))

    searched = standing("searched", 0.9, figures=figures(0.9, 3.0), kept=True)
    untouched = standing("untouched", 0.85, figures=figures(0.85, 2.0))
    front = Front("latency", "seconds", (Point(CHOICES, 0.001, "1 ms", -2.0, 0.5),))
    times = (SiteTime("a", (0.1, 10.0), (0.2, 30.0)), SiteTime("b", (0.1, 10.0), (0.6, 10.0)))
    int8 = Int8(Path("model.int8.onnx"), metric=0.88, before=0.9, max_drop=0.1, speedup=3.0)
    return replace(result, finalists=(searched, untouched), front=front, site_times=times, int8=int8)


def test_every_model_that_was_timed_is_marked(result: Result) -> None:
    assert latency_marks(timed(result)) == [
        Mark("searched", 3.0, 0.9),
        Mark("untouched", 2.0, 0.85),
        Mark("int8", 1.0, 0.88),
        Mark("", 1.0, 0.5, False),
    ]
    assert latency_marks(result) == [] and costs(result) == ""


def test_the_page_holds_pictures_and_front(tmp_path: Path, result: Result, data: Data) -> None:
    page = Balance(written(tmp_path, timed(figures_of(result)), config(), data))
    assert not page.open and "Quality against latency" in page.text and "Share of the convs' time" in page.text
    assert "none trained for itself" in page.text and "1 ms" in page.text
    other = replace(timed(result), front=Front("params", "parameters", (Point(CHOICES, 9.0, "9", -1.0, 0.5),)))
    assert "Quality against params" in Balance(written(tmp_path, other, config(), data)).text


def test_names_are_text_and_shares_add_up() -> None:
    drawn = scatter([Mark("<b> $x$", 1.0, 0.5), Mark("", 2.0, 0.6, False)], "ms", "acc<")
    assert "<b>" not in drawn and "&lt;b&gt; $x$" in drawn
    bars = shares([SiteTime("a", (1.0, 1.0), (1.0, 3.0)), SiteTime("b", (1.0, 1.0), (3.0, 1.0))])
    assert "multiply-adds" in bars and Balance(bars).open == []
    assert shares([SiteTime("a", (0.0, 0.0), (0.0, 0.0))])
