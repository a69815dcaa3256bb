"""What a notebook shows of a program, a genotype and a result: complete, escaped, and with drawings to scale."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from finished import EVIL, K3, K5, K7, Balance, standing
from torch import nn

import dashfx
from dashfx.cost.latency import Figures
from dashfx.genotype import Genotype
from dashfx.report.models import notebook
from dashfx.run.result import Result


def shown(thing: object) -> Balance:
    page = Balance(thing._repr_html_())  # type: ignore[attr-defined]
    assert not page.open
    return page


def test_a_genotype_shows_its_choices_to_one_scale() -> None:
    genotype = Genotype({"a": K3, "b": K5, EVIL: K7})
    page = shown(genotype)
    assert "k5 d2" in page.text and page.tags["svg"] == 3 and "<script" not in genotype._repr_html_()
    widths = [float(w) for w in re.findall(r'class="span"[^>]* width="([\d.]+)"', genotype._repr_html_())]
    assert widths == [30, 90, 70]


def test_a_program_shows_sites_and_what_is_left_alone() -> None:
    page = shown(dashfx.trace(nn.Sequential(nn.Conv1d(2, 4, 5), nn.Conv1d(4, 4, 1)), torch.zeros(2, 2, 64)))
    for words in ("2 to 4", "k5 d1", "64", "pointwise"):
        assert words in page.text, words


def test_a_result_shows_its_models_and_choices(result: Result) -> None:
    result = replace(result, finalists=(standing("searched", 0.9, figures=Figures(0.9, 0.8, 1234, 5678)),))
    page = shown(replace(result, html=notebook(result)))
    for words in ("validation 0.9, test 0.8", "1,234", "not run (--random-control)", "k7 d1", "own"):
        assert words in page.text, words
    assert Balance(notebook(Result(Genotype(), nn.Identity(), result.task, 0.5, 0.5))).text
