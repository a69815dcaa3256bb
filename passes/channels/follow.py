"""Propagation of channel axes through a traced graph: from each tensor to the groups of channels that it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.custom_forward import has_custom_forward
from dashfx.frontend.tracing import Program, fine_graph
from dashfx.passes.channels.axes import Axis, Group

# What treats every channel alike and by itself, so that a copied channel gives a copied result.
CHANNELWISE: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d),
    *(nn.Dropout3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    *(nn.AdaptiveMaxPool3d, nn.Upsample, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d),
    *(nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d),
)
UNARY = frozenset(
    [
        "relu",
        "relu_",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "hardtanh",
        "sigmoid",
        "tanh",
        "softplus",
        "dropout",
        "dropout2d",
        "dropout3d",
        "contiguous",
        "clone",
        "detach",
        "float",
        "double",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "abs",
        "exp",
        "sqrt",
        "adaptive_max_pool3d",
        "interpolate",
        "pad",
        "clamp",
        "neg",
        "square",
    ]
)
BINARY = frozenset(
    ["add", "sub", "mul", "truediv", "iadd", "isub", "imul", "add_", "mul_", "sub_", "div", "maximum", "minimum"]
)
REDUCING = frozenset(("mean", "sum", "amax", "amin"))


@dataclass
class Channels:
    """The axes of a model's modules.

    Attributes:
        outputs: conv or linear layer -> the axis that it gives.
        inputs: the same -> the axis that it reads.
        own: layer with a number a channel (norms, depthwise convs, PReLU) -> its axis.
    """

    outputs: dict[str, Axis] = field(default_factory=dict)
    inputs: dict[str, Axis] = field(default_factory=dict)
    own: dict[str, Axis] = field(default_factory=dict)

    def producers(self, group: Group) -> list[str]:
        """The layers whose output channels are the group's."""
        return [name for name, axis in self.outputs.items() if axis.has(group)]


def follow(program: Program) -> Channels:
    """The channel axes of all layers of a traced model; what is not understood fixes the channels that it touches."""
    graph_module = fine_graph(program.model, program.example)
    walk = _Walk(program, graph_module)
    for node in graph_module.graph.nodes:
        walk.axes[node] = walk.axis(node)
    return walk.found


