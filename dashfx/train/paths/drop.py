"""ScheduledDropPath: residual branches are left out of random rows, the more of them the further training is.

Zoph, Vasudevan, Shlens and Le, "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018, section
3: the probability grows linearly over the training; what stays is divided by its probability (Larsson et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from dashfx.frontend.tracing import fine_graph

ADDS = ("add", "iadd", "add_")
KEEPING_ZERO = ("relu", "relu_", "ReLU", "dropout", "Dropout", "Identity")  # f(a x) = a f(x) for a >= 0, which we need


class DropPaths:
    """The branches of a model that are dropped while it is trained; in eval mode nothing is.

    Args:
        most: the probability at the end of the training, of each branch and each row for itself.
        names: of the modules whose output is the branch, see `residual_paths`.
    """

    paper = "Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018"
    row = "87"

    def __init__(self, model: nn.Module, most: float, names: Sequence[str]) -> None:
        self.most, self.names = most, tuple(names)
        device = next((p.device for p in model.parameters()), None)
        self._rate = torch.zeros((), device=device)  # a tensor: a compiled forward is not compiled anew at each step
        self._hooks: list[RemovableHandle] = [
            model.get_submodule(name).register_forward_hook(self._drop) for name in self.names
        ]

    @property
    def rate(self) -> float:
        return float(self._rate)

    def begin_step(self, progress: float) -> None:
        """p t / T: the probability, when a share `progress` of the training is done."""
        self._rate.fill_(self.most * progress)

    def remove(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _drop(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if not module.training:
            return None
        keep = 1 - self._rate.to(output)
        rows = torch.rand(len(output), *[1] * (output.ndim - 1), device=output.device) < keep
        return output * rows.to(output) / keep


def residual_paths(model: nn.Module, example: Any) -> tuple[list[str], list[str]]:
    """The modules that end the residual branch of an addition, and the additions without one that can be dropped.

    Of two tensors that are added, the branch is the one with more convs since they were one. It can be dropped where it
    is the output of a module that nobody else reads and that is called once, behind ReLU and dropout at most.

    Args:
        example: the positional arguments of the model.
    """
    graph_module = fine_graph(model, tuple(example))
    calls = [str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"]
    found, left = list[str](), list[str]()
    for node in graph_module.graph.nodes:
        name = getattr(node.target, "__name__", str(node.target))
        sources = [source for source in node.all_input_nodes if len(source.meta.get("shape") or ()) > 2]
        if node.op == "output" or name not in ADDS or len(sources) != 2:
            continue
        end = _end(graph_module, _branch(graph_module, *sources), node)
        if end is None or calls.count(end) != 1:
            left.append(node.name)
        else:
            found.append(end)
    return list(dict.fromkeys(found)), left


def _branch(graph_module: fx.GraphModule, a: fx.Node, b: fx.Node) -> fx.Node | None:
    """The one of two tensors behind which there are more convs that the other does not have too."""
    ours, theirs = _behind(a), _behind(b)
    counts = [_convs(graph_module, own - other) for own, other in ((ours, theirs), (theirs, ours))]
    return None if counts[0] == counts[1] else (a if counts[0] > counts[1] else b)


def _behind(node: fx.Node) -> set[fx.Node]:
    """Itself and all that it is computed from."""
    seen, waiting = {node}, [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def _convs(graph_module: fx.GraphModule, nodes: set[fx.Node]) -> int:
    modules = [graph_module.get_submodule(str(n.target)) for n in nodes if n.op == "call_module"]
    return sum(any(isinstance(part, _ConvNd) for part in module.modules()) for module in modules)


def _end(graph_module: fx.GraphModule, node: fx.Node | None, user: fx.Node) -> str | None:
    """The module that the branch ends with."""
    while node is not None and set(node.users) == {user}:
        kind = getattr(node.target, "__name__", str(node.target))
        if node.op == "call_module":
            kind = type(graph_module.get_submodule(str(node.target))).__name__
            if kind not in KEEPING_ZERO:
                return str(node.target)
        if kind not in KEEPING_ZERO or len(node.all_input_nodes) != 1:
            return None
        node, user = node.all_input_nodes[0], node
    return None
