"""A checkpoint file goes in; the tensors of the state_dict in it come out by name. Nothing is unpickled."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dashfx.errors import CheckpointError, did_you_mean, first_line

# The entries under which training scripts keep weights: of the first kind that is there, the first.
TRAINED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema", "params_ema")

LEVELS = 8  # of entries in entries that a key is looked for in
HOLDS_WEIGHTS = (".safetensors", ".safetensors.index.json", ".pt", ".pth", ".th", ".ckpt", ".bin")


def read_weights(path: str | Path, key: str | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint on the CPU, and what a user should know of how they were found.

    Args:
        path: what `safetensors` or `torch.save` wrote, told apart by content, or a `*.safetensors.index.json`.
        key: the entry to take, such as "model_ema" or "ema.student"; by default the first of TRAINED, else of AVERAGED.

    Raises:
        CheckpointError: no such file, not readable without running code, or no tensors there.
    """
    path = Path(path)
    _require_file(path)
    if path.name.endswith(".index.json"):
        state: Any = _shards(path)
    else:
        state = _read(path)
    if isinstance(state, Mapping) and {"learner", "best_weights"} <= state.keys():
        raise CheckpointError(
            f"checkpoint {str(path)!r} is the state of a dashfx run: continue that run with dashfx search --resume "
            "--out RUN, or train its result again with dashfx retrain RUN"
        )
    notes: list[str] = []
    found = _entry(state, key, path) if key else _weights(state, path, notes)
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    _require_plain(tensors, path)
    if not tensors:
        raise CheckpointError(f"checkpoint {str(path)!r} holds no state_dict{_choices(state)}; save model.state_dict()")
    return tensors, notes


def _require_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.name.endswith(HOLDS_WEIGHTS))
        which = f", such as {str(path / inside[0])!r}" if inside else f"; it holds none of {', '.join(HOLDS_WEIGHTS)}"
        raise CheckpointError(f"checkpoint {str(path)!r} is a folder; give a file of weights{which}")
    beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
    raise CheckpointError(f"no such checkpoint: {path}{did_you_mean(path.name, beside)}")


def _read(path: Path) -> Any:
    """What the file holds, read as its first bytes say, whatever its name."""
    with _foreign_bytes(path):
        with path.open("rb") as file:
            head = file.read(64)
        if head[8:9] == b"{":  # safetensors: the header's length in 8 bytes, then the header as JSON
            return load_file(path)
        _require_known(path, head)
        if head.startswith(b"PK"):
            _require_torchs_archive(path)
        # Namespace is what training scripts save their arguments as; making one runs nothing.
        with (
            path.open("rb") as file,  # torch.load goes by the name where it is given one
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # on TorchScript files, which are refused below
            return torch.load(file, "cpu", weights_only=True)


@contextmanager
def _foreign_bytes(path: Path) -> Iterator[None]:
    """What reading a file of unknown origin raises, of whatever library, is one line with the file's name.

    Raises:
        CheckpointError: anything was raised.
    """
    try:
        yield
    except CheckpointError:
        raise
    except PermissionError:
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read: its permissions do not allow it") from None
    except Exception as error:
        text = str(error)
        if isinstance(error, pickle.UnpicklingError) and "nsupported" in text:
            raise CheckpointError(_refusal(path, text)) from None
        if "TorchScript" in text:
            raise CheckpointError(
                f"checkpoint {str(path)!r} is a TorchScript program; if you trust it, convert it: "
                f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
            ) from None
        raise CheckpointError(
            f"checkpoint {str(path)!r} cannot be read: it is damaged or cut short; copy or download it again "
            f"({first_line(error, 100)})"
        ) from None


def _require_torchs_archive(path: Path) -> None:
    """Refuse zip archives that torch.save did not write, by their table of contents.

    Raises:
        CheckpointError: they hold something else, or say that they unpack to more than the file holds.
        BadZipFile: the table of contents, which stands at the end, is not there.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if any(name.endswith(".npy") for name in names):
        raise CheckpointError(
            f"checkpoint {str(path)!r} holds NumPy arrays; save them as tensors: "
            f"torch.save({{k: torch.from_numpy(v) for k, v in np.load({path.name!r}).items()}}, 'weights.pt')"
        )
    if not any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        held = ", ".join(map(repr, names[:3])) or "nothing"
        raise CheckpointError(
            f"checkpoint {str(path)!r} is a zip archive of {held}, and not one from torch.save; unpack it first"
        )
    if any(name.endswith("/constants.pkl") for name in names):
        return  # TorchScript, which torch knows and refuses
    if (size := sum(entry.file_size for entry in entries)) > path.stat().st_size:
        raise CheckpointError(
            f"checkpoint {str(path)!r} is compressed, to unpack to {size:,} bytes, which torch.save does not do; "
            "load it with torch and save it again"
        )


def _require_plain(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are no dense numbers in memory.

    Raises:
        CheckpointError: the first of them, and what to do.
    """
    for name, value in tensors.items():
        kind = _special(value)
        if kind:
            raise CheckpointError(
                f"checkpoint {str(path)!r}: {name!r} is a {kind} tensor; save the model's weights as dense "
                "floating-point numbers, as before it was converted"
            )


def _special(tensor: Tensor) -> str:
    if tensor.is_nested or tensor.layout is not torch.strided:
        return "nested" if tensor.is_nested else "sparse"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "meta (empty)"
    coarse = tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1
    return str(tensor.dtype).removeprefix("torch.") if coarse else ""


def _require_known(path: Path, head: bytes) -> None:
    """Refuse what is neither a zip archive, nor a pickle, nor empty: pages and pointers saved in a file's place."""
    if not head:
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read: it is empty")
    if head.startswith((b"PK", b"\x80")):
        return
    words = " ".join(head.decode("ascii", errors="replace").split())
    begins = f"begins with {words[:40]!r}" if words.isprintable() and "\ufffd" not in words else "has another format"
    raise CheckpointError(
        f"checkpoint {str(path)!r} cannot be read: it {begins}, so it is neither safetensors nor from torch.save; "
        "a web page or a Git LFS pointer in its place has to be downloaded again"
    )


def _refusal(path: Path, error: str) -> str:
    """Why a pickle is not read, and how its owner turns it into weights."""
    found = re.search(r"GLOBAL (\S+)", error)
    what = f"Python objects ({found[1]})" if found else "Python objects"
    return (
        f"checkpoint {str(path)!r} holds {what}, which loading would run; if you trust it, convert it: "
        f"state = torch.load({path.name!r}, 'cpu', weights_only=False), then torch.save(state['state_dict'], "
        "'weights.pt'), or state.state_dict() where it is a whole model"
    )


def _shards(path: Path) -> dict[str, Tensor]:
    """All tensors of the files that a safetensors index names; they stand beside it."""
    try:
        files = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {str(path)!r} is no safetensors index: no 'weight_map' can be read ({first_line(error)})"
        ) from None
    tensors: dict[str, Tensor] = {}
    for file in sorted(files):
        shard = path.parent / Path(str(file)).name
        _require_file(shard)
        tensors.update(_read(shard))
    return tensors


