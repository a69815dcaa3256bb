"""What functions, methods and modules without sizes do with channels: one rule a name, whatever fx calls it by."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from dashfx.passes.narrow.reader import Reader, Rule, Value, shape_of
from dashfx.passes.narrow.units import Carried


def same(reader: Reader, node: fx.Node) -> Value:
    """Each place by itself, or together with others of its channel."""
    return reader.of(node.args[0] if node.args else node.kwargs.get("input"))


def together(reader: Reader, node: fx.Node) -> Value:
    """Several tensors place by place, broadcast: their channels are the same ones."""
    operands = [each for each in (*node.args, *node.kwargs.values()) if isinstance(each, fx.Node)]
    size = len(shape_of(node))
    found: Carried | None = None
    for each in operands:
        carried = reader.of(each)
        if carried is None:
            continue
        axis = carried.axis + size - len(shape_of(each))
        if found is not None and (axis != found.axis or len(carried.labels) != len(found.labels)):
            return reader.unknown(node, f"{node.name} joins tensors whose channels lie along different axes")
        if found is not None:
            reader.units.join(found.labels, carried.labels)
        found = Carried(axis, carried.labels)
    assert found is not None
    for each in operands:
        shape = shape_of(each)
        axis = found.axis - size + len(shape)
        if reader.of(each) is not None or axis < 0 or not shape or shape[axis] == 1:
            continue
        if each.op == "get_attr":
            reader.parameter(each, axis, found.labels)
        else:
            reader.units.pin(found.labels, f"{node.name} joins them with channels that stay")
    return found


def along(reader: Reader, node: fx.Node) -> Value:
    """Along given axes, which stay: softmax and the like."""
    x = reader.of(node.args[0])
    assert x is not None
    dims = _dims(node, len(shape_of(node)))
    if dims is None or x.axis in dims:
        return reader.unknown(node, f"{node.name} runs over the channels")
    return x


def reduced(reader: Reader, node: fx.Node) -> Value:
    """Sums and means over given axes, which leave."""
    x, given = reader.of(node.args[0]), shape_of(node.args[0])  # type: ignore[arg-type]
    assert x is not None
    dims, shape = _dims(node, len(given)), shape_of(node)
    if dims is None or x.axis in dims or not shape:
        return reader.unknown(node, f"{node.name} runs over the channels")
    before = sum(dim < x.axis for dim in dims) if len(shape) < len(given) else 0
    return Carried(x.axis - before, x.labels)


def flattened(reader: Reader, node: fx.Node) -> Value:
    """flatten, view, reshape: each channel becomes as many places as it had, or the channels stay one axis."""
    x, given, shape = reader.of(node.args[0]), shape_of(node.args[0]), shape_of(node)  # type: ignore[arg-type]
    assert x is not None
    before, count = math.prod(given[: x.axis]), given[x.axis]
    inner = math.prod(given[x.axis + 1 :])
    for axis in range(len(shape)):
        each, rest = divmod(shape[axis], count)
        if math.prod(shape[:axis]) != before or rest or each == 0 or inner % each:
            continue
        if axis == 0 and x.axis != 0:
            continue  # the batch of one row is in it, too
        if _constant(node, axis) is not None:
            return reader.unknown(node, f"{node.name} has their number, {shape[axis]}, written in the code")
        return Carried(axis, tuple(label for label in x.labels for _ in range(each)))
    return reader.unknown(node, f"{node.name} splits or merges the channels")


def moved(reader: Reader, node: fx.Node) -> Value:
    """transpose, permute: the axes are in another order."""
    x, size = reader.of(node.args[0]), len(shape_of(node))
    assert x is not None
    numbers = [each for arg in node.args[1:] for each in (arg if isinstance(arg, list | tuple) else [arg])]
    if not numbers or not all(isinstance(each, int) for each in numbers):
        return reader.unknown(node, f"{node.name} moves axes by what the code computes")
    axes: list[Any] = [each % size for each in numbers]  # type: ignore[operator]
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
    if name == "permute":
        order = axes
    else:
        order = list(range(size))
        order[axes[0]], order[axes[1]] = axes[1], axes[0]
    return Carried(order.index(x.axis), x.labels)


def squeezed(reader: Reader, node: fx.Node) -> Value:
    """squeeze, unsqueeze: axes of one place come or go."""
    x, given, shape = reader.of(node.args[0]), shape_of(node.args[0]), shape_of(node)  # type: ignore[arg-type]
    assert x is not None
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if not isinstance(dim, int) or len(x.labels) == 1:
        return reader.unknown(node, f"{node.name} does not say which axis")
    if len(shape) == len(given):
        return x
    step = 1 if len(shape) > len(given) else -1
    at = dim % max(len(shape), len(given))
    return Carried(x.axis + step * int(at <= x.axis if step == 1 else at < x.axis), x.labels)


def joined(reader: Reader, node: fx.Node) -> Value:
    """cat: channels one after another, or the same channels one after another along another axis."""
    tensors = node.args[0] if node.args else node.kwargs["tensors"]
    assert isinstance(tensors, list | tuple)
    dims, size = _dims(node, len(shape_of(node)), 0), len(shape_of(node))
    known = [reader.of(each) for each in tensors]
    axes = {each.axis for each in known if each is not None}
    if len(axes) != 1 or dims is None or size == 0:
        return reader.unknown(node, f"{node.name} joins tensors whose channels lie along different axes")
    (axis,) = axes
    if axis in dims:
        stays = f"{node.name} takes them from a tensor that stays"
        rows = [
            x.labels if x else reader.units.fresh(shape_of(each)[axis], stays)
            for x, each in zip(known, tensors, strict=True)
        ]
        return Carried(axis, tuple(label for row in rows for label in row))
    first = next(each for each in known if each is not None)
    for each in known:
        if each is None:
            reader.units.pin(first.labels, f"{node.name} joins them with channels that stay")
        else:
            reader.units.join(first.labels, each.labels)
    return first


def cut(reader: Reader, node: fx.Node) -> Value:
    """chunk: equal parts of the channels keep the same places; of another axis, all have all channels."""
    x = reader.of(node.args[0])
    assert x is not None
    parts = node.args[1] if len(node.args) > 1 else node.kwargs.get("chunks")
    dims = _dims(node, len(shape_of(node.args[0])), 0, at=2)  # type: ignore[arg-type]
    if not isinstance(parts, int) or dims is None or (x.axis in dims and len(x.labels) % parts):
        return reader.unknown(node, f"{node.name} cuts the channels at fixed places")
    if x.axis not in dims:
        return (x,) * parts
    reader.units.join_repeated(x.labels, parts)
    length = len(x.labels) // parts
    return tuple(Carried(x.axis, x.labels[i * length : (i + 1) * length]) for i in range(parts))


def picked(reader: Reader, node: fx.Node) -> Value:
    """x[...]: other axes than that of the channels may be cut; of a tuple, one of its tensors."""
    if tensors := reader.several(node.args[0]):
        return tensors[node.args[1]] if isinstance(node.args[1], int) else reader.unknown(node)
    x, size = reader.of(node.args[0]), len(shape_of(node.args[0]))  # type: ignore[arg-type]
    index: Any = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if x is None or any(not (each is ... or each is None or isinstance(each, int | slice)) for each in index):
        return reader.unknown(node, f"{node.name} picks by what the code computes")
    taken = sum(each is not ... and each is not None for each in index)
    whole = [part for each in index for part in ([slice(None)] * (size - taken) if each is ... else [each])]
    whole += [slice(None)] * (size - sum(each is not None for each in whole))
    axis, place = 0, 0
    for each in whole:
        if each is not None and axis == x.axis:
            break
        place += not isinstance(each, int)
        axis += each is not None
    if each != slice(None):
        return reader.unknown(node, f"{node.name} picks channels by their number")
    return Carried(place, x.labels)


def padded(reader: Reader, node: fx.Node) -> Value:
    """F.pad: more places at the ends of the last axes; channels that are added stay."""
    x, shape = reader.of(node.args[0]), shape_of(node)
    assert x is not None
    sides = node.args[1] if len(node.args) > 1 else node.kwargs.get("pad")
    at = 2 * (len(shape) - 1 - x.axis)
    if not isinstance(sides, list | tuple):
        return reader.unknown(node, f"{node.name} pads by what the code computes")
    if len(sides) <= at or tuple(sides[at : at + 2]) == (0, 0):
        return x
    left, right = sides[at : at + 2]
    if not (isinstance(left, int) and isinstance(right, int) and min(left, right) >= 0):
        return reader.unknown(node, f"{node.name} pads or crops the channels by what the code computes")
    why = f"{node.name} pads the channels by a number in the code"
    return Carried(x.axis, (*reader.units.fresh(left, why), *x.labels, *reader.units.fresh(right, why)))


def sized(reader: Reader, node: fx.Node) -> Value:
    """size, shape, dim: numbers; whether the code takes other ones is found by running it."""
    return reader.unknown(node) if shape_of(node) else None


def grown(reader: Reader, node: fx.Node) -> Value:
    """expand: other axes than that of the channels are repeated."""
    x, shape = reader.of(node.args[0]), shape_of(node)
    assert x is not None
    axis = x.axis + len(shape) - len(shape_of(node.args[0]))  # type: ignore[arg-type]
    if len(x.labels) == 1 or _constant(node, axis) is not None:
        return reader.unknown(node, f"{node.name} has their number written in the code")
    return Carried(axis, x.labels)


def modular(reader: Reader, node: fx.Node) -> Value:
    """nn.Softmax and nn.LogSoftmax: the axis is the module's."""
    x = reader.of(node.args[0])
    module = node.graph.owning_module.get_submodule(str(node.target))  # type: ignore[union-attr]
    dim: Any = getattr(module, "dim", None)
    if x is None or dim is None or dim % len(shape_of(node)) == x.axis:
        return reader.unknown(node, f"{node.target} runs over the channels")
    return x


