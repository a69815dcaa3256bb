"""A conv whose class has a forward of its own goes in; how it takes another kernel, or why it cannot, comes out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm as HookWeightNorm
from torch.overrides import TorchFunctionMode

from dashfx.errors import first_line
from dashfx.frontend.convs import PLAIN, frozen_of, read_padding, read_weight_norm, weight_norm_keys, write_padding
from dashfx.site import PADDING_RULES, Hosting, WeightNorm
from dashfx.space import Candidate, Padding

CONVS = (torch.conv1d, torch.conv2d, torch.conv3d)
PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")  # of a functional conv
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
Call = tuple[tuple[Any, ...], dict[str, Any]]  # the arguments of one call of a module, by place and by name


@dataclass(frozen=True)
class Measured:
    """What a run of a conv shows: how it can be hosted, and what it pads and sees at the size of the run."""

    hosting: Hosting
    padding: Padding
    causal: bool


class ConvRecorder(TorchFunctionMode):
    """Keeps the arguments of every functional conv, by name; with `stop` the first one ends the run."""

    def __init__(self, stop: bool = False) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []
        self._stop = stop

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in CONVS:
            return func(*args, **kwargs)
        self.calls.append({"bias": None, "padding": 0, "dilation": 1, **dict(zip(PARAMETERS, args)), **kwargs})  # noqa: B905
        if self._stop:
            raise Recorded
        self.calls[-1]["output"] = func(*args, **kwargs)
        return self.calls[-1]["output"]


class Recorded(Exception):
    """Ends a run once the conv's arguments are known."""


def overrides_forward(conv: nn.Module) -> bool:
    """Whether a subclass or an instance of torch.nn's convs runs code that those do not."""
    base = next((b for b in PLAIN if isinstance(conv, b)), None)
    own = any(getattr(type(conv), name) is not getattr(base, name, None) for name in ("forward", "_conv_forward"))
    return own or "forward" in vars(conv)


def has_custom_forward(conv: nn.Module) -> bool:
    """Whether a conv's weight reaches its result in another way than a plain conv's, or weight-norm's."""
    if not isinstance(conv, _ConvNd):
        return False
    stacks = list(conv.parametrizations.children()) if parametrize.is_parametrized(conv) else []  # type: ignore[union-attr]
    return overrides_forward(conv) or bool(stacks and only_norm(conv) is None)


def only_norm(conv: nn.Module) -> WeightNorm | None:
    """The weight-norm of a conv whose weight carries nothing else."""
    stacks = list(conv.parametrizations.children()) if parametrize.is_parametrized(conv) else []  # type: ignore[union-attr]
    alone = not stacks or (len(stacks) == 1 and len(list(stacks[0].children())) == 1)
    return read_weight_norm(conv) if alone else None


def raw_weight(conv: nn.Module) -> str:
    """The path, inside the module, of the parameter that its kernel is computed from."""
    return "parametrizations.weight.original" if parametrize.is_parametrized(conv, "weight") else "weight"


def without_norm(conv: nn.Module, norm: WeightNorm) -> nn.Module:
    """A twin that shares all but the normalisation with a weight-normed conv: its weight is an ordinary parameter."""
    assert isinstance(conv.weight, Tensor)
    weight = nn.Parameter(conv.weight.detach().clone(), "weight" not in frozen_of(conv))
    parts = {name: value for name, value in conv._parameters.items() if name not in weight_norm_keys(norm)}
    hooks = [(key, hook) for key, hook in conv._forward_pre_hooks.items() if not isinstance(hook, HookWeightNorm)]
    own = {key: value for key, value in vars(conv).items() if key != "weight"}
    # parametrising puts a subclass in the place of the class
    twin: nn.Module = object.__new__(type(conv) if norm.kind == "hook" else type(conv).__bases__[0])
    modules = {name: module for name, module in conv._modules.items() if name != "parametrizations"}
    replaced = {
        "_parameters": {"weight": weight, **parts},
        "_modules": modules,
        "_forward_pre_hooks": OrderedDict(hooks),
    }
    twin.__dict__.update({**own, **replaced})
    return twin


