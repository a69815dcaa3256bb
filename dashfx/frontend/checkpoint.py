"""A checkpoint's tensors go in; the user's model holds them, or those that do not fit are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from dashfx.errors import CheckpointError, did_you_mean
from dashfx.frontend.checkpoint_file import read_weights

WRAPPERS = {"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}
WEIGHT_NORM = {  # since torch 2.0 -> before
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")  # of wrappers and profilers, no weights
SHOWN = 3  # names of each kind in a message


@dataclass(frozen=True)
class Fit:
    """How a checkpoint meets a model; names are the model's, but for `unknown` and `beside`.

    Attributes:
        prefix: what was taken off the checkpoint's names.
        unknown: names under the prefix that the model does not have.
        beside: names that do not begin with the prefix.
        other_shape: names whose shape differs.
    """

    prefix: str
    weights: dict[str, Tensor]
    missing: list[str]
    unknown: list[str]
    beside: list[str]
    other_shape: list[str]

    def without(self, names: list[str]) -> Fit:
        """The same, with the model's own weights under these names."""
        missing, other_shape = (
            [name for name in kind if name not in names] for kind in (self.missing, self.other_shape)
        )
        weights = {name: value for name, value in self.weights.items() if name not in names}
        return replace(self, weights=weights, missing=missing, other_shape=other_shape)


def load_checkpoint(model: nn.Module, path: str | Path, *, key: str | None = None, new_head: bool = False) -> list[str]:
    """Load the weights of `path` into `model`; what a user should know of it comes back as notes.

    Args:
        key: the entry of the file to take, see `read_weights`.
        new_head: leave the last layer's weights as they are, whatever the checkpoint has for it.

    Raises:
        CheckpointError: no such file, a file that holds more than tensors and plain values, or names or shapes that do
            not fit; then the first few are named with the nearest, and the model is left as it was.
    """
    loaded, notes = read_weights(path, key)
    # Without what a get_extra_state of the user's returns, which need not be a tensor.
    wanted = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    fit = _fit(loaded, wanted, str(path))
    head = _head(model, fit, wanted)
    if new_head:
        fit = fit.without(head)
    if fit.missing or fit.unknown or fit.other_shape:
        raise CheckpointError(f"checkpoint {str(path)!r} does not fit the model: {_explain(fit, wanted, head, path)}")
    if wrong := [name for name, value in fit.weights.items() if not _same_kind(value, wanted[name])]:
        some = [f"{name!r} is {_kind(fit.weights[name])}, not {_kind(wanted[name])}" for name in wrong[:SHOWN]]
        raise CheckpointError(
            f"checkpoint {str(path)!r} holds other numbers than the model{_such(some, wrong)}; give the weights as "
            "they were before quantisation or conversion"
        )
    model.load_state_dict(fit.weights, strict=False)  # what may be missing: counters, tied names and a new head
    return notes + [f"checkpoint {Path(path).name}: {note}" for note in _notes(fit, head if new_head else [])]


def _same_kind(given: Tensor, own: Tensor) -> bool:
    """Whether the model can hold these numbers: integers in a float's place are codes that lack their scale."""
    if own.dtype.is_complex or is_lazy(own):
        return True
    return given.dtype.is_floating_point if own.dtype.is_floating_point else not given.dtype.is_complex


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _fit(loaded: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str) -> Fit:
    """The checkpoint under the model's names."""
    short = _shortener(wanted, loaded)
    names = {short(name): name for name in wanted}
    prefix = _prefix([short(name) for name in loaded], set(names), path)
    given = {name: short(name) for name in loaded}
    beside = [name for name, word in given.items() if not word.startswith(prefix) and not word.endswith(COUNTERS)]
    under = {name: word.removeprefix(prefix) for name, word in given.items() if word.startswith(prefix)}
    weights = {names[word]: loaded[name] for name, word in under.items() if word in names}
    tied = {id(wanted[name]) for name in weights}  # a tensor with several names may be there under one of them
    return Fit(
        prefix,
        weights,
        [k for k in wanted if k not in weights and not k.endswith(COUNTERS) and id(wanted[k]) not in tied],
        [name for name, word in under.items() if word not in names and not word.endswith(COUNTERS)],
        beside,
        [k for k, v in weights.items() if not is_lazy(wanted[k]) and v.shape != wanted[k].shape],
    )


def _shortener(*states: Mapping[str, Tensor]) -> Callable[[str], str]:
    """Names without wrappers and with weight normalisation as before torch 2.0, unless two of them then coincide."""
    distinct = all(len({_shortened(name) for name in state}) == len(state) for state in states)
    return _shortened if distinct else str


def _shortened(name: str) -> str:
    name = ".".join(word for word in name.split(".") if word not in WRAPPERS)
    for now, before in WEIGHT_NORM.items():
        name = name.removesuffix(now) + before if name.endswith(now) else name
    return name


