"""Dependencies of channels: a walk over a traced graph that joins the channels which must stay or leave together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.tracing import SiteTracer
from dashfx.ops import AggConv
from dashfx.passes.narrow.parts import CHANNELWISE, CONVS, LINEAR, Part, Role, is_plain
from dashfx.passes.narrow.units import Carried, Labels, Units

Value = Carried | tuple[Carried, ...] | None
Rule = Callable[["Reader", fx.Node], Value]


class WidthTracer(SiteTracer):
    """Goes into everything but modules of torch.nn, of which only the containers are gone into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self._opaque or isinstance(m, AggConv) or is_plain(m, (*CONVS, *LINEAR)):
            return True
        return m.__module__.startswith("torch.nn.modules") and not isinstance(m, nn.Sequential)


class Reader:
    """Reads a graph from its inputs to its outputs, once.

    Attributes:
        parts: what has sizes that follow channels, by name; its units are labels that `units.find` resolves.
    """

    def __init__(self, graph_module: fx.GraphModule, model: nn.Module, rules: dict[str, Rule]) -> None:
        self.units, self._model, self._rules = Units(), model, rules
        self._values: dict[fx.Node, Value] = {}
        self._modules: dict[int, tuple[str, Labels, Labels]] = {}
        self.parts: dict[str, Part] = {}
        for node in graph_module.graph.nodes:
            self._values[node] = getattr(self, f"_{node.op}")(node)
        self._pin_shared()

    # ---- what rules call ------------------------------------------------------------------------------------------

    def of(self, node: Any) -> Carried | None:
        """What is known of a tensor; None of what has fixed sizes, or is no tensor."""
        value = self._values.get(node) if isinstance(node, fx.Node) else None
        return value if isinstance(value, Carried) else None

    def several(self, node: Any) -> tuple[Carried, ...]:
        """The same of a node that gives a tuple of tensors."""
        value = self._values.get(node) if isinstance(node, fx.Node) else None
        return value if isinstance(value, tuple) else ()

    def pin(self, nodes: Any, why: str) -> None:
        """The channels of these tensors stay."""
        for node in _nodes(nodes):
            value = self._values.get(node)
            for carried in value if isinstance(value, tuple) else (value,):
                if carried is not None:
                    self.units.pin(carried.labels, why)

    def unknown(self, node: fx.Node, why: str = "") -> Value:
        """What goes into a node stays, because nothing is known of what it does with channels."""
        self.pin((node.args, node.kwargs), why or f"{_called(node)} may mix channels")
        return None

    # ---- kinds of nodes -------------------------------------------------------------------------------------------

    def _placeholder(self, node: fx.Node) -> Value:
        return None

    def _output(self, node: fx.Node) -> Value:
        self.pin(node.args, "they are the model's output")
        return None

    def _get_attr(self, node: fx.Node) -> Value:
        """A parameter or buffer that the user's own code reads; its channels are known once it meets a tensor's."""
        return None

    def _call_function(self, node: fx.Node) -> Value:
        home = getattr(node.target, "__module__", None)
        own = home is not None and not home.startswith(("torch", "_operator", "builtins"))
        return self._ruled(node, "" if own else getattr(node.target, "__name__", str(node.target)))

    def _call_method(self, node: fx.Node) -> Value:
        return self._ruled(node, str(node.target))

    def _ruled(self, node: fx.Node, name: str) -> Value:
        name = name.strip("_")
        if not any(self.of(each) or self.several(each) for each in _nodes((node.args, node.kwargs))):
            return None  # nothing that could become narrower goes in
        rule = self._rules.get(name) or self._rules.get(name.removeprefix("i"))
        return self.unknown(node) if rule is None or not node.args else rule(self, node)

    def _call_module(self, node: fx.Node) -> Value:
        name = str(node.target)
        module = self._model.get_submodule(name) if name != "model" or hasattr(self._model, "model") else self._model
        if isinstance(module, AggConv) or is_plain(module, CONVS):
            return self._conv(node, name, module)
        if is_plain(module, LINEAR):
            return self._linear(node, name, module)
        x = self.of(node.args[0]) if node.args else None
        if x is None or any(self.of(each) for each in _nodes((node.args[1:], node.kwargs))):
            self.unknown(node)
            return None
        if is_plain(module, CHANNELWISE):
            return self._channelwise(node, name, module, x)
        kind = type(module)
        rule = self._rules.get(kind.__name__) if kind.__module__.startswith("torch.nn.modules") else None
        hooked = module._forward_hooks or module._forward_pre_hooks
        return self.unknown(node) if rule is None or hooked else rule(self, node)

    # ---- modules with sizes ---------------------------------------------------------------------------------------

    def _known(self, name: str, module: nn.Module, ins: int, outs: int) -> tuple[str, Labels, Labels]:
        """The module's name and labels, the same at every call and under every alias."""
        if id(module) not in self._modules:
            self._modules[id(module)] = name, self.units.fresh(ins), self.units.fresh(outs)
        return self._modules[id(module)]

    def _take(self, node: fx.Node, axis: int, labels: Labels, what: str) -> None:
        """The input of a module has these channels on an axis."""
        x = self.of(node.args[0]) if node.args else None
        if x is not None and x.axis == axis and len(x.labels) == len(labels):
            self.units.join(x.labels, labels)
            return
        self.unknown(node, f"{what} {node.target} reads them along another axis" if x else "")
        self.units.pin(labels, f"{what} {node.target} reads channels that stay")

    def _conv(self, node: fx.Node, name: str, module: Any) -> Value:
        site = module.facts if isinstance(module, AggConv) else module
        count, gives, groups = site.in_channels, site.out_channels, site.groups
        name, ins, outs = self._known(name, module, count, gives)
        self._take(node, 1, ins, "conv")
        role: Role = "dense"
        if groups > 1 and groups == count:
            role = "depthwise"
            self.units.join(outs, [label for label in ins for _ in range(gives // count)])
        elif groups > 1:  # every group keeps the same places, so that groups stay equal
            self.units.join_repeated(ins, groups)
            self.units.join_repeated(outs, groups)
        if isinstance(module, AggConv):
            taps = max(candidate.taps for candidate in module.candidates)
        else:
            taps = math.prod(module.kernel_size)
        shape, given = _shape(node), _shape(node.args[0])
        if not isinstance(module, AggConv) and len(shape) != module.weight.ndim:
            self.units.pin([*ins, *outs], f"conv {name} has no axis of rows")
        transposed = isinstance(module, _ConvNd) and module.transposed
        positions = math.prod((given if transposed else shape)[2:])
        each = int(module.bias is not None) + (taps if role == "depthwise" else 0)
        self._add(name, Part(name, role, ins, outs, groups, positions, taps, each))
        return Carried(1, outs)

    def _linear(self, node: fx.Node, name: str, module: Any) -> Value:
        shape = _shape(node)
        name, ins, outs = self._known(name, module, module.in_features, module.out_features)
        self._take(node, len(shape) - 1, ins, "linear layer")
        each = int(module.bias is not None)
        self._add(name, Part(name, "dense", ins, outs, 1, math.prod(shape[1:-1]), 1, each, -1))
        return Carried(len(shape) - 1, outs)

    def _channelwise(self, node: fx.Node, name: str, module: Any, x: Carried) -> Value:
        count = module.num_parameters if isinstance(module, nn.PReLU) else module.num_features
        if count == 1 and isinstance(module, nn.PReLU):
            return x
        if x.axis != 1 or len(x.labels) != count:
            return self.unknown(node)
        name, _, outs = self._known(name, module, 0, count)
        self.units.join(x.labels, outs)
        self._add(name, Part(name, "channelwise", (), outs, each=len(module._parameters.keys() - _empty(module))))
        return x

    def _add(self, name: str, part: Part) -> None:
        """Note a part; the positions of several calls add up."""
        if (before := self.parts.get(name)) is not None:
            part = Part(**{**vars(part), "positions": before.positions + part.positions})
        self.parts[name] = part

    def parameter(self, node: fx.Node, axis: int, labels: Labels) -> None:
        """A parameter that the user's code reads has these channels on an axis."""
        name = str(node.target)
        known = self.parts.get(name)
        if known is not None and (known.axis, len(known.outs)) != (axis, len(labels)):
            self.units.pin([*labels, *known.outs], f"the parameter {name} is read along several axes")
            return
        if known is not None:
            self.units.join(known.outs, labels)
        learned = dict(self._model.named_parameters(remove_duplicate=False)).get(name)
        each = 0 if learned is None else learned.numel() // len(labels)
        self.parts[name] = Part(name, "parameter", (), labels, each=each, axis=axis)

    def _pin_shared(self) -> None:
        """Modules whose tensors something else holds or reads, too, stay as they are."""
        owners: dict[int, list[str]] = {}
        for name, module in self._model.named_modules():
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    owners.setdefault(id(tensor), []).append(f"{name}.{key}" if name else key)
        read = {str(node.target) for node in self._values if node.op == "get_attr"}
        for part in self.parts.values():
            own = part.name if part.role == "parameter" else part.name + "."
            for names in owners.values():
                held = [name for name in names if name == own or (own.endswith(".") and name.startswith(own))]
                others = [name for name in names if name not in held] if held else []
                others += [name for name in names if own.endswith(".") and name in read] if held else []
                if others:
                    self.units.pin([*part.ins, *part.outs], f"{part.name} shares a tensor with {others[0]}")


def _empty(module: nn.Module) -> set[str]:
    return {key for key, parameter in module._parameters.items() if parameter is None}


def _nodes(value: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg(value, found.append)
    return found


def _shape(node: Any) -> tuple[int, ...]:
    return node.meta.get("shape") or ()


def _called(node: fx.Node) -> str:
    name = getattr(node.target, "__name__", str(node.target))
    if node.op != "call_module":
        return f"{name}() at {node.name}"
    module = node.graph.owning_module.get_submodule(name)  # type: ignore[union-attr]
    return f"{type(module).__name__} {name}"


def shape_of(node: fx.Node) -> Sequence[int]:
    """Of the tensor that a node gives, on the example."""
    return _shape(node)
