"""The zoo's harness, on backbones of our own: what passes, what fails, what is ended, and the page made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoo import steps
from zoo.build import NotForTheZoo, build, survey
from zoo.catalogue import in_order
from zoo.entry import Entry, call, of_shapes
from zoo.isolate import isolated
from zoo.results import STEPS, Results, outcome
from zoo.table import render

from dashfx.backbones import TCN, CifarResNet
from dashfx.errors import ExportError

GIB = 2**30
RESNET = Entry("ours", "resnet", "resnet", call(CifarResNet, 8), of_shapes((1, 8, 8), (3, 8, 8), (3, 16, 16)))
TCN_ENTRY = Entry("ours", "tcn", "tcn", call(TCN, channels=(8, 8)), of_shapes((1, 24)))


def walked(entry: Entry, until: str = "lower") -> dict[str, Any]:
    *_, last = steps.walk(*build(entry), until)
    return last


@pytest.mark.parametrize("entry", [RESNET, TCN_ENTRY], ids=lambda entry: entry.name)
def test_backbones_pass(entry: Entry) -> None:
    record = walked(entry)
    assert set(record["steps"].values()) == {"ok"} and tuple(record["steps"]) == STEPS[:-1]
    assert record["sites"] and record["convs"] == record["sites"] + sum(record["skips"].values())
    assert outcome(record) == "export not run"


@pytest.mark.slow
def test_a_backbone_is_exported() -> None:
    record = walked(TCN_ENTRY, "export")
    assert outcome(record) == "ok" and record["export"] == "dynamo, free batch"


def test_a_refused_export_tells_whether_the_untouched_model_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(steps.dashfx, "export", refuse)
    record = walked(TCN_ENTRY, "export")
    assert outcome(record) == "export refused" and record["untouched"] == "refused"


def test_the_smallest_input_that_fits_is_taken() -> None:
    _, (x,) = build(RESNET)
    assert x.shape == (2, 3, 8, 8)


def test_scales_of_zero_hide_nothing() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3)
            self.gamma = nn.Parameter(torch.zeros(2, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.gamma * self.conv(x)

    entry = Entry("ours", "gated", "gated", Gated, of_shapes((1, 12)))
    assert walked(entry, "train")["steps"]["train"] == "ok"


def broken(monkeypatch: pytest.MonkeyPatch, name: str, break_it: Any) -> dict[str, Any]:
    real = getattr(steps.dashfx, name)
    monkeypatch.setattr(steps.dashfx, name, lambda *args, **words: break_it(real(*args, **words)))
    return walked(TCN_ENTRY)


def test_a_conv_that_is_passed_over_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(program: Any) -> Any:
        del program.sites[next(iter(program.sites))]
        return program

    record = broken(monkeypatch, "trace", forget)
    assert record["steps"] == {"trace": "missed"} and "neither site nor skip" in record["error"]


def test_a_growth_that_changes_the_output_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def nudge(supernet: Any) -> Any:
        with torch.no_grad():
            next(iter(supernet.sites.values())).weights[0].mul_(1.01)
        return supernet

    record = broken(monkeypatch, "rewrite", nudge)
    assert record["steps"] == {"trace": "ok", "grow": "missed"} and "float64" in record["error"]


def test_a_candidate_that_does_not_move_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def freeze(supernet: Any) -> Any:
        next(iter(supernet.sites.values())).weights[0].requires_grad_(False)
        return supernet

    assert broken(monkeypatch, "rewrite", freeze)["steps"]["train"] == "missed"


class Exits(nn.Module):
    """In training one path out of two, drawn anew at each call; the exit is not seen by any loss."""

    def __init__(self, undone: bool = False) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.Conv1d(1, 1, 3) for _ in range(2))
        self.exit, self.undone = nn.Conv1d(1, 1, 3), undone

    def forward(self, x: Tensor) -> Tensor:
        self.exit(x)
        x = self.paths[np.random.randint(2) if self.training else 0](x) + 0 * self.paths[1](x)
        return x.exp().mul_(2) if self.undone else x


def test_what_the_untouched_model_does_not_train_is_counted() -> None:
    record = walked(Entry("ours", "exits", "exits", Exits, of_shapes((1, 12))), "train")
    assert record["steps"]["train"] == "ok" and record["sites"] == 3 and record["still"] == 2


def test_a_model_that_cannot_be_trained_is_left_out() -> None:
    with pytest.raises(NotForTheZoo, match="its own training step fails: one of the variables"):
        walked(Entry("ours", "undone", "undone", call(Exits, undone=True), of_shapes((1, 12))), "train")


def test_other_keys_are_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(plain: nn.Module) -> nn.Module:
        plain.register_buffer("extra", torch.zeros(1))
        return plain

    record = broken(monkeypatch, "lower", add)
    assert record["steps"]["lower"] == "missed" and "extra" in record["error"]


def test_what_cannot_be_compared_is_left_out() -> None:
    class Noisy(nn.Conv1d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(1)

    with pytest.raises(NotForTheZoo, match="random in eval"):
        build(Entry("ours", "noisy", "noisy", call(Noisy, 1, 1, 3), of_shapes((1, 9))))
    with pytest.raises(NotForTheZoo, match="takes none of the inputs offered"):
        build(Entry("ours", "narrow", "narrow", call(nn.Conv1d, 5, 1, 3), of_shapes((1, 9))))


def test_limits_end_a_model_and_keep_what_it_had_reported() -> None:
    def long() -> Iterator[dict[str, Any]]:
        yield {"steps": {"trace": "ok"}}
        while True:
            pass

    def large() -> Iterator[dict[str, Any]]:
        yield {"steps": {}}
        bytearray(4 * GIB)
        yield {"steps": {"trace": "ok"}}

    def short() -> Iterator[dict[str, Any]]:
        yield {"steps": {"trace": "ok", "grow": "crashed"}, "error": "E"}

    work = [("long", long), ("large", large), ("short", short)]
    ended = dict(isolated(work, seconds=2, memory=GIB, workers=3))
    assert {name: outcome(record) for name, record in ended.items()} == {
        "long": "grow ended (time)",
        "large": "trace ended (memory)",
        "short": "grow crashed",
    }


def facts(params: int, kinds: str = "a") -> dict[str, Any]:
    return {"params": params, "kinds": kinds}


def test_families_come_first_then_kinds_then_sizes() -> None:
    entries = [Entry("p", name, name[0], nn.Identity, of_shapes()) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
    surveyed = {
        ("p", "a1"): facts(30),
        ("p", "a2"): facts(20),
        ("p", "a3"): facts(40, "other"),
        ("p", "b1"): facts(10),
        ("p", "b2"): facts(10**9),
        ("p", "c1"): {**facts(1), "skipped": "not convolutional"},
    }
    assert [entry.name for entry in in_order(entries, surveyed)] == ["b1", "a2", "a3", "a1"]


def test_patches_alone_are_no_convolutional_model() -> None:
    patches = Entry("ours", "vit", "vit", call(nn.Conv2d, 3, 8, 4, stride=4), of_shapes((3, 8, 8)))
    assert survey(patches)["skipped"].startswith("not convolutional")
    assert survey(RESNET)["params"] == sum(p.numel() for p in build(RESNET)[0].parameters())


def test_rounding_is_told_from_a_miss() -> None:
    class Cancels(nn.Module):
        """Its answers are small beside what they are the difference of."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(16, 16, 7)

        def forward(self, x: Tensor) -> Tensor:
            return (1e4 + self.conv(x)).square() - 1e8

    record = walked(Entry("ours", "cancels", "cancels", Cancels, of_shapes((16, 32))), "grow")
    assert record["steps"]["grow"] == "ok" and record["rounding"] > steps.TOLERANCE
    assert record["own_rounding"] > steps.TOLERANCE


