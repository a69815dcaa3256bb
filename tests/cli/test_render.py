"""What is shown: whole in 80 columns, plain without a terminal, nothing when quiet."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from dashfx.cli import render
from dashfx.cli.tables import shared as tables
from dashfx.cli.tables.drawing import common_scale, drawings, support
from dashfx.genotype import Genotype
from dashfx.site import Site, Skip
from dashfx.space import Candidate
from dashfx.train.progress import Epoch

MIXTURES = {f"layer{i}.0.conv1": (0.1 + 0.02 * i, "k15 d15") for i in range(30)}


def an_epoch(stage: str = "search", **changes: object) -> Epoch:
    facts = {"epoch": 29, "epochs": 30, "loss": 12.345678, "metric": 0.98765, "best": 0.99123, "lr": 0.0312}
    return Epoch(**{"stage": stage, "seconds": 61.0, "steps_per_second": 123.4, **facts, **changes})  # type: ignore[arg-type]


def follow(observer: render.Progress) -> None:
    """What a short run tells its observer."""
    with observer:
        observer.stage("trace")
        observer.stage_done("trace", 0.1)
        observer.stage("search", "dash")
        observer.step("search", 28, 1, 3)
        observer.epoch(an_epoch(epoch=28, mixtures=MIXTURES))
        observer.step("search", 29, 2, 3)
        if observer._live:
            observer._live.refresh()
        observer.epoch(an_epoch(mixtures=MIXTURES))
        observer.note("a [b]note[/b]")
        observer.stage_done("search", 12.3)


def test_without_a_terminal_an_epoch_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    follow(render.progress(quiet=False))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and re.search(r"[\x00-\x09\x0b-\x1f\x7f]", captured.err) is None
    assert all(len(line) <= 80 for line in lines)
    assert sum(line.startswith("search 30/30  loss 12.3  valid 0.9877  best 0.9912") for line in lines) == 1
    assert "note: a [b]note[/b]" in lines
    assert lines[-1] == "search           12.3 s  30 epochs, loss 12.3, best valid 0.9912"


def test_a_training_that_validation_ends_has_at_most_so_many_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with render.progress(quiet=False) as observer:
        observer.planned({"retrain-plain": 6000}, at_most=True)
        observer.stage("retrain-plain")
        observer.epoch(an_epoch("retrain-plain", epoch=0, epochs=6000, open=True))
        observer.epoch(an_epoch("retrain-plain", epoch=1199, epochs=6000, open=True))
        observer.epoch(an_epoch("retrain-plain", epoch=1200, epochs=1500))
    lines = capsys.readouterr().err.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("retrain-plain: the whole run has at most 101:")
    assert [line.split()[1] for line in (lines[0], *lines[2:])] == ["1/<=6000", "1200/<=6000", "1201/1500"]
    shown = printed(render._bar("retrain", an_epoch("retrain", epoch=3, epochs=600, open=True), 1, 3, 3600.0))
    assert "retrain epoch 5/<=600" in shown[0] and "at most 10:05:56 left" in shown[0]
    shown = printed(render._bar("retrain", an_epoch("retrain", epoch=3, epochs=600), 1, 3, 3600.0))
    assert "retrain epoch 5/600" in shown[0] and "about 10:05:56 left" in shown[0]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    follow(render.progress(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_display_fits_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    monkeypatch.setattr(render, "ERR", terminal)
    follow(render.progress(quiet=False))
    shown = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[" in shown
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= 80
    for part in ("epoch 30/30", "about 1:01 left", "layer0.0.conv1", "k15 d15", "and 14 more"):
        assert any(part in line for line in lines), part
    assert not any(line.startswith("search 30/30") for line in lines)


def printed(*parts: object) -> list[str]:
    console = Console(file=io.StringIO(), width=80, markup=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def a_site(name: str = "conv", kernel: int = 3) -> Site:
    return Site(name, 3, 16, Candidate((kernel, kernel)), (2, 2), ((1, 1), (1, 1)), 1, True, "zeros", ((32, 32),))


def test_long_names_fold_and_lose_nothing() -> None:
    name = "backbone.stages.2.blocks.11.attention.local_mixing.depthwise_convolution.inner.layer"
    lines = printed(tables.skips([Skip(name, "pointwise")]), tables.genotype(Genotype({name: Candidate(5)}), {}))
    assert max(map(len, lines)) <= 80
    text = re.sub(r"[^\w.]", "", "".join(lines))
    assert name[-20:] in text


def test_the_genotype_shows_what_stood_there() -> None:
    chosen = Genotype({"conv": Candidate((7, 7), (3, 3))}, "argmax")
    row = next(
        line for line in printed(tables.genotype(chosen, {"conv": a_site()})) if "conv " in line and "k7" in line
    )
    assert row.split() == ["conv", "k3", "d1", "k7", "d3", "19x19", "49"]


def result(**facts: object) -> dict[str, object]:
    return {"metric": "relative_l2", "maximise": False, "valid": 0.25, "test": 0.5, "onnx_valid": None, **facts}


def test_a_run_of_one_model_is_one_row() -> None:
    lines = [line.split() for line in printed(*tables.not_kept(result()), tables.run_metrics(result())) if line.strip()]
    assert lines[0] == ["relative_l2", "(lower", "is", "better)"] and lines[1] == ["model", "validation", "test"]
    assert lines[3:] == [["the", "model", "0.2500", "0.5000"]]  # an older run did not say which


def test_the_model_that_is_handed_back_is_marked() -> None:
    models = {"searched": {"valid": 0.3, "test": 0.4}, "untouched": {"valid": 0.2, "test": 0.5}}
    finals = {"tuned": 0.31, "plain": 0.3, "kept": "plain"}
    facts = result(models=models, kept="untouched", onnx_valid=0.21, finals=finals)
    first, *lines = printed(*tables.not_kept(facts), tables.run_metrics(facts))
    assert first.startswith("The untouched model is handed back")
    rows = [line.strip() for line in lines[4:] if line.strip(" ─")]
    assert [re.split(r"  +", row) for row in rows] == [
        ["searched", "0.3000", "0.4000"],
        ["retrained by the tuned recipe", "0.3100"],
        ["untouched, handed back", "0.2000", "0.5000"],
        ["through ONNX Runtime", "0.2100"],
    ]


def test_an_ensemble_is_a_row_below_the_models() -> None:
    models = {"searched": {"valid": 0.3, "test": 0.4}, "untouched": {"valid": 0.2, "test": 0.5}}
    ensemble = {"members": [{}, {}], "figures": {"valid": 0.19, "test": 0.41}, "onnx_valid": 0.195}
    facts = result(models=models, kept="untouched", onnx_valid=0.21, ensemble=ensemble)
    rows = [re.split(r"  +", line.strip()) for line in printed(tables.run_metrics(facts)) if line.strip(" ─")]
    assert rows[-2:] == [["ensemble of 2", "0.1900", "0.4100"], ["through ONNX Runtime", "0.1950"]]
    for missing in (None, {"members": [], "figures": None, "onnx_valid": None}):
        shown = printed(tables.run_metrics({**facts, "ensemble": missing}))
        assert not any("ensemble" in line for line in shown)


@pytest.mark.parametrize(("genotype", "told"), [("own", True), ("found", False), ("both", False)])
def test_whose_choice_a_distilled_model_has(genotype: str, told: bool) -> None:
    found = "own" if genotype == "both" else "found"
    origins = {"searched": found, "untouched": "own", "distilled": "own" if genotype == "both" else genotype}
    finalists = [{"origin": origin, "genotype": {"conv": choice}} for origin, choice in origins.items()]
    lines = list(tables.not_kept(result(kept="distilled", finalists=finalists)))
    assert bool(lines) == told


def test_padding_and_field() -> None:
    assert tables.padding(((1, 1), (1, 1))) == "1" and tables.padding(((4, 0),)) == "4+0"
    assert tables.field((float("inf"), 9.0)) == "allx9" and tables.field(None) == "unknown"


@pytest.mark.parametrize(("kernel", "dilation", "drawn"), [(1, 5, "x"), (5, 1, "xxxxx"), (3, 3, "x..x..x")])
def test_support(kernel: int, dilation: int, drawn: str) -> None:
    assert support(kernel, dilation) == drawn


def test_drawings_share_a_scale_and_a_centre() -> None:
    chosen = Genotype({"a": Candidate(19, 15), "b": Candidate(3), "c": Candidate((3, 5), (1, 2))})
    rows = list(drawings(chosen, 40))
    assert common_scale(chosen, 40) == 7 and max(len(drawing) for _, _, drawing in rows) <= 40
    assert [(site, axis) for site, axis, _ in rows] == [("a", ""), ("b", ""), ("c", "height"), ("", "width")]
    assert rows[0][2].count("x") == 19


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    render.error("first: [a]\n   second " + "x" * 200)
    assert capsys.readouterr().err == "error: first: [a] second " + "x" * 200 + "\n"


def test_trainings_at_the_same_time_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    monkeypatch.setattr(render, "ERR", terminal)
    with render.progress(quiet=False) as observer:
        observer.stage("workers", "2 trainings by 2 processes")
        for stage, epoch in (("control", 2), ("random", 8), ("control", 3)):
            observer.epoch(an_epoch(stage, epoch=epoch))
        lines = printed(observer._draw())
        observer.stage_done("workers", 12.3)
        assert printed(observer._draw()) == [""]
        observer.stage("compare")
        assert printed(observer._draw()) == ["compare ..."]
    assert lines[0] == "workers ..." and len(lines) == 3
    assert "control" in lines[1] and "epoch 4/30" in lines[1] and "best 0.9912" in lines[1]
    assert "random" in lines[2] and "epoch 9/30" in lines[2]
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())  # type: ignore[attr-defined]
    assert "workers          12.3 s  2 trainings by 2 processes" in shown
