"""Causality of a site: it and the graph around it go in; how its surroundings make it causal comes out, or None."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dashfx.frontend.tracing import Program
from dashfx.site import Site


def causal_evidence(program: Program, site: Site) -> str | None:
    """ "pad + conv" or "conv + chomp" where every call of a 1-D site is of that form, else None.

    What a leaf module does (a user's own Chomp1d or CausalPad) is found by running it on random numbers.
    """
    calls = [n for n in program.graph_module.graph.nodes if n.op == "call_module" and n.target == site.name]
    if site.ndim != 1 or site.padding_mode != "zeros" or not calls:
        return None
    extent = site.original.extent[0]
    if extent and site.padding == ((0, 0),) and all(_pads_left(program, n.args[0], extent) for n in calls):
        return "pad + conv"
    if extent and site.padding == ((extent, extent),) and all(_chomped(program, n, extent) for n in calls):
        return "conv + chomp"
    return None


def _pads_left(program: Program, node: Any, amount: int) -> bool:
    """Whether `node` puts `amount` zeros on the left of its input and nothing on the right."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "call_function" and getattr(node.target, "__name__", "") == "pad":
        pad, *rest = [*node.args[1:], *node.kwargs.values()]
        zeros = all(r in ("constant", 0, 0.0, None) for r in rest)
        return isinstance(pad, tuple | list) and tuple(pad) == (amount, 0) and zeros
    return _leaf_does(program, node, lambda x: F.pad(x, (amount, 0)))


def _chomped(program: Program, node: fx.Node, amount: int) -> bool:
    """Whether the only thing that sees `node`'s values removes its last `amount` samples."""
    users = [user for user in node.users if not _asks_shape(user)]
    if len(users) != 1:
        return False
    user = users[0]
    if user.op == "call_function" and user.target is operator.getitem:
        return _slices_off_end(user, amount)
    return _leaf_does(program, user, lambda x: x[..., :-amount])


def _asks_shape(node: fx.Node) -> bool:
    shape = node.op == "call_function" and node.target is getattr and node.args[1] == "shape"
    return shape or (node.op == "call_method" and node.target == "size")


def _slices_off_end(node: fx.Node, amount: int) -> bool:
    index, before, after = node.args[1], node.all_input_nodes[0].meta.get("shape"), node.meta.get("shape")
    if not isinstance(index, tuple) or before is None or after is None or len(before) != len(after):
        return False
    last = index[-1]
    whole = all(i is Ellipsis or i == slice(None) for i in index[:-1])
    from_start = isinstance(last, slice) and last.start in (None, 0) and last.step in (None, 1)
    return whole and from_start and before[-1] - after[-1] == amount


def _leaf_does(program: Program, node: fx.Node, law: Any) -> bool:
    if node.op != "call_module" or len(node.all_input_nodes) != 1:
        return False
    module, shape = program.graph_module.get_submodule(str(node.target)), node.all_input_nodes[0].meta.get("shape")
    if shape is None or len(shape) != 3 or any(True for _ in module.parameters()) or isinstance(module, nn.Dropout):
        return False
    probe = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            answer = module(probe)
    except Exception:  # a user's module may want another device or type; then nothing is claimed of it
        return False
    expected = law(probe)
    return isinstance(answer, Tensor) and answer.shape == expected.shape and torch.equal(answer, expected)