def test_the_last_record_counts(tmp_path: Path) -> None:
    first, second = Results(tmp_path, "models", "-0"), Results(tmp_path, "models", "-1")
    second.append({"package": "p", "name": "n", "at": 2, "steps": {"trace": "ok"}})
    first.append({"package": "p", "name": "n", "at": 1, "steps": {"trace": "crashed"}})
    assert first.read()["p", "n"]["steps"] == {"trace": "ok"}


def test_the_page_counts_every_model_once() -> None:
    about = {"package": "timm", "params": 10, "at": 0}
    skips = {"complex weights": 1}
    ran = {"convs": 4, "sites": 3, "skips": skips, "spatial_skips": skips, "opaque": 0}
    missed = {"steps": {"trace": "ok", "grow": "missed"}, "error": "off | by", "untouched": "refused"}
    ok = dict.fromkeys(("trace", "grow", "train", "lower", "export"), "ok")
    seen = {"still": 2, "rounding": 2e-3, "own_rounding": 1e-3}
    page = render(
        [
            about | ran | {"name": "good", "family": "f", "steps": ok} | seen,
            about | ran | missed | {"name": "bad", "family": "f"},
            about | {"name": "late", "family": "f"},
            about | {"name": "huge", "family": "f", "params": 10**9},
            about | {"name": "vit", "family": "v", "skipped": "not convolutional: no spatial conv"},
            about | {"name": "sold", "family": "f", "skipped": "cannot be built: no weights"},
        ],
        "with nothing",
    )
    assert "nothing can move its candidates: 2 of 6 sites (2 in good)." in page
    assert "| timm | good | 2e-03 | 1e-03 |" in page
    assert "So far 6 were listed and 2 of 3 that fit were run, with nothing." in page
    assert "| timm | 2 | 2 / 2 | 1 / 2 | 1 / 1 | 1 / 1 | 1 / 1 | 1 / 2 50.0 % |" in page
    assert "| timm | 6 | 1 | 1 | 1 | 2 of 3 | 1 of 1 | 1 of 1 |" in page
    assert "| timm | 8 | 8 | 6 | 75.0 % | 0 | 0 |" in page
    assert "| timm | bad | grow missed, and so is the untouched model | off \\| by |" in page
    assert "| timm | sold | cannot be built: no weights |" in page
