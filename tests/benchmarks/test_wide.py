"""The benchmark of wide networks runs: at a toy size, its times unread."""

from __future__ import annotations

import pytest

from benchmarks.wide import NETWORKS, main
from dashfx.backbones import ResNet18


def test_a_row_for_each_way(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "ResNet-18", lambda: ResNet18(width=4))
    main(["--networks", "ResNet-18", "--ways", "ceiling", "whole", "--size", "16", "--batch", "2", "--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split(" | ")[1] for row in rows] == ["ceiling", "whole"]


def test_mobilenet_has_the_parameters_of_its_paper() -> None:
    assert sum(p.numel() for p in NETWORKS["MobileNetV2"]().parameters()) == 3_504_872
