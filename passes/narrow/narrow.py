"""Narrowing, the pass: channels that are gated off leave for good, and every tensor that held them shrinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import did_you_mean, first_line
from dashfx.frontend.inputs import mapped
from dashfx.frontend.recording import tensors_in
from dashfx.frontend.tracing import Program, copy_model, evaluation, no_seed, trace
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.passes.narrow.channels import Channels, masked, read_channels
from dashfx.passes.narrow.parts import narrow

# By which rounding may make a narrower model's answer differ, relative: of its weights, and of how it is computed.
NEAR = {torch.float64: 1e-9, torch.float32: 1e-5}
COMPUTED = {torch.float64: 1e-9, torch.float32: 1e-3}
COARSE = 1e-2


@dataclass(frozen=True)
class Narrow(AbstractPass):
    """Leave the channels that are named, and make all that held the others smaller.

    1. A channel leaves everywhere at once: as an output of the convs and linear layers that give it, with its norm's
       and activation's numbers, and as an input of those that read it.
    2. Tensors that are added or multiplied have the same channels, so theirs leave together: those of a residual
       stream, of a gate over channels and of what it multiplies. Those of a concatenation leave each by itself.
    3. A depthwise conv loses the channels that it is given; other grouped convs lose the same places of every group.
    4. A linear layer behind a flattened map loses all places of a channel.
    5. The model then computes what it did with these channels zero wherever a conv or linear layer reads them.
    6. Modules stay the same objects, of the same classes, under the same keys; only sizes differ.

    Places are those of the model as it comes, so that a second run is another choice.

    Refused, with the reason in `Channels.skips`: channels of the model's input and output, those that a norm over
    channels, a sum over them, a slice, or code that is not known meets, what shares a tensor with something else,
    what torch.fx cannot trace, and every group without which the model's own code fails, or gives another answer.

    Args:
        widths: group name -> places of the channels in the group that stay.
    """

    preserves = "shapes"
    widths: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def requires(self, program: Program) -> None:
        channels = channels_of(program)
        for name, places in self.widths.items():
            group = channels.group(name)
            if group is None:
                why = next((f": {skip.reason}" for skip in channels.skips if skip.name == name), "")
                near = did_you_mean(name, [group.name for group in channels.groups])
                raise self.fail(f"the channels of {name!r} cannot leave{why}{near}")
            if not places or len(set(places)) < len(places) or not 0 <= min(places) <= max(places) < len(group.units):
                some = f"{list(places)[:5]} of {len(group.units)} channels"
                raise self.fail(f"{name!r}: {some}; name different ones from 0 on, at least one")

    def call(self, program: Program) -> PassResult:
        channels = channels_of(program)
        kept = channels.kept(self.widths)
        before = copy_model(program.model)
        edits = []
        for part in channels.parts:
            if narrow(program.model, part, kept):
                ins, outs = (sum(unit < 0 or kept[unit] for unit in units) for units in (part.ins, part.outs))
                edits.append(Edit(part.name, f"{ins} to {outs} channels" if part.ins else f"{outs} channels"))
        if edits and (why := difference(before, program.model, channels, kept, program.example)):
            raise self.fail(f"{why}; leave the group out")
        for name, site in program.sites.items():
            conv: Any = program.model.get_submodule(name)
            sizes = {key: getattr(conv, key) for key in ("in_channels", "out_channels", "groups")}
            program.sites[name] = replace(site, **sizes)
        program.graph_module.meta.pop(KEY, None)
        return self.result(program, edits)


KEY = "channels"  # of what is known, in a graph's facts


def channels_of(program: Program) -> Channels:
    """The channels of a model that may leave, each group tried: it is known that the model's own code takes it."""
    meta = program.graph_module.meta
    if KEY not in meta:
        channels = read_channels(program.model, program.example)
        meta[KEY] = channels.without(_refused(program, channels))
    found: Channels = meta[KEY]
    return found


def _refused(program: Program, channels: Channels) -> dict[str, str]:
    """The groups that the model's own code does not let go, with the reason: tried together, else one by one."""
    if not channels.groups or not _tried(program, channels, [group.name for group in channels.groups]):
        return {}
    alone = {group.name: _tried(program, channels, [group.name]) for group in channels.groups}
    refused = {name: why for name, why in alone.items() if why}
    left = [name for name in alone if name not in refused]
    if left and (why := _tried(program, channels, left)):
        refused.update(dict.fromkeys(left, why))
    return refused


def _tried(program: Program, channels: Channels, names: Sequence[str]) -> str:
    """Why the model cannot do without the last channel of each of these groups; empty where it can."""
    sizes = {group.name: len(group.units) for group in channels.groups}
    kept = channels.kept({name: range(sizes[name] - 1) for name in names})
    trial = copy_model(program.model)
    try:
        for part in channels.parts:
            narrow(trial, part, kept)
    except (RuntimeError, IndexError, AttributeError, ValueError) as error:
        return f"it cannot be made smaller ({first_line(error)})"
    return difference(program.model, trial, channels, kept, program.example)


def difference(
    model: nn.Module, narrower: nn.Module, channels: Channels, kept: Sequence[bool], example: tuple[Any, ...]
) -> str:
    """How a narrower model's answer differs from that of the model with the same channels masked; empty where not.

    Both compute in float64 where they can, on the example and on a second one.
    """
    near = max((NEAR.get(p.dtype, COARSE) for p in narrower.parameters() if p.is_floating_point()), default=0.0)
    try:
        pair = [copy_model(each).double() for each in (model, narrower)]
        example = mapped(example, _doubled)
        with evaluation(pair[0]), no_seed():
            pair[0](*example)
    except Exception:  # a model of half precision, or one that casts by itself
        pair = [copy_model(model), copy_model(narrower)]
    for given in (example, mapped(example, lambda x: x.roll(1, -1) if x.is_floating_point() and x.ndim else x)):
        with evaluation(pair[0]), no_seed(), masked(pair[0], channels, kept):
            expected = list(tensors_in(pair[0](*given)))
        try:
            with evaluation(pair[1]), no_seed():
                found = list(tensors_in(pair[1](*given)))
        except Exception as error:  # the user's code may raise anything
            return f"the model's code does not take other widths ({first_line(error)})"
        if not all(_near(a, b, near) for a, b in zip(found, expected, strict=True)):
            return "the model's answer depends on the number of channels itself"
    return ""


def _doubled(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _near(a: Tensor, b: Tensor, near: float) -> bool:
    if a.shape != b.shape or not b.is_floating_point():
        return a.shape == b.shape and bool(torch.equal(a, b))
    scale = float(b.abs().max()) if b.numel() else 0.0
    return bool(((a - b).abs() <= max(near, COMPUTED.get(b.dtype, COARSE)) * max(scale, 1e-6)).all())


def narrowed(model: nn.Module, example: Any, widths: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a model with these channels alone; itself as a copy where none are named.

    Raises:
        PassError: channels that cannot leave, with the reason.
    """
    program = trace(model, example)
    Narrow(widths)(program.graph_module)
    return program.model
