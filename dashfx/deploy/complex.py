"""A model that computes with complex numbers goes in; one that computes the same with pairs of real ones comes out.

PyTorch's ONNX exporters know few operators on complex numbers; all of the real ones below are among those they know.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_leaves, tree_map

from dashfx.errors import ExportError

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex tensor as its real and its imaginary part."""

    re: Tensor
    im: Tensor


class RealModel(nn.Module):
    """The program that `model` runs on `inputs`, in real numbers: takes the same tensors, returns the same outputs.

    What does not depend on the inputs, such as the response of a filter, is computed here, once.

    Args:
        shapes: the free axes of the inputs, as `torch.export.export` takes them.

    Raises:
        ExportError: when called, on an operator on complex numbers for which there is no rule here.
    """

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...], shapes: Any) -> None:
        super().__init__()
        program = torch.export.export(model, inputs, dynamic_shapes=shapes, strict=False).run_decompositions()
        traced = program.module(check_guards=False)
        self.program = fx.GraphModule(traced, traced.graph)  # of the plain kind, which has eval()
        _fold(self.program)

    def forward(self, *inputs: Tensor) -> Any:
        return _InPairs(self.program).run(*inputs)


def is_complex_inside(model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    """Whether some operator of the forward pass gives complex numbers."""
    with torch.no_grad(), _ComplexSeen() as seen:
        model(*inputs)
    return seen.any


class _ComplexSeen(TorchDispatchMode):
    any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.any |= tree_any(lambda t: isinstance(t, Tensor) and t.is_complex(), result)
        return result


def _fold(module: fx.GraphModule) -> None:
    """Replace what is computed from constants alone by its values, complex ones by a pair of buffers."""
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = operator.attrgetter(node.target)(module)
        elif node.op == "call_function" and _is_pure(node.target) and all(n in values for n in node.all_input_nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    for i, (node, value) in enumerate(values.items()):
        used = any(user not in values for user in node.users)
        if used and isinstance(value, Tensor) and (node.op != "get_attr" or value.is_complex()):
            _keep(module, node, f"constant_{i}", value)
    for node in reversed(values):  # not only dead code by torch's rules, which keep checks of a constant's dtype
        if not node.users:
            module.graph.erase_node(node)
    module.recompile()


def _is_pure(target: Any) -> bool:
    if target is operator.getitem:
        return True
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags


def _keep(module: fx.GraphModule, node: fx.Node, name: str, value: Tensor) -> None:
    parts = {f"{name}_re": value.real, f"{name}_im": value.imag} if value.is_complex() else {name: value}
    for part, tensor in parts.items():
        module.register_buffer(part, tensor.detach().clone())
    with module.graph.inserting_before(node):
        kept = [module.graph.get_attr(part) for part in parts]
        new = kept[0] if len(kept) == 1 else module.graph.call_function(aten.complex.default, tuple(kept))
    node.replace_all_uses_with(new)


class _InPairs(fx.Interpreter):
    """Runs a graph of core ATen operators with a Pair in place of each complex tensor."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(target, torch._ops.OpOverload) or not _concerns_complex(target, args, kwargs):
            return super().call_function(target, args, kwargs)
        rule = RULES.get(target.overloadpacket)
        if rule is not None:
            return rule(*args, **kwargs)
        if target.overloadpacket in BY_PARTS:
            return _by_parts(target, args, kwargs)
        raise ExportError(f"{target} of complex numbers has no form in real numbers here")


def _concerns_complex(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return target.overloadpacket in MAKERS or any(
        isinstance(x, Pair | complex) or (isinstance(x, torch.dtype) and x.is_complex)
        for x in tree_leaves((args, kwargs))
    )


def _by_parts(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """For operators that treat both parts alike; real values beside complex ones have an imaginary part of zero."""
    re, im = (target(*tree_map(part, args), **tree_map(part, kwargs)) for part in (_real, _imaginary))
    return Pair(re, im) if isinstance(re, Tensor) else [Pair(*parts) for parts in zip(re, im, strict=True)]


def _real(x: Any) -> Any:
    if isinstance(x, torch.dtype):
        return x.to_real()
    if isinstance(x, Pair):
        return x.re
    return x.real if isinstance(x, complex) else x


def _imaginary(x: Any) -> Any:
    if isinstance(x, Pair):
        return x.im
    if isinstance(x, Tensor) and x.is_floating_point():
        return torch.zeros_like(x)
    return x.imag if isinstance(x, complex | float) else _real(x)


def _is_real(x: Any) -> bool:
    return not isinstance(x, Pair | complex)


def _product(op: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Pair]:
    """The complex form of an operator that is linear in both arguments: pairs, real tensors or numbers."""

    def rule(a: Any, b: Any) -> Pair:
        if _is_real(a):
            return Pair(op(a, _real(b)), op(a, _imaginary(b)))
        if _is_real(b):
            return Pair(op(_real(a), b), op(_imaginary(a), b))
        re = op(_real(a), _real(b)) - op(_imaginary(a), _imaginary(b))
        return Pair(re, op(_real(a), _imaginary(b)) + op(_imaginary(a), _real(b)))

    return rule


_times = _product(operator.mul)


def _sum(a: Any, b: Any, *, alpha: float = 1) -> Pair:
    re = _real(a) + alpha * _real(b)
    im = [alpha_ * _imaginary(x) for alpha_, x in ((1, a), (alpha, b)) if not _is_real(x)]
    return Pair(re, sum(im, torch.zeros_like(re)))


def _difference(a: Any, b: Any, *, alpha: float = 1) -> Pair:
    return _sum(a, b, alpha=-alpha)


def _reciprocal(x: Pair) -> Pair:
    size = x.re * x.re + x.im * x.im
    return Pair(x.re / size, -x.im / size)


def _quotient(a: Any, b: Any) -> Pair:
    if _is_real(b):
        return Pair(a.re / b, a.im / b)
    return _times(a, _reciprocal(b) if isinstance(b, Pair) else 1 / b)


def _power(x: Pair, exponent: Any) -> Pair:
    if not isinstance(exponent, int) or exponent < 1:
        raise ExportError(f"the power {exponent} of complex numbers has no form in real ones here; 1, 2, 3, ... have")
    result = x
    for _ in range(exponent - 1):
        result = _times(result, x)
    return result


def _filled(target: Any) -> Callable[..., Pair]:
    return lambda like, value, **options: _by_parts(target, (like, complex(value)), options)


def _turns(rows: Any, columns: Any, like: Tensor, period: Any, sign: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of (sign 2 pi row column / period), each (rows, columns).

    The sine of half and whole turns is exactly zero, since the angle of a complex number jumps at an imaginary part of
    zero.
    """
    row, column = (torch.arange(n, device=like.device) for n in (rows, columns))
    steps = (row.unsqueeze(1) * column) % period
    angle = steps.to(like.dtype) * (2 * pi / period)
    return angle.cos(), torch.where((2 * steps) % period == 0, torch.zeros_like(angle), sign * angle.sin())


def _along(axis: int, x: Tensor, matrix: Tensor) -> Tensor:
    """x with its `axis` mapped by a matrix of (old length, new length)."""
    return (x.movedim(axis, -1) @ matrix).movedim(-1, axis)


def _turned(x: Pair, axes: Sequence[int], sign: int) -> Pair:
    """The unscaled transform along the axes, as products with matrices."""
    for axis in axes:
        n = x.re.shape[axis]
        cos, sin = _turns(n, n, x.re, n, sign)
        re = _along(axis, x.re, cos) - _along(axis, x.im, sin)
        x = Pair(re, _along(axis, x.re, sin) + _along(axis, x.im, cos))
    return x


def _scale(lengths: Sequence[Any], mode: int) -> Any:
    """What a transform over axes of these lengths is multiplied by, for aten's modes: none, 1 / root n, 1 / n."""
    return (1.0, prod(lengths) ** -0.5, 1 / prod(lengths))[mode]


def _fft_c2c(x: Pair, dim: Sequence[int], normalization: int, forward: bool) -> Pair:
    lengths = [x.re.shape[axis] for axis in dim]
    return _times(_turned(x, dim, -1 if forward else 1), _scale(lengths, normalization))


def _fft_r2c(x: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Pair:
    *others, last = dim
    n = x.shape[last]
    cos, sin = _turns(n, n // 2 + 1 if onesided else n, x, n, -1)
    turned = _turned(Pair(_along(last, x, cos), _along(last, x, sin)), others, -1)
    return _times(turned, _scale([x.shape[axis] for axis in dim], normalization))


def _fft_c2r(x: Pair, dim: Sequence[int], normalization: int, last_dim_size: Any) -> Tensor:
    *others, last = dim
    turned = _turned(x, others, 1)
    rows = last_dim_size // 2 + 1
    cos, sin = _turns(rows, last_dim_size, x.re, last_dim_size, 1)
    # all frequencies but the first and, of an even length, the last also stand for their negative ones
    alone = ((2 * torch.arange(rows, device=x.re.device)) % last_dim_size == 0).unsqueeze(1)
    cos, sin = (torch.where(alone, matrix, 2 * matrix) for matrix in (cos, sin))
    lengths = [*(x.re.shape[axis] for axis in others), last_dim_size]
    return (_along(last, turned.re, cos) - _along(last, turned.im, sin)) * _scale(lengths, normalization)


MAKERS = {aten._fft_r2c, aten.complex, aten.view_as_complex}  # complex from real

# fmt: off
BY_PARTS = {
    aten._to_copy, aten.alias, aten.cat, aten.clone, aten.col2im, aten.constant_pad_nd, aten.copy, aten.detach,
    aten.diagonal, aten.empty, aten.expand, aten.flip, aten.gather, aten.im2col, aten.index, aten.index_put,
    aten.index_select, aten.mean, aten.neg, aten.permute, aten.repeat, aten.roll, aten.select, aten.select_scatter,
    aten.slice, aten.slice_scatter, aten.split_with_sizes, aten.squeeze, aten.stack, aten.sum, aten.t, aten.transpose,
    aten.unbind, aten.unfold, aten.unsqueeze, aten.view, aten.where,
}
# fmt: on

RULES: dict[Any, Callable[..., Any]] = {
    aten._assert_tensor_metadata: lambda *args, **kwargs: None,
    aten._conj: lambda x: Pair(x.re, -x.im),
    aten._conj_physical: lambda x: Pair(x.re, -x.im),
    aten._fft_c2c: _fft_c2c,
    aten._fft_c2r: _fft_c2r,
    aten._fft_r2c: _fft_r2c,
    aten.abs: lambda x: (x.re * x.re + x.im * x.im).sqrt(),
    aten.add: _sum,
    aten.angle: lambda x: torch.atan2(x.im, x.re),
    aten.bmm: _product(torch.bmm),
    aten.complex: Pair,
    aten.div: _quotient,
    aten.exp: lambda x: Pair(x.re.exp() * x.im.cos(), x.re.exp() * x.im.sin()),
    aten.full: _filled(aten.full.default),
    aten.full_like: _filled(aten.full_like.default),
    aten.imag: lambda x: x.im,
    aten.mm: _product(torch.mm),
    aten.mul: _times,
    aten.pow: _power,
    aten.real: lambda x: x.re,
    aten.reciprocal: _reciprocal,
    aten.resolve_conj: lambda x: x,
    aten.sub: _difference,
    aten.view_as_complex: lambda x: Pair(x[..., 0], x[..., 1]),
    aten.view_as_real: lambda x: torch.stack([x.re, x.im], dim=-1),
}