def _weights(state: Any, path: Path, notes: list[str]) -> Mapping[Any, Any]:
    """The innermost entry that usually holds weights; trained ones go before averaged ones."""
    seen: set[int] = set()
    while isinstance(state, Mapping):
        if id(state) in seen:
            raise CheckpointError(f"checkpoint {str(path)!r} contains itself; save model.state_dict()")
        seen.add(id(state))
        trained, averaged = ([k for k in names if isinstance(state.get(k), Mapping)] for names in (TRAINED, AVERAGED))
        if not trained and not averaged:
            return state
        name = (trained or averaged)[0]
        if not trained:
            notes.append(f"checkpoint {path.name}: it holds averaged weights only ({name!r}), and those are taken")
        elif averaged:
            notes.append(
                f"checkpoint {path.name}: {name!r} is taken; --set checkpoint_key={averaged[0]} takes the averaged "
                "weights"
            )
        state = state[name]
    return {}


def _entry(state: Any, key: str, path: Path) -> Mapping[Any, Any]:
    found = _find(state, key)
    if found is None:
        names = [k for k in _names(state) if k not in ("", key)]
        there = did_you_mean(key, names) or (f"; there are {', '.join(map(repr, names[:6]))}" if names else "")
        raise CheckpointError(f"checkpoint {str(path)!r} has nothing under checkpoint_key {key!r}{there}")
    return _weights(found, path, [])


def _find(state: Any, key: str, levels: int = LEVELS) -> Mapping[Any, Any] | None:
    """What `key` names: an entry, all tensors whose names begin with it, or either one level further in."""
    if not isinstance(state, Mapping) or not levels:
        return None
    if isinstance(state.get(key), Mapping):
        return state[key]
    under = {str(k).removeprefix(f"{key}."): value for k, value in state.items() if str(k).startswith(f"{key}.")}
    if under:
        return under
    head, _, rest = key.partition(".")
    inner = [_find(state.get(head), rest, levels - 1)] if rest else []
    inner += [_find(state[name], key, levels - 1) for name in (*TRAINED, *AVERAGED) if name in state]
    return next((found for found in inner if found is not None), None)


def _names(state: Any) -> list[str]:
    """What could be given as a key: entries that hold something, or the first words of tensors' names."""
    if not isinstance(state, Mapping):
        return []
    return list(dict.fromkeys(str(k).partition(".")[0] for k, v in state.items() if isinstance(v, Mapping | Tensor)))


def _choices(state: Any) -> str:
    held = [str(k) for k, v in state.items() if isinstance(v, Mapping)] if isinstance(state, Mapping) else []
    return f" under a usual name (choose with --set checkpoint_key=NAME from {', '.join(held)})" if held else ""