def _prefix(loaded: Iterable[str], wanted: set[str], path: str) -> str:
    """What to take off the checkpoint's names so that most of the model's are found; nothing where that is as good.

    Raises:
        CheckpointError: the whole model is there under several prefixes.
    """
    found: Counter[str] = Counter()
    for name in loaded:
        words = name.split(".")
        for start in range(len(words)):
            if (rest := ".".join(words[start:])) in wanted and not rest.endswith(COUNTERS):
                found[name.removesuffix(rest)] += 1
    if not found or found[""] == max(found.values()):
        return ""
    best = [prefix for prefix, n in found.items() if n == max(found.values())]
    if len(best) > 1 and found[best[0]] == sum(not name.endswith(COUNTERS) for name in wanted):
        keys = [prefix.rstrip(".") for prefix in best]
        raise CheckpointError(
            f"checkpoint {path!r} holds the model {len(best)} times, under {', '.join(map(repr, keys[:4]))}; "
            f"choose one, such as --set checkpoint_key={keys[0]}"
        )
    return min(best, key=len)


def _head(model: nn.Module, fit: Fit, wanted: Mapping[str, Tensor]) -> list[str]:
    """The names of the head's tensors: layers that differ in their number of outputs alone, else the last layer.

    A layer inside the network does not pass for one: the layer behind it would then differ in its inputs.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    places = {_layer(name) for name in fit.other_shape}
    only_outputs = all(fit.weights[k].shape[1:] == wanted[k].shape[1:] for k in fit.other_shape)
    if not only_outputs or any(isinstance(modules[place], nn.Embedding) for place in places):
        return []
    last = [name for name, module in modules.items() if isinstance(module, nn.Linear | _ConvNd)][-1:]
    tensors = {id(value) for name, value in wanted.items() if _layer(name) in (places or last)}
    return [name for name, value in wanted.items() if id(value) in tensors]  # under all their names


def _layer(name: str) -> str:
    return name.rpartition(".")[0].partition(".parametrizations")[0]


def _explain(fit: Fit, wanted: Mapping[str, Tensor], head: list[str], path: str | Path) -> str:
    """What does not fit, the first few names of each kind, and what to do."""
    parts = []
    if fit.missing:
        near = [f"{k!r}{did_you_mean(k, fit.unknown)}" for k in fit.missing[:SHOWN]]
        parts.append(f"{len(fit.missing)} of {len(wanted)} names are missing{_such(near, fit.missing)}")
    if fit.unknown:
        near = [f"{k!r}{did_you_mean(k.removeprefix(fit.prefix), fit.missing)}" for k in fit.unknown[:SHOWN]]
        parts.append(f"{len(fit.unknown)} are unknown to the model{_such(near, fit.unknown)}")
    if fit.other_shape:
        shapes = [_shapes(k, fit, wanted) for k in fit.other_shape[:SHOWN]]
        parts.append(f"{len(fit.other_shape)} have another shape{_such(shapes, fit.other_shape)}")
    return "; ".join([*parts, *_remedy(fit, wanted, head, Path(path))])


def _such(shown: list[str], every: list[str]) -> str:
    return f": {', '.join(shown)}" + (" and more" if len(every) > len(shown) else "")


def _shapes(name: str, fit: Fit, wanted: Mapping[str, Tensor]) -> str:
    return f"{name!r} is {tuple(fit.weights[name].shape)}, the model's is {tuple(wanted[name].shape)}"


def _remedy(fit: Fit, wanted: Mapping[str, Tensor], head: list[str], path: Path) -> list[str]:
    if not fit.unknown and head and {*fit.missing, *fit.other_shape} <= set(head):
        return [f"--new-head starts {_layer(head[0])!r} anew and takes the rest"]
    if fit.unknown and not fit.missing and not fit.other_shape:
        return ["the checkpoint is of a larger model: build the model as large, or save model.state_dict() of this one"]
    kernels = all(fit.weights[k].shape[:2] == wanted[k].shape[:2] and wanted[k].ndim > 2 for k in fit.other_shape)
    if fit.other_shape and kernels and not fit.missing and not fit.unknown:
        of_run = " of that run's folder" if (path.parent / "load_model.py").is_file() else ""
        return [
            "only kernel sizes differ, as in the result of a dashfx search: give load_model.py:load"
            f"{of_run} as the model, continue it with dashfx search --resume, or train it again with dashfx retrain"
        ]
    return []


def _notes(fit: Fit, new: list[str]) -> list[str]:
    notes = []
    if new:
        notes.append(f"{', '.join(map(repr, new))} start anew, as the model's class draws them")
    if fit.beside:
        notes.append(
            f"what begins with {fit.prefix!r} is taken; {len(fit.beside)} other tensors are not"
            + _such([repr(name) for name in fit.beside[:SHOWN]], fit.beside)
        )
    wild = [k for k, v in fit.weights.items() if not torch.isfinite(v).all()]
    if wild:
        some = _such([repr(name) for name in wild[:SHOWN]], wild)
        notes.append(f"{len(wild)} tensors hold NaN or infinity, which training will not mend{some}")
    return notes
