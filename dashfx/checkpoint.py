"""A checkpoint file goes in; the user's model holds its weights, or misfits are named. Nothing is unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dashfx.errors import CheckpointError, did_you_mean

NESTINGS = ("state_dict", "model_state_dict", "model", "ema", "net", "module")
PREFIXES = ("module.", "_orig_mod.", "model.")


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Load all weights of `path` into `model`.

    Raises:
        CheckpointError: no such file, a file that holds more than tensors and plain values, or keys or shapes that do
            not fit; then the first few are named with the nearest keys of the model, and the model is left as it was.
    """
    weights = _fit_prefix(read_weights(path), set(model.state_dict()))
    wrong = _misfits(weights, model.state_dict())
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise CheckpointError(f"checkpoint {str(path)!r} does not fit the model: {'; '.join(wrong[:4])}{more}")
    model.load_state_dict(weights, strict=False)  # all that may be missing are counters of batches


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pt, .pth, .th or .ckpt file read with `weights_only=True`.

    Raises:
        CheckpointError: no such file, or not readable without running code.
    """
    path = Path(path)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise CheckpointError(f"no such checkpoint: {path}{did_you_mean(path.name, beside)}")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {str(path)!r} holds Python objects, which loading would run; if you trust it, convert it: "
            "torch.save(torch.load(path, weights_only=False)['state_dict'], 'weights.pt')"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        line = (str(error) or "it ends too early").splitlines()[0]
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read: {line}") from None
    return _state_dict(state, path)


def _state_dict(state: Any, path: Path) -> dict[str, Tensor]:
    """The state_dict itself, out of the usual nestings."""
    while isinstance(state, Mapping):
        tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)}
        nested = next((state[key] for key in NESTINGS if isinstance(state.get(key), Mapping)), None)
        if nested is None or len(tensors) > len(state) // 2:
            if tensors:
                return tensors
            break
        state = nested
    raise CheckpointError(f"checkpoint {str(path)!r} holds no state_dict; save model.state_dict()")


def _fit_prefix(weights: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Without the prefixes that wrappers add, as far as that makes more keys fit."""
    tried = [weights]
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in tried[-1])), None):
        tried.append({key.removeprefix(prefix): value for key, value in tried[-1].items()})
    return max(tried, key=lambda candidate: len(wanted & set(candidate)))


def _misfits(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    missing = [k for k in wanted if k not in weights and not k.endswith("num_batches_tracked")]
    extra = [k for k in weights if k not in wanted]
    shapes = [
        f"{k} is {tuple(weights[k].shape)}, the model's is {tuple(wanted[k].shape)}"
        for k in wanted
        if k in weights and weights[k].shape != wanted[k].shape
    ]
    lines = [f"{len(missing)} keys missing, first {k!r}{did_you_mean(k, extra)}" for k in missing[:1]]
    lines += [f"missing {k!r}{did_you_mean(k, extra)}" for k in missing[1:]]
    lines += [f"unknown {k!r}{did_you_mean(k, wanted)}" for k in extra]
    return [*lines, *shapes]