def reshaped(conv: nn.Module, hosting: Hosting, original: Candidate, candidate: Candidate, weight: Tensor) -> nn.Module:
    """A twin of `conv` with another kernel, which shares everything else with it, without its hooks.

    Args:
        weight: in place of the parameter at `hosting.weight`: (out, in / groups, *candidate.kernel).
    """
    twin = with_parameter(conv, hosting.weight, weight)
    twin.__dict__.update({name: type(getattr(conv, name))() for name in HOOKS})
    assert isinstance(twin, _ConvNd)
    twin.kernel_size, twin.dilation = candidate.kernel, candidate.dilation
    if candidate != original:
        write_padding(twin, hosting.padding_of(original, candidate), twin.padding_mode)
    return twin


def with_parameter(module: nn.Module, path: str, value: Tensor | None) -> Any:
    """A twin that shares everything with `module` but the parameter at `path`."""
    head, _, rest = path.partition(".")
    twin = object.__new__(type(module))
    parts = {"_parameters": dict(module._parameters), "_modules": dict(module._modules)}
    twin.__dict__.update({**vars(module), **parts})
    if rest:
        twin._modules[head] = with_parameter(module.get_submodule(head), rest, value)
    else:
        twin._parameters[head] = value  # type: ignore[assignment]
    return twin


def measure(conv: nn.Module, call: Call) -> Measured | str:
    """Try other kernels in the conv's own forward. The caller sets eval mode and switches gradients off.

    Each of PADDING_RULES is tried until a wider kernel and a wider dilation give the original's output size, whatever
    the size modulo the stride. Where none does, or where the forward does not end in one functional conv that takes
    the new kernel and dilation, the reason comes back instead.

    Args:
        call: the arguments that tracing saw.
    """
    norm = only_norm(conv)
    conv = without_norm(conv, norm) if norm else conv
    assert isinstance(conv, _ConvNd)
    name, path = type(conv).__name__, raw_weight(conv)
    if path not in dict(conv.named_parameters()):
        return f"{name} computes its weight from several parameters in a forward of its own"
    original = Candidate(conv.kernel_size, conv.dilation)
    hosting = Hosting("contract", read_padding(conv), path)
    trial = _Trial(conv, hosting, original, call)
    try:
        recorded, output = trial.run(original, call)
    except Exception as error:  # whatever the user's forward raises
        return f"{name} cannot be run by itself: {first_line(error)}"
    if len(recorded) != 1:
        return f"{name} makes {len(recorded)} functional convs in a forward of its own; register_conv can teach it"
    reason = ""
    for rule in PADDING_RULES:
        trial.hosting = replace(hosting, rule=rule)
        reason = next(filter(None, map(trial.misfit, _probes(original))), "")
        if not reason:
            break
    if reason:
        return f"{name} has a forward of its own that takes no other kernel: {reason}; register_conv can teach it"
    odd = next(c for c in (_wider(original, *by) for by in ((1, 0), (1, 1), (0, 1))) if _is_odd(original, c))
    given, x = recorded[0], input_of(call)
    causal = trial.is_causal()
    hosting = replace(
        trial.hosting,
        lopsided=not trial.misfit(odd),
        direct=given["input"] is x and output is given["output"] and not call[1] and len(call[0]) == 1,
        causal=causal,
    )
    return Measured(hosting, _effective(original, given, x, causal or hosting.rule == "chomp"), causal)