def _constant(node: fx.Node, axis: int) -> int | None:
    """The size of an axis that the code writes as a number; None where it is computed, -1 or not written."""
    name = str(getattr(node.target, "__name__", node.target))
    if name not in ("view", "reshape", "expand"):
        return None
    sizes = [each for arg in node.args[1:] for each in (arg if isinstance(arg, list | tuple) else [arg])]
    size = sizes[axis] if axis < len(sizes) else None
    return size if isinstance(size, int) and size != -1 else None


def _dims(node: fx.Node, size: int, default: Any = None, at: int = 1) -> tuple[int, ...] | None:
    """The axes that a function is told, from the front; None where it is told none, or computes them."""
    dim = node.kwargs.get("dim", node.kwargs.get("axis", node.args[at] if len(node.args) > at else default))
    numbers = dim if isinstance(dim, list | tuple) else (dim,)
    if not numbers or not all(isinstance(each, int) for each in numbers):
        return None
    return tuple(each % size for each in numbers)


SAME = """
relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh logsigmoid softplus
softsign tanhshrink softshrink hardshrink threshold abs neg exp log log1p sqrt rsqrt square clamp clip dropout dropout1d
dropout2d dropout3d alpha_dropout feature_dropout contiguous clone detach to float double half bfloat16 type cpu cuda
max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d interpolate upsample
boolean_dispatch reciprocal round floor sign sin cos erf nan_to_num identity
ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Hardswish Hardsigmoid Hardtanh Sigmoid Tanh LogSigmoid Softplus
Softsign Tanhshrink Softshrink Hardshrink Threshold Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout
FeatureAlphaDropout MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d
AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d LPPool1d LPPool2d Upsample UpsamplingNearest2d
UpsamplingBilinear2d ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d
ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d CircularPad1d CircularPad2d
CircularPad3d
"""
BY_NAME: dict[Rule, str] = {
    same: SAME,
    together: "add sub mul div truediv true_divide multiply subtract divide maximum minimum rsub pow where lerp",
    along: "softmax log_softmax cumsum",
    reduced: "mean sum amax amin logsumexp",
    flattened: "flatten view reshape Flatten",
    moved: "transpose permute swapaxes swapdims",
    squeezed: "squeeze unsqueeze",
    joined: "cat concat concatenate",
    cut: "chunk",
    picked: "getitem",
    padded: "pad",
    sized: "size getattr dim ndim numel len",
    grown: "expand",
    modular: "Softmax LogSoftmax",
}
RULES: dict[str, Rule] = {name: rule for rule, names in BY_NAME.items() for name in names.split()}
