"""`check --tune` and `bench-ops`: what they show, not how long things take."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashfx.cli.main import run
from dashfx.ops.autotune import suite

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1))
"""


def test_check_shows_the_algorithm_of_each_conv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    arguments = ["check", "net.py:Net", "--input", "1x20", "--space", "baby", "--tune", "--set", "search.batch_size=8"]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "2 measured" in said and max(map(len, said.splitlines())) <= 80
    table = said[said.index("forward + backward") :]
    assert "8x1x20" in table and "8x4x20" in table and "1, 2" in table and "fourier" in table
    assert run(arguments) == 0
    assert "0 measured in 0.0 s, 2 known" in capsys.readouterr().out


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "SUITE", (suite.Layer(2, 4, (12,), 3), suite.Layer(4, 4, (6, 6), 2, groups=4)))


@pytest.mark.usefixtures("small")
def test_bench_ops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.png"
    assert run(["bench-ops", "--repeats", "2", "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for name in ("1-D 2->4 at 12, batch 3", "2-D depthwise 4 at 6x6, batch 2", *suite.COMPARED):
        assert name in said
    assert "geometric mean" in said and "torch" in said.splitlines()[0]
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--algorithms", "furier"], "did you mean 'fourier'?"),
        (["--layers", "4-D*"], "no layer fits; the first is '1-D 2->4 at 12, batch 3'"),
        (["--out", "bench.jpg"], "give a .png file"),
        (["--out", "nowhere/bench.png"], "a folder that exists"),
    ],
)
def test_bench_ops_refuses(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench-ops", *arguments]) == 2
    assert said in capsys.readouterr().err
