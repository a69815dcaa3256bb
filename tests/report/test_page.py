"""The report: complete, one file, escaped, and warnings that fire where they should and nowhere else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished import ESCAPED, EVIL, K3, K5, K7, SPACE, Balance, config, epoch, figures_of, site, standing, written

from dashfx.config.run import RunConfig
from dashfx.data import Data
from dashfx.drawing.html import Html, tag
from dashfx.drawing.kernels import common_scale, kernel
from dashfx.genotype import Genotype
from dashfx.report.figures import changes
from dashfx.report.warnings import warnings_of
from dashfx.run.result import Result
from dashfx.site import Skip
from dashfx.space import Candidate
from dashfx.train.progress import Epoch


def test_the_page_says_what_the_run_found(tmp_path: Path, result: Result, data: Data) -> None:
    page = Balance(written(tmp_path, result, config(), data))
    assert not page.open
    expected = ["Net on data", "0.9", "0.8", "k5 d2", "k7 d1", "head", "kernel 1x1: nothing to search", "1 min 1 s"]
    expected += [
        "3.4e-07",
        "CPUExecutionProvider",
        "a narrower axis",
        "data: a note",
        "valid_fraction",
        "torch",
        "argmax",
    ]
    for words in expected:
        assert words in page.text, words
    # 4 -> 4 channels: 25 and 49 taps instead of 9 and 9
    after, saved = 2 * 4 + 16 * (25 + 49), 16 * (25 + 49 - 18)
    assert f"{after:,}" in page.text and f"before: {after - saved:,}" in page.text
    assert page.tags["svg"] == 4 + 3  # two kernels a site; search, retrain, mixtures


def test_nothing_is_fetched_and_no_id_is_used_twice(tmp_path: Path, result: Result, data: Data) -> None:
    text = written(tmp_path, result, config(), data)
    assert "http" not in text and "<link" not in text and "@import" not in text
    assert all(source.startswith(("data:", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', text))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {
        pair for i in ids for pair in ((i, ""), ("", i))
    }


def test_every_text_of_a_user_is_escaped(tmp_path: Path, result: Result, data: Data) -> None:
    result = replace(result, sites={EVIL: site(EVIL)})
    result = replace(result, genotype=Genotype({EVIL: K5}, EVIL))
    result = replace(result, skips=(Skip(EVIL, EVIL),))
    result = replace(result, notes=[EVIL])
    result = replace(result, task=replace(result.task, name=EVIL, metric_name=EVIL))
    result = replace(result, history=[epoch("search", i, 2, 0.5, {EVIL: (0.1, EVIL)}) for i in range(2)])
    result.history.append(epoch(EVIL, 0, 1, 0.5))
    result = replace(result, seconds={EVIL: 1.0})
    evil_data = replace(data, name=EVIL, labels=(EVIL,), notes=(EVIL,))
    evil_config = RunConfig.parse({"model": f"{EVIL}.py:Net", "model_args": {EVIL: EVIL}, "checkpoint": EVIL})
    text = written(tmp_path, result, evil_config, evil_data)
    assert "<script" not in text.lower()
    assert text.count(ESCAPED) > 10


@pytest.mark.parametrize("strategy", ["random", "untouched"])
def test_a_control_without_search_epochs_has_a_report(
    tmp_path: Path, result: Result, data: Data, strategy: str
) -> None:
    empty: dict[str, Any] = {"history": [], "onnx_valid": None, "exported": None, "skips": ()}
    result = replace(result, genotype=Genotype({"a": K3, "b": K3}), **empty)
    assert warnings_of(result, config(strategy=strategy), data) == []
    page = Balance(written(tmp_path, result, config(strategy=strategy), data))
    assert "not available" in page.text and "every conv of the model was searched" in page.text
    assert "does not say whether the search helped" not in page.text


def test_a_site_that_the_genotype_does_not_name_was_left_alone(tmp_path: Path, result: Result, data: Data) -> None:
    result = replace(result, genotype=Genotype({"a": K5}), skips=())
    text = Balance(written(tmp_path, result, config(), data)).text
    assert "the genotype does not name it" in text and "every conv of the model was searched" not in text


def test_metrics_that_are_missing_do_not_stop_it(tmp_path: Path, result: Result, data: Data) -> None:
    nan = float("nan")
    result = replace(result, valid=nan, test=nan)
    result = replace(result, history=[epoch("retrain", i, 2, nan) for i in range(2)])
    page = Balance(written(tmp_path, result, config(), data))
    assert "There is no accuracy on the test part" in page.text


def test_a_quiet_run_has_no_warnings(result: Result, data: Data) -> None:
    assert warnings_of(result, config(), data) == []


def only(result: Result, config: RunConfig, data: Data) -> str:
    (warning,) = warnings_of(result, config, data)
    return warning


def test_warns_where_all_sites_chose_the_same(result: Result, data: Data) -> None:
    result = replace(result, genotype=Genotype({"a": K5, "b": K5}))
    assert "All 2 sites chose k5 d2" in only(result, config(), data)
    assert "cost penalty" not in only(result, config(cost_weight=0.2), data)  # which favours k3
    result = replace(result, genotype=Genotype({"a": K3, "b": K3}))
    result = replace(result, sites={name: replace(each, original=K7) for name, each in result.sites.items()})
    assert "cost penalty" in only(result, config(cost_weight=0.2), data)
    assert "cost" not in only(result, config(cost_weight=0), data)


def test_warns_where_no_site_changed(result: Result, data: Data) -> None:
    result = replace(result, genotype=Genotype({"a": K3, "b": K3}))
    assert "changed nothing" in only(result, config(), data)


def test_warns_of_undecided_sites_by_the_candidates_that_pruning_left(result: Result, data: Data) -> None:
    # 6 candidates in the space; an even share is 1/6, the limit 1.5 times that
    last = result.history[19]
    for share, decided in ((0.24, False), (0.26, True)):
        result.history[19] = replace(last, mixtures={**last.mixtures, "b": (share, str(K7))})
        assert (
            warnings_of(result, config(), data) == []
            if decided
            else "1 site (b) was undecided" in only(result, config(), data)
        )


def test_warns_of_choices_that_change_in_the_last_tenth(result: Result, data: Data) -> None:
    def led_by_k3_before(turn: int) -> list[Epoch]:
        early = {"a": (0.9, str(K3)), "b": (0.8, str(K7))}
        return [replace(e, mixtures=early) if e.epoch < turn and e.stage == "search" else e for e in settled]

    settled = result.history
    result = replace(result, history=led_by_k3_before(17))
    assert warnings_of(result, config(), data) == []
    result = replace(result, history=led_by_k3_before(18))
    assert "1 site (a) was still changing the leading candidate in the last 2 epochs" in only(result, config(), data)


def test_warns_where_a_control_is_as_good(result: Result, data: Data) -> None:
    searched, untouched = standing("searched", 0.9, kept=True), standing("untouched", 0.85, None, stage="control")
    result = replace(result, finalists=(searched, untouched, standing("random", 0.7)))
    assert warnings_of(result, config(), data) == []
    result = replace(result, finalists=(searched, untouched, standing("random", 0.9)))
    assert "(0.9) did not beat random (0.9)" in only(result, config(), data)
    result = replace(result, finalists=(searched, replace(untouched, valid=0.95), standing("random", 0.9)))
    assert "did not beat untouched (0.95) and random (0.9)" in only(result, config(), data)


def test_the_choices_of_a_search_that_lost_are_shown(tmp_path: Path, result: Result, data: Data) -> None:
    own = Genotype({"a": K3, "b": K3}, "untouched")
    lost, kept = standing("searched", 0.9), standing("untouched", 0.95, genotype=own, stage="control", kept=True)
    result = replace(result, finalists=(lost, kept), genotype=own)
    assert not [line for line in warnings_of(result, config(), data) if "changed nothing" in line]
    text = Balance(written(tmp_path, result, config(), data)).text
    assert "chosen: k5 d2" in text and "The untouched model was handed back" in text


def test_warns_where_the_penalty_alone_would_choose_the_same(result: Result, data: Data) -> None:
    names = [f"conv{i}" for i in range(3)]
    result = replace(result, sites={name: site(name) for name in names})
    result = replace(result, genotype=Genotype(dict(zip(names, (K3, K3, K5), strict=True))))
    metrics = (0.6, 0.9, 0.9, 0.8, 0.8)
    result = replace(result, history=[epoch("retrain", i, 5, metric) for i, metric in enumerate(metrics)])
    assert "2 of 3 sites took the candidate with the lowest span" in only(result, config(cost_weight=0.1), data)
    assert warnings_of(result, config(cost_weight=0), data) == []
    result = replace(result, genotype=Genotype(dict(zip(names, (K3, K7, K5), strict=True))))
    assert warnings_of(result, config(cost_weight=0.1), data) == []


def test_warns_of_leaks_that_the_data_note(result: Result, data: Data) -> None:
    leaky = replace(data, notes=(*data.notes, "leak: 12 rows stand in train and in test"))
    assert only(result, config(), leaky) == "A leak: 12 rows stand in train and in test"


def test_models_are_compared_and_a_missing_control_is_named(tmp_path: Path, result: Result, data: Data) -> None:
    text = Balance(written(tmp_path, figures_of(result), config(), data)).text
    assert text.count("budget latency=2ms: missed by 1 ms") == 1
    for words in (
        "sees 3 → 9",
        "sees 5 before and 15 after",
        "1,000 MB",
        "searched, handed back",
        "0.85",
        "12,345",
        "67,890",
        "2 ms",
        "not measured",
        "not run (--random",
    ):
        assert words in text, words


def test_warns_where_the_last_epoch_of_retraining_was_the_best(result: Result, data: Data) -> None:
    result.history[-1] = replace(result.history[-1], metric=0.901)
    assert "raise retrain.epochs" in only(result, config(), data)
    result.history[-1] = replace(result.history[-1], metric=0.9)  # as good as an earlier one: nothing was gained
    assert warnings_of(result, config(), data) == []


def test_warns_of_trainings_too_short_to_be_judged(result: Result, data: Data) -> None:
    short = replace(result, history=result.history[:-1])
    assert "Fewer than 5 epochs do not tell" in only(short, config(), data)
    assert "raise retrain.epochs" not in only(short, config(), data)
    assert warnings_of(replace(result, history=result.history[:-5]), config(), data) == []  # nothing was trained


def test_warns_of_trainings_that_have_not_converged(result: Result, data: Data) -> None:
    searched, untouched = standing("searched", 0.9), standing("untouched", 0.8, stage="control")
    learning = [epoch("retrain", i, 6, 0.1 * i) for i in range(6)]
    history = [*result.history, *(replace(each, stage="control") for each in learning)]
    result = replace(result, finalists=(searched, untouched), history=history)
    assert "The untouched model's training has not converged" in only(result, config(), data)
    assert "--retrain-epochs 18" in only(result, config(), data)
    facts = {each["name"]: each["convergence"] for each in result.to_dict()["finalists"]}
    assert facts["untouched"]["converged"] is False and facts["searched"]["converged"] is True


def test_where_validation_ended_a_training_its_last_epoch_may_be_the_best(result: Result, data: Data) -> None:
    learning = [replace(epoch("retrain", i, 60, 0.1 * i), open=True) for i in range(5)]
    ended = [epoch("retrain", i, 7, 0.9) for i in (5, 6)]
    result = replace(result, history=[*result.history[:-5], *learning, *ended])
    assert warnings_of(result, config(), data) == []
    cut = [replace(each, epochs=60) for each in ended]
    result = replace(result, history=[*result.history[:-2], *cut])
    assert "no plateau in 7 epochs" in only(result, config(), data)


def test_the_best_epoch_follows_the_task(result: Result, data: Data) -> None:
    falling = [epoch("retrain", i, 5, metric) for i, metric in enumerate((0.9, 0.6, 0.6, 0.6, 0.599))]
    result = replace(result, history=[*result.history[:-5], *falling], task=replace(result.task, maximise=False))
    assert "raise retrain.epochs" in only(result, config(), data)


def test_warns_where_onnx_runtime_measures_something_else(result: Result, data: Data) -> None:
    result = replace(result, onnx_valid=0.88)
    assert "ONNX Runtime gives 0.88 and PyTorch 0.9" in only(result, config(), data)


def test_warns_of_few_rows(result: Result, data: Data) -> None:
    small = replace(data, valid=data.valid.subset(np.arange(60)))
    assert "The valid part has 60 rows" in only(result, config(), small)
    limited = RunConfig.parse({"space": SPACE, "limit": 500})
    assert "At most 500 rows" in only(result, limited, data)


def test_changes_are_found_between_neighbours() -> None:
    led = [epoch("search", i, 3, 0.5, {"a": (0.5, who), "b": (0.5, "x")}) for i, who in enumerate("xyy")]
    assert changes(led) == [(1, "a")]


@pytest.mark.parametrize(
    ("candidate", "taps", "width", "height"),
    [
        (Candidate((5,), (3,)), 5, 13, None),
        (Candidate((3, 5), (2, 1)), 15, 5, 5),
        (Candidate((3, 1, 7)), 7, 7, 1),
    ],
)
def test_a_kernel_is_drawn_to_scale(candidate: Candidate, taps: int, width: int, height: int | None) -> None:
    drawing = kernel(candidate, 4.0, "own")
    (path,) = re.findall(r'd="([^"]*)"', drawing)
    assert path.count("M") == taps
    assert f'width="{4.0 * width:.1f}"' in drawing
    assert height is None or f'height="{4.0 * height:.1f}"' in drawing


def test_the_largest_kernel_fits_its_card() -> None:
    candidates = [Candidate((9, 9), (15, 15)), K3]
    assert common_scale(candidates, 150) * 121 == pytest.approx(150)
    assert common_scale([Candidate(3)], 260) == 10


def test_tags_escape_text_and_attributes_but_not_finished_html() -> None:
    assert tag("p", "<b>", Html("<i>"), class_='"x"') == '<p class="&quot;x&quot;">&lt;b&gt;<i></p>'