class _Walk:
    """One pass over the graph in its order."""

    def __init__(self, program: Program, graph_module: fx.GraphModule) -> None:
        self.modules: Mapping[str, nn.Module] = dict(program.model.named_modules(remove_duplicate=False))
        self.names = {id(module): name for name, module in program.model.named_modules()}
        self.axes: dict[fx.Node, Axis | None] = {}
        self.found = Channels()
        self._graph_module = graph_module

    def axis(self, node: fx.Node) -> Axis | None:
        """The channel axis of the node's tensor; None for what is no tensor with channels."""
        shape = node.meta.get("shape")
        if node.op == "placeholder":
            return self._fixed(node, "they are those of the model's input")
        if node.op == "output":
            return self._refuse(node, "they are those of the model's output")
        if node.op == "get_attr":
            return self._read(node)
        if node.op == "call_module":
            return self._module(node, str(node.target))
        name = getattr(node.target, "__name__", str(node.target))
        if shape is None or len(shape) < 2:
            return None if name in ("getattr", "size", "dim", "getitem") else self._refuse(node, _does(node))
        return self._operation(node, name)

    def _operation(self, node: fx.Node, name: str) -> Axis | None:
        first = self._of(node.args[0]) if node.args else None
        if node.op == "call_method" and name not in UNARY | BINARY | REDUCING and name not in ("flatten", "view"):
            return self._flat(node, first) if name == "reshape" else self._refuse(node, _does(node))
        if name in BINARY:
            return self._binary(node)
        if name == "cat":
            return self._cat(node)
        if name in ("flatten", "view", "reshape"):
            return self._flat(node, first)
        if name in REDUCING and self._spatial(node):
            return first
        if name in UNARY or (name == "getitem" and _crops(node)):
            return first
        return self._refuse(node, _does(node))

    def _module(self, node: fx.Node, name: str) -> Axis | None:
        module, axis = self.modules.get(name), self._of(node.args[0]) if node.args else None
        name = self.names.get(id(module), name)
        if module is None or axis is None or len(node.all_input_nodes) != 1 or _altered(module):
            return self._refuse(node, f"{name!r} is no plain layer")
        if type(module) in CHANNELWISE:
            return axis
        if isinstance(module, nn.Flatten):
            return self._flat(node, axis)
        if isinstance(module, _BatchNorm | _InstanceNorm) or _is_depthwise(module) or _is_prelu(module):
            return self._per_channel(name, axis)
        is_conv = isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
        if is_conv or (isinstance(module, nn.Linear) and len(node.meta.get("shape") or ()) == 2):
            return self._layer(name, module, axis)
        return self._refuse(node, f"{name!r} ({type(module).__name__}) works across them")

    def _layer(self, name: str, module: nn.Module, axis: Axis) -> Axis:
        known = self.found.inputs.setdefault(name, axis)
        if known is not axis:
            known.join(axis, f"{name!r} is called on tensors whose channels lie differently")
        if len(axis.segments) > 1 and getattr(module, "groups", 1) > 1:
            axis.fix(f"{name!r} reads them in groups, out of a concatenation")
        size = module.out_channels if isinstance(module, _ConvNd) else module.out_features
        return self.found.outputs.setdefault(name, Axis.of(Group(int(size))))  # type: ignore[arg-type]

    def _per_channel(self, name: str, axis: Axis) -> Axis:
        known = self.found.own.setdefault(name, axis)
        if known is not axis:
            known.join(axis, f"{name!r} is called on tensors whose channels lie differently")
        if axis.inner > 1:
            axis.fix(f"{name!r} has a number for each position")
        return axis

    def _binary(self, node: fx.Node) -> Axis | None:
        shapes: dict[fx.Node, Any] = {a: a.meta["shape"] for a in node.all_input_nodes if a.meta.get("shape")}
        ranks = {len(shape) for shape in shapes.values()}
        if len(ranks) > 1 or any(self.axes.get(a) is None for a in shapes):
            return self._refuse(node, _does(node))
        wide = [self.axes[a] for a, shape in shapes.items() if shape[1] > 1] or [self.axes[a] for a in shapes]
        axes = [axis for axis in wide if axis is not None]
        for other in axes[1:]:
            axes[0].join(other, f"{node.name!r} joins tensors whose channels lie differently")
        return axes[0]

    def _cat(self, node: fx.Node) -> Axis | None:
        parts: Any = node.args[0]
        dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        axes = [self._of(part) for part in parts] if isinstance(parts, list | tuple) else []
        rank = len(node.meta["shape"])
        known = [axis for axis in axes if axis is not None]
        if not known or len(known) != len(axes) or not isinstance(dim, int):
            return self._refuse(node, _does(node))
        if dim % rank == 1 and len({axis.inner for axis in known}) == 1:
            return Axis(tuple(segment for axis in known for segment in axis.segments), known[0].inner)
        if dim % rank > 1:
            for other in known[1:]:
                known[0].join(other, f"{node.name!r} joins tensors whose channels lie differently")
            return known[0]
        return self._refuse(node, _does(node))

    def _flat(self, node: fx.Node, axis: Axis | None) -> Axis | None:
        """(N, C, *size) becomes (N, C * positions): each channel as often as there are positions."""
        source, after = node.all_input_nodes[0].meta.get("shape"), node.meta.get("shape")
        if axis is None or not source or not after:
            return self._refuse(node, _does(node))
        if after == source:
            return axis
        if len(after) == 2 and after == (source[0], math.prod(source[1:])):
            return Axis(axis.segments, axis.inner * math.prod(source[2:]))
        if len(after) > 2 and after[:2] == source[:2]:
            return axis
        return self._refuse(node, _does(node))

    def _spatial(self, node: fx.Node) -> bool:
        """Whether a reduction goes over spatial axes alone."""
        source = node.all_input_nodes[0].meta.get("shape") or ()
        given: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        dims = [given] if isinstance(given, int) else given
        return (
            isinstance(dims, list | tuple)
            and bool(dims)
            and all(isinstance(d, int) and d % len(source) > 1 for d in dims)
        )

    def _read(self, node: fx.Node) -> Axis | None:
        """A parameter that the model's own code works with: what its owner gives and reads stays."""
        owner = str(node.target).rpartition(".")[0]
        for axes in (self.found.outputs, self.found.inputs, self.found.own):
            if owner in axes:
                axes[owner].fix(f"{node.target} is read by the model's own code")
        return None

    def _of(self, value: Any) -> Axis | None:
        return self.axes.get(value) if isinstance(value, fx.Node) else None

    def _refuse(self, node: fx.Node, why: str) -> Axis | None:
        for source in node.all_input_nodes:
            if (axis := self.axes.get(source)) is not None:
                axis.fix(why)
        return self._fixed(node, why)

    def _fixed(self, node: fx.Node, why: str) -> Axis | None:
        shape = node.meta.get("shape")
        return Axis.of(Group(shape[1], why)) if shape and len(shape) > 1 else None


def _does(node: fx.Node) -> str:
    return f"{node.name!r} ({getattr(node.target, '__name__', node.target)}) works on them"


def _altered(module: nn.Module) -> bool:
    """Whether it is more than torch.nn's layer."""
    normed = bool(module._forward_pre_hooks) and any(
        type(hook).__module__.startswith("torch.nn.utils") for hook in module._forward_pre_hooks.values()
    )
    conv = isinstance(module, _ConvNd) and (has_custom_forward(module) or adapter_of(module) is not None)
    return normed or conv or parametrize.is_parametrized(module) or "forward" in vars(module)


def _is_depthwise(module: nn.Module) -> bool:
    return (
        isinstance(module, _ConvNd)
        and not isinstance(module, _ConvTransposeNd)
        and 1 < module.groups == module.in_channels == module.out_channels
    )


def _is_prelu(module: nn.Module) -> bool:
    return isinstance(module, nn.PReLU) and module.num_parameters > 1


def _crops(node: fx.Node) -> bool:
    """Whether an index takes all rows and channels."""
    source, index = node.args[0], node.args[1]
    if not isinstance(source, fx.Node) or not source.meta.get("shape") or not isinstance(index, tuple):
        return False
    rank = len(source.meta["shape"])
    if index and index[0] is Ellipsis:
        return len(index) - 1 <= rank - 2 and all(isinstance(i, slice) for i in index[1:])
    return all(isinstance(i, slice) for i in index) and all(i == slice(None) for i in index[:2]) and len(index) <= rank
