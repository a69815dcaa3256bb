"""Rewritings are kept where they are measured to be faster and answer alike; the file says which ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rewritten import Of, ops, written
from torch import nn

from dashfx.deploy.export import ExportReport, export
from dashfx.deploy.layout import choose
from dashfx.deploy.layout.choose import LAYOUT_KEY, Layout, faster_layout
from dashfx.deploy.runtime import load_proto, read_metadata
from dashfx.errors import VerifyError

NAME = "1-D convs as 2-D"
CROPS = "crops behind convs in their padding"


def conv() -> nn.Conv1d:
    return nn.Conv1d(4, 4, 3, padding=1)


def causal() -> nn.Module:
    return Of(lambda x, a: torch.relu(a(x)[..., :-2]), nn.Conv1d(4, 4, 3, padding=2))


def times(*values: float) -> Callable[..., tuple[float, ...]]:
    return lambda *_: values


def refuse(path: Path) -> None:
    raise VerifyError(f"{path.name} differs")


@pytest.mark.parametrize(
    ("seconds", "check", "convs", "said"),
    [
        ((2.0, 1.0), lambda _: None, 2, "2.00 times as fast"),
        ((1.02, 1.0), lambda _: None, 0, "not kept, 1.02 times as fast"),
        ((1.0, 2.0), lambda _: None, 0, "not kept, 0.50 times as fast"),
        ((2.0, 1.0), refuse, 0, "not kept, it answers otherwise"),
    ],
)
def test_kept_only_where_it_is_faster_and_checked(
    seconds: tuple[float, float], check: Callable[[Path], None], convs: int, said: str, tmp_path: Path
) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(3, 4, 17)
    written(nn.Sequential(conv(), nn.ReLU(), conv()), path, x)
    before = path.read_bytes()
    found = faster_layout(path, (x,), check, times(*seconds))
    assert isinstance(found, Layout) and found.kept == ({NAME: convs} if convs else {}) and said in found.text
    assert (path.read_bytes() != before) == bool(convs)
    assert (LAYOUT_KEY in read_metadata(path)) == bool(convs)


@pytest.mark.parametrize("kept", [(CROPS, NAME), (NAME,), (CROPS,), ()])
def test_each_is_tried_on_what_was_kept_before(kept: tuple[str, ...], tmp_path: Path) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(3, 4, 17)
    written(causal(), path, x)
    gains = iter([2.0 if name in kept else 1.0 for name in (CROPS, NAME)])
    found = faster_layout(path, (x,), lambda _: None, lambda *_: (next(gains), 1.0))
    assert found is not None and tuple(found.kept) == kept
    after = ops(load_proto(path))
    assert (after["Slice"] == 0) == (CROPS in kept) and after["Unsqueeze"] == (NAME in kept)
    assert read_metadata(path).get(LAYOUT_KEY, "") == "; ".join(f"1 {name}" for name in kept)


def test_nothing_to_rewrite_is_not_timed(tmp_path: Path) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(2, 4, 8, 8)
    written(nn.Sequential(nn.Conv2d(4, 2, 3), nn.ReLU()), path, x)
    before = path.read_bytes()
    assert faster_layout(path, (x,), lambda _: None, lambda *_: pytest.fail("timed")) is None
    assert path.read_bytes() == before


def test_what_onnx_runtime_refuses_is_not_kept(tmp_path: Path) -> None:
    def stop(*_: object) -> tuple[float, float]:
        raise RuntimeError("no kernel\nat all")

    path, x = tmp_path / "model.onnx", torch.randn(3, 4, 17)
    written(conv(), path, x)
    found = faster_layout(path, (x,), lambda _: None, stop)
    assert found is not None and not found.kept and found.text.endswith("does not take it (no kernel)")


def test_a_file_says_so_and_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "medians", times(3.0, 1.0))
    model = Of(lambda x, a: a(torch.relu(a(x))), conv())
    report = export(model, torch.randn(2, 4, 16), tmp_path / "model.onnx")
    assert report.layout.startswith("2 1-D convs as 2-D: 3.00 times") and report.layout in str(report)
    assert report.ops["Unsqueeze"] == report.ops["Squeeze"] == 1 and report.verification.path == report.path
    assert read_metadata(report.path)[LAYOUT_KEY] == "2 1-D convs as 2-D"
    assert report.bytes == report.path.stat().st_size and [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert ExportReport.from_dict(report.to_dict()) == report


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "medians", times(3.0, 1.0))
    report = export(nn.Sequential(conv()), torch.randn(2, 4, 16), tmp_path / "model.onnx", layout="off")
    assert report.layout == "" and "Unsqueeze" not in report.ops
