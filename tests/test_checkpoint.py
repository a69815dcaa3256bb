"""Checkpoints: usual formats, nestings and prefixes load; what does not fit is named; no code is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dashfx.checkpoint import load_checkpoint, read_weights
from dashfx.errors import CheckpointError


def model(width: int = 3) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv1d(1, width, 3), nn.BatchNorm1d(width))


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in model(3).state_dict().items()}


@pytest.mark.parametrize(
    "state",
    [
        prefixed(""),
        prefixed("module."),
        prefixed("module._orig_mod."),
        {"state_dict": prefixed("model.")},
        {"epoch": 3, "model_state_dict": prefixed(""), "optimizer": {"lr": 0.1}},
        {"model": {"state_dict": prefixed("")}, "best": 0.5},
        {key: value for key, value in prefixed("").items() if "num_batches" not in key},
    ],
)
def test_nestings_and_prefixes(state: dict[str, Any], tmp_path: Path) -> None:
    target = model()
    with torch.no_grad():
        target[0].weight.zero_()
    load_checkpoint(target, saved(tmp_path / "w.pt", state))
    assert torch.equal(target[0].weight, model()[0].weight)


@pytest.mark.parametrize("name", ["w.pth", "w.th", "w.ckpt", "w.bin"])
def test_names_of_files(name: str, tmp_path: Path) -> None:
    assert read_weights(saved(tmp_path / name, prefixed(""))).keys() == model().state_dict().keys()


def test_safetensors(tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / "w.safetensors")
    load_checkpoint(model(), tmp_path / "w.safetensors")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_python_objects_are_refused_and_not_run(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write({"model": Trap()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds Python objects") as raised:
        load_checkpoint(model(), tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists() and "\n" not in str(raised.value)


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    target = model()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    state = {**prefixed(""), "0.wieght": torch.zeros(1)}
    del state["0.weight"]
    state["1.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(target, saved(tmp_path / "w.pt", state))
    message = str(raised.value)
    assert (
        "missing, first '0.weight' (did you mean '0.wieght'?)" in message
        and "1.bias is (7,), the model's is (3,)" in message
    )
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_long_lists_are_cut(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"; and \d+ more$") as raised:
        load_checkpoint(model(), saved(tmp_path / "w.pt", {f"other{i}": torch.zeros(1) for i in range(30)}))
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "cannot be read"), (b"not a checkpoint", ""), (b"\x80\x02}q\x00.", "")],
)
def test_broken_files(content: bytes, words: str, tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as raised:
            read_weights(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_half_written_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", prefixed(""))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(path)


@pytest.mark.parametrize("state", [{"epoch": 3}, [torch.zeros(1)], {"model": {"epoch": 1}}])
def test_no_state_dict(state: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read_weights(saved(tmp_path / "w.pt", state))


def test_no_such_file(tmp_path: Path) -> None:
    saved(tmp_path / "weights.pt", {})
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*wights\.pt \(did you mean 'weights\.pt'\?\)"):
        read_weights(tmp_path / "wights.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_weights(tmp_path / "none" / "weights.pt")
