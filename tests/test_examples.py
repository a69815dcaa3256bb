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


def test_own_loop(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ten classes: chance is a tenth, and a small net on digits goes far beyond it in a few epochs."""
    found = load("03_own_loop").main(epochs=2, path=str(tmp_path / "model.onnx"))
    assert "agrees with PyTorch" in capsys.readouterr().out
    assert min(found.values()) > 0.4 and found["lowered"] > found["supernet"] - 0.3


@pytest.mark.parametrize(("name", "needs"), [("04_lightning", "pytorch_lightning"), ("05_hf_trainer", "transformers")])
def test_trainers_of_others(name: str, needs: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip(needs)
    folder = {"folder": str(tmp_path / "run")} if needs == "transformers" else {}
    supernet = load(name).main(epochs=1, path=str(tmp_path / "model.onnx"), **folder)
    assert "agrees with PyTorch" in capsys.readouterr().out
    assert all(float(site.fade) == 0 and site.alpha.abs().sum() > 0 for site in supernet.sites.values())
