"""The examples run as they stand, with fewer epochs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_search(capsys: pytest.CaptureFixture[str]) -> None:
    load("01_search").main(epochs=1)
    said = capsys.readouterr().out
    assert "block.conv1" in said and "test accuracy" in said


def test_by_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    load("02_by_hand").main(epochs=1, path=str(tmp_path / "model.onnx"))
    assert "agrees with PyTorch" in capsys.readouterr().out
    assert (tmp_path / "model.onnx").is_file()
