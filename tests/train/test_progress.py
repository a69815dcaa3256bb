"""Observers hear of everything; the log is a JSON object a line that a killed run leaves readable."""

from __future__ import annotations

import json
from pathlib import Path

from dashfx.passes import Edit, PassResult
from dashfx.site import Skip
from dashfx.train.progress import QUIET, Epoch, JsonlLog, Observer, Observers, end_last_line, read_log

EPOCH = Epoch("search", 0, 2, 1.5, 0.25, 0.25, 0.1, 2.0, 8.0, {"conv": (0.5, "k3 d1")})


def tell(observer: Observer) -> None:
    observer.stage("search", "dash")
    observer.planned({"search": 2})
    observer.passed(PassResult(None, (Edit("conv", "folded"),), (Skip("up", "transposed"),), "canonicalise"))
    observer.step("search", 0, 1, 4)
    observer.epoch(EPOCH)
    observer.evaluated("search", 1, 4, 0.5)
    observer.trial(0, {"lr": 0.1}, 0.5, "complete")
    observer.note("a note")
    observer.stage_done("search", 1.23456)


def log_at(path: Path) -> JsonlLog:
    log = JsonlLog()
    log.write_to(path)
    return log


def test_what_happens_before_the_file_has_a_name_is_written_then(tmp_path: Path) -> None:
    log = JsonlLog()
    log.note("early")
    log.write_to(tmp_path / "log.jsonl")
    log.note("late")
    assert [event["text"] for event in read_log(tmp_path / "log.jsonl")] == ["early", "late"]


def test_the_log_holds_what_happened(tmp_path: Path) -> None:
    tell(Observers([QUIET, log_at(tmp_path / "log.jsonl")]))
    events = read_log(tmp_path / "log.jsonl")
    assert [event["event"] for event in events] == ["stage", "pass", "epoch", "note", "stage_done"]  # no line a step
    assert events[1]["edits"] == [{"site": "conv", "what": "folded"}] and events[1]["skips"][0]["name"] == "up"
    assert events[2]["mixtures"] == {"conv": [0.5, "k3 d1"]} and events[2]["loss"] == 1.5
    assert events[4]["seconds"] == 1.235 and all(event["time"] > 0 for event in events)


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tell(log_at(path))
    path.write_text(path.read_text()[:-9])
    assert len(read_log(path)) == 4
    log_at(path).note("after a resume")
    assert len(read_log(path)) == 5 and read_log(path)[-1]["text"] == "after a resume"


def test_only_half_a_line_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for before, after in ((b"", b""), (b"{}\n", b"{}\n"), (b'{"a', b'{"a\n')):
        path.write_bytes(before)
        end_last_line(path)
        assert path.read_bytes() == after


def test_no_log_yet(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def test_every_method_is_passed_on() -> None:
    heard: list[str] = []

    class Ear(Observer):
        def __getattribute__(self, name: str) -> object:
            heard.append(name)
            return super().__getattribute__(name)

    tell(Observers([Ear(), Ear()]))
    public = {name for name in vars(Observer) if not name.startswith("_")}
    assert {name for name in heard if heard.count(name) == 2} == public


def test_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log_at(path).epoch(Epoch("search", 0, 1, 1.0, float("nan"), float("nan"), 0.1, 1.0, 1.0))
    assert json.loads(path.read_text())["event"] == "epoch"
