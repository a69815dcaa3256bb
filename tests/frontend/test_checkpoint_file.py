"""Reading checkpoints: formats by content, the entry that is taken and why, and files that are something else."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from dashfx.errors import CheckpointError
from dashfx.frontend.checkpoint_file import read_weights


def weights(value: float = 1.0) -> dict[str, Tensor]:
    return {"fc.weight": torch.full((2, 3), value), "fc.bias": torch.full((2,), value)}


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def value(path: Path, key: str | None = None) -> float:
    """The number that fills the weights that were read."""
    return float(read_weights(path, key)[0]["fc.bias"][0])


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.th", "w.ckpt", "w.bin", "w.safetensors"])
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_content_tells_the_format_not_the_name(name: str, write: Any, tmp_path: Path) -> None:
    write(weights(), tmp_path / name)
    assert read_weights(tmp_path / name)[0].keys() == weights().keys()


def test_the_old_format_of_torch(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert value(tmp_path / "w.pt") == 1


def test_shards_of_safetensors(tmp_path: Path) -> None:
    names = {"fc.weight": "model-00001-of-00002.safetensors", "fc.bias": "model-00002-of-00002.safetensors"}
    for key, file in names.items():
        save_file({key: weights()[key]}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert read_weights(index)[0].keys() == weights().keys()
    (tmp_path / names["fc.bias"]).unlink()
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*00002-of-00002"):
        read_weights(index)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="is no safetensors index"):
        read_weights(index)


@pytest.mark.parametrize(
    "state",
    [
        weights(),
        {"state_dict": weights(), "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        {"model": {"state_dict": weights()}, "optimizer": {"lr": 0.1}},
        {"net": weights(), "acc": 93.1},
        {"params": weights(), "params_ema": weights(2)},
        {"state_dict": weights(), "model": weights(3)},
        {"ema": {"module": weights()}},
    ],
)
def test_usual_entries(state: dict[str, Any], tmp_path: Path) -> None:
    assert value(saved(tmp_path / "w.pt", state)) == 1


def test_averaged_weights_only_on_request(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": weights(1), "model_ema": weights(2), "epoch": 3})
    assert value(path) == 1 and value(path, "model_ema") == 2
    assert "checkpoint_key=model_ema takes the averaged weights" in read_weights(path)[1][0]
    (note,) = read_weights(saved(tmp_path / "e.pt", {"ema": weights(2)}))[1]
    assert "averaged weights only" in note


@pytest.mark.parametrize("key", ["student", "state_dict.student", "other"])
def test_a_key_names_an_entry_or_the_beginning_of_names(key: str, tmp_path: Path) -> None:
    inside = {f"{who}.{name}": v for who, n in [("student", 2), ("teacher", 3)] for name, v in weights(n).items()}
    path = saved(tmp_path / "w.pt", {"state_dict": inside, "other": {"model": weights(2)}})
    assert value(path, key) == 2


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": weights(), "model_ema": weights()})
    with pytest.raises(CheckpointError, match=r"nothing under checkpoint_key 'model_eam' \(did you mean 'model_ema'"):
        read_weights(path, "model_eam")
    with pytest.raises(CheckpointError, match="'zzz'; there are 'model', 'model_ema'"):
        read_weights(path, "zzz")


@pytest.mark.parametrize("state", [{"epoch": 3}, [torch.zeros(1)], {"model": {"epoch": 1}}, {}, 3])
def test_no_state_dict(state: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read_weights(saved(tmp_path / "w.pt", state))


def test_entries_of_unusual_names_are_offered(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"generator": weights(), "epoch": 1})
    with pytest.raises(CheckpointError, match="checkpoint_key=NAME from generator"):
        read_weights(path)
    assert value(path, "generator") == 1


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_python_objects_are_refused_and_not_run(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write({"model": Trap()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"holds Python objects.*torch\.load\('w\.pt'") as raised:
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists() and "\n" not in str(raised.value)


def test_the_refused_class_is_named_and_the_advice_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(3, 2), "whole.pt")
    with pytest.raises(CheckpointError, match=r"\(torch\.nn\.modules\.linear\.Linear\).*state\.state_dict\(\)"):
        read_weights("whole.pt")
    state = torch.load("whole.pt", "cpu", weights_only=False)
    torch.save(state.state_dict(), "weights.pt")
    assert set(read_weights("weights.pt")[0]) == {"weight", "bias"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"is a TorchScript program.*torch\.jit\.load\('w\.pt'\)"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>\n<html><title>Sign in</title>", "begins with '<!DOCTYPE html>.*a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n\xff\xff", "it has another format"),
        (b"\x80\x02}q\x00.", "cannot be read|holds no state_dict"),
        (b"PK\x03\x04 half a zip", "cannot be read"),
    ],
)
def test_files_of_another_kind(content: bytes, words: str, tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as raised:
            read_weights(tmp_path / name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_a_half_written_file(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    write({"a": torch.zeros(500)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(path)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder; give a file of weights; it holds none of \.safetensors"):
        read_weights(tmp_path)
    saved(tmp_path / "weights.pt", {})
    with pytest.raises(CheckpointError, match=r"such as '.*weights\.pt'"):
        read_weights(tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    saved(tmp_path / "weights.pt", {})
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*wights\.pt \(did you mean 'weights\.pt'\?\)"):
        read_weights(tmp_path / "wights.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_weights(tmp_path / "none" / "weights.pt")


def test_the_state_of_a_run_is_not_a_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path / "search-last.pt", {"learner": {"model": weights()}, "best_weights": {}})
    with pytest.raises(CheckpointError, match="dashfx search --resume"):
        read_weights(path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("quantised", lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)),
        ("sparse", lambda v: v.to_sparse()),
        ("sparse", lambda v: v.to_sparse_csr()),
        ("meta", lambda v: v.to("meta")),
        ("float8_e4m3fn", lambda v: v.to(torch.float8_e4m3fn)),
        ("nested", lambda v: torch.nested.nested_tensor([v[0], v[1]])),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_dense_numbers(kind: str, change: Any, tmp_path: Path) -> None:
    state = {**weights(), "fc.weight": change(weights()["fc.weight"])}
    with pytest.raises(CheckpointError, match=rf"w\.pt'.*'fc.weight' is a {kind}.*save the model's weights as dense"):
        read_weights(saved(tmp_path / "w.pt", state))


@pytest.mark.parametrize("key", [None, "a.b.c"])
def test_a_dict_that_contains_itself(key: str | None, tmp_path: Path) -> None:
    state: dict[str, Any] = {"epoch": 1}
    state["model"] = {"net": state}
    with pytest.raises(CheckpointError, match="contains itself" if key is None else "has nothing under"):
        read_weights(saved(tmp_path / "w.pt", state), key)


def test_entries_in_entries(tmp_path: Path) -> None:
    state: dict[str, Any] = weights()
    for _ in range(200):
        state = {"model": state}
    assert value(saved(tmp_path / "w.pt", state)) == 1


def test_zip_archives_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"w\.npz' holds NumPy arrays; save them as tensors: torch\.save"):
        read_weights(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(CheckpointError, match=r"a zip archive of 'notes\.txt', and not one from torch\.save"):
        read_weights(path)


def test_an_archive_that_unpacks_to_more_than_it_holds(tmp_path: Path) -> None:
    saved(tmp_path / "w.pt", {"a": torch.zeros(2**16)})
    with zipfile.ZipFile(tmp_path / "w.pt") as source, zipfile.ZipFile(tmp_path / "z.pt", "w", 8) as bomb:
        for entry in source.infolist():
            bomb.writestr(entry.filename, source.read(entry))
    with pytest.raises(CheckpointError, match=r"is compressed, to unpack to 26\d,\d{3} bytes"):
        read_weights(tmp_path / "z.pt")


def header(text: str, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + body


@pytest.mark.parametrize(
    "content",
    [
        header('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'),
        header('{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}', bytes(16)),
        header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":' + "[" * 50_000),
        (10**15).to_bytes(8, "little") + b"{}",
    ],
)
def test_damaged_headers_of_safetensors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.safetensors' cannot be read: it is damaged or cut short") as raised:
        read_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b'{"weight_map": 3}', b'{"weight_map": {"a": [1]}}'])
def test_damaged_indices(content: bytes, tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no safetensors index"):
        read_weights(index)


def test_a_cut_file_is_called_that(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", weights())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="it is damaged or cut short; copy or download it again"):
        read_weights(path)


def good() -> list[bytes]:
    """A small checkpoint in each format."""
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(weights(), new)
    torch.save(weights(), old, _use_new_zipfile_serialization=False)
    return [new.getvalue(), old.getvalue(), save(weights())]


GOOD = good()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(GOOD), st.data())
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6), "places"):
        changed[place] = data.draw(st.integers(0, 255), "byte")
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), "end")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.pt")
        path.write_bytes(changed[:end])
        try:
            read_weights(path)
        except CheckpointError as error:
            assert "\n" not in str(error) and "w.pt" in str(error)