class _Trial:
    """Runs of a conv with other kernels, each at every size modulo the stride."""

    def __init__(self, conv: _ConvNd, hosting: Hosting, original: Candidate, call: Call) -> None:
        self.conv, self.hosting, self.original, self.call = conv, hosting, original, call
        self.generator = torch.Generator().manual_seed(0)

    @cached_property
    def expected(self) -> list[torch.Size]:
        return [tensor_of(self.run(self.original, sized)[1]).shape for sized in self.sizes()]

    def run(self, candidate: Candidate, call: Call) -> tuple[list[dict[str, Any]], Any]:
        raw = self.conv.get_parameter(self.hosting.weight)
        weight = torch.randn(*raw.shape[:2], *candidate.kernel, generator=self.generator).to(raw)
        twin = reshaped(self.conv, self.hosting, self.original, candidate, weight)
        with ConvRecorder() as recorder:
            output = twin(*call[0], **call[1])
        return recorder.calls, output

    def sizes(self) -> Iterator[Call]:
        """The call at several sizes; what is as large as the conv's input, such as a mask, goes with it."""
        args, options = self.call
        room = [4 * extent + 8 for extent in self.original.extent]
        given = input_of(self.call).shape[-len(room) :]
        for more in range(max(self.conv.stride)):
            size = [max(n, least) + more for n, least in zip(given, room, strict=True)]

            def sized(value: Any, size: list[int] = size) -> Any:
                fits = isinstance(value, Tensor) and value.ndim > len(room) and value.shape[-len(room) :] == given
                return self.random(value, (*value.shape[: -len(room)], *size)) if fits else value

            yield tuple(map(sized, args)), {name: sized(value) for name, value in options.items()}

    def random(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(like)

    def misfit(self, candidate: Candidate) -> str:
        """Why the conv does not compute `candidate` at the original's output size; empty where it does."""
        try:
            expected = self.expected
        except Exception as error:
            return f"it fails at other sizes of its input: {first_line(error)}"
        for call, shape in zip(self.sizes(), expected, strict=True):
            try:
                (given,), output = self.run(candidate, call)
            except Exception as error:  # whatever the user's forward raises
                return first_line(error)
            dilation = given["dilation"]
            dilation = (dilation,) * candidate.ndim if isinstance(dilation, int) else tuple(dilation)
            if tuple(given["weight"].shape[2:]) != candidate.kernel or dilation != candidate.dilation:
                return f"it does not compute {candidate} when set to it"
            if tensor_of(output).shape != shape:
                return f"with {candidate} its output has another size"
        return ""

    def is_causal(self) -> bool:
        """Whether the last input meets the last output only: 1-D, stride 1, one output per input."""
        if self.original.ndim != 1 or self.conv.stride != (1,) or not any(self.original.extent):
            return False
        args, options = next(self.sizes())
        x = input_of((args, options))
        other = x.clone()
        other[..., -1] += 1
        weight = self.conv.get_parameter(self.hosting.weight)
        twin = reshaped(self.conv, self.hosting, self.original, self.original, torch.rand_like(weight) + 0.5)
        changed = tuple(other if value is x else value for value in args)
        named = {name: other if value is x else value for name, value in options.items()}
        one, two = tensor_of(twin(*args, **options)), tensor_of(twin(*changed, **named))
        return one.shape[-1] == x.shape[-1] and torch.equal(one[..., :-1], two[..., :-1])


def input_of(call: Call) -> Tensor:
    """What a conv is called on: the first tensor among the arguments."""
    return next(value for value in (*call[0], *call[1].values()) if isinstance(value, Tensor))


def tensor_of(output: Any) -> Tensor:
    """The conv's result in what its forward returned: the tensor, or the first of a tuple.

    Raises:
        TypeError: there is none.
    """
    first = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(first, Tensor):
        raise TypeError(f"its forward returns {type(output).__name__}, not a tensor")
    return first


def _wider(original: Candidate, taps: int, dilation: int) -> Candidate:
    """More taps and dilation along the axes that have a kernel."""
    wide = [k > 1 for k in original.kernel]
    kernel = tuple(k + taps * w for k, w in zip(original.kernel, wide, strict=True))
    return Candidate(kernel, tuple(d + dilation * w for d, w in zip(original.dilation, wide, strict=True)))


def _probes(original: Candidate) -> tuple[Candidate, ...]:
    """Growth by even numbers: what padding of both sides alike can follow."""
    return _wider(original, 2, 0), _wider(original, 0, 2)


def _is_odd(original: Candidate, candidate: Candidate) -> bool:
    return any((new - old) % 2 for new, old in zip(candidate.extent, original.extent, strict=True))


def _effective(original: Candidate, given: Mapping[str, Any], x: Tensor, causal: bool) -> Padding:
    """What the forward pads in all, whoever does it, at the size that was seen."""
    if causal:
        return tuple((extent, 0) for extent in original.extent)
    inner = given["input"].shape[-original.ndim :]
    padding = given["padding"]
    sides = (padding,) * original.ndim if isinstance(padding, int | str) else tuple(padding)
    totals = []
    for axis, side in enumerate(sides):
        own = {"same": original.extent[axis], "valid": 0}[side] if isinstance(side, str) else 2 * int(side)
        totals.append(int(inner[axis]) - int(x.shape[axis - original.ndim]) + own)
    return tuple((total // 2, total - total // 2) for total in totals)
