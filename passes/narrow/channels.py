"""Channel groups of a model: which channels may leave, with what else leaves then, and which may not and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.frontend.tracing import evaluation, graph_of
from dashfx.passes.narrow.parts import Part
from dashfx.passes.narrow.reader import Reader, WidthTracer
from dashfx.passes.narrow.rules import RULES
from dashfx.site import Skip


@dataclass(frozen=True)
class Group:
    """Units that stand in the same places everywhere: as many of them may leave as one likes, all but one.

    Attributes:
        name: of the first conv or linear layer that gives these channels.
        units: their numbers, in the order of that layer's outputs.
    """

    name: str
    units: tuple[int, ...]


@dataclass(frozen=True)
class Channels:
    """What a model's widths are made of.

    Attributes:
        count: the number of units.
        parts: everything with sizes that follow channels, in the order of the forward pass.
        skips: convs and linear layers whose outputs all stay, with the reason.
    """

    count: int
    groups: tuple[Group, ...]
    parts: tuple[Part, ...]
    skips: tuple[Skip, ...] = ()

    @property
    def readers(self) -> tuple[Part, ...]:
        """The convs and linear layers in which channels meet: what none of them reads has no effect."""
        return tuple(part for part in self.parts if part.role == "dense" and any(unit >= 0 for unit in part.ins))

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    def kept(self, widths: Mapping[str, Sequence[int]]) -> list[bool]:
        """Of every unit, whether it stays.

        Args:
            widths: group name -> places in the group that stay; all of a group that is not named.
        """
        stays = [True] * self.count
        for group in self.groups:
            if group.name in widths:
                left = set(widths[group.name])
                for place, unit in enumerate(group.units):
                    stays[unit] = place in left
        return stays

    def without(self, refused: Mapping[str, str]) -> Channels:
        """The same, with some groups staying for a reason."""
        gone = {unit: refused[group.name] for group in self.groups if group.name in refused for unit in group.units}
        order = {unit: place for place, unit in enumerate(u for u in range(self.count) if u not in gone)}

        def left(units: Sequence[int]) -> tuple[int, ...]:
            return tuple(order.get(unit, -1) for unit in units)

        groups = tuple(Group(g.name, left(g.units)) for g in self.groups if g.name not in refused)
        parts = tuple(Part(**{**vars(part), "ins": left(part.ins), "outs": left(part.outs)}) for part in self.parts)
        return Channels(len(order), groups, parts, (*self.skips, *(Skip(n, why) for n, why in refused.items())))


def read_channels(model: nn.Module, example: tuple[Any, ...]) -> Channels:
    """The channels of a model as its graph tells; what the model's own code makes of other sizes is not tried.

    Args:
        example: its positional arguments.
    """
    with evaluation(model):
        graph_module, opaque = graph_of(model, example, model(*example), WidthTracer)
        reader = Reader(graph_module, model, RULES)
    hidden = [Skip(name, f"not traced inside ({why})") for name, why in opaque.items()]
    return _grouped(reader, hidden)


def _grouped(reader: Reader, skips: list[Skip]) -> Channels:
    """Units numbered and grouped by where they stand."""
    units, parts = reader.units, list(reader.parts.values())
    places: dict[int, list[tuple[int, int, str]]] = {}
    for row, part in enumerate(parts):
        for side, labels in (("in", part.ins), ("out", part.outs)):
            for place, label in enumerate(labels):
                places.setdefault(units.find(label), []).append((row, place, side))
    read = {units.find(label) for part in parts if part.role == "dense" for label in part.ins}
    given = {units.find(label) for part in parts if part.role == "dense" for label in part.outs}
    free = [root for root in places if not units.why(root) and root in read & given]
    order = {root: number for number, root in enumerate(sorted(free, key=lambda root: places[root][0]))}
    kinds: dict[tuple[tuple[int, str], ...], list[int]] = {}
    for root in order:
        kinds.setdefault(tuple(sorted((row, side) for row, _, side in places[root])), []).append(root)
    found, names = list[Group](), dict[str, int]()
    for kind, roots in kinds.items():
        first = next(parts[row].name for row, side in kind if side == "out" and parts[row].role == "dense")
        names[first] = names.get(first, 0) + 1
        name = first if names[first] == 1 else f"{first}#{names[first]}"
        if len(roots) > 1:
            found.append(Group(name, tuple(order[root] for root in roots)))
    movable = {unit for group in found for unit in group.units}
    numbered = {root: number for root, number in order.items() if number in movable}
    compact = {number: place for place, number in enumerate(sorted(movable))}

    def of(labels: Sequence[int]) -> tuple[int, ...]:
        return tuple(compact[numbered[root]] if (root := units.find(label)) in numbered else -1 for label in labels)

    groups = tuple(Group(g.name, tuple(compact[unit] for unit in g.units)) for g in found)
    final = tuple(Part(**{**vars(part), "ins": of(part.ins), "outs": of(part.outs)}) for part in parts)
    for part, seen in zip(parts, final, strict=True):
        if part.role == "dense" and all(unit < 0 for unit in seen.outs):
            why = next((units.why(label) for label in part.outs if units.why(label)), "nothing else reads them")
            skips.append(Skip(part.name, why if len(part.outs) > 1 else "it gives one channel"))
    return Channels(len(compact), groups, final, tuple(skips))


@contextmanager
def masked(model: nn.Module, channels: Channels, kept: Sequence[bool] | Tensor) -> Iterator[None]:
    """Inside, the channels that leave are zeros wherever a conv or linear layer reads them.

    So the model computes what it does without them, whatever stands between a conv and the next: also behind a norm
    that shifts, or an activation that is not zero at zero.
    """
    stays = torch.as_tensor(kept)
    with ExitStack() as hooks:
        for part in channels.readers:
            each = torch.tensor([True if unit < 0 else bool(stays[unit]) for unit in part.ins])
            hook = _Masked(each, part.axis)
            hooks.enter_context(model.get_submodule(part.name).register_forward_pre_hook(hook))
        yield


class _Masked:
    def __init__(self, stays: Tensor, axis: int) -> None:
        self._stays, self._axis = stays, axis

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *rest = args
        return (x * along(self._stays.to(x), x, self._axis), *rest)


def along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    """Numbers for the places of one axis (n,), in a shape that broadcasts over the others."""
    shape = [1] * x.ndim
    shape[axis] = -1
    return values.reshape(shape)
