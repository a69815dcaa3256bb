"""A user's model and an example input go in; a torch.fx graph over the user's own modules, sites and skips come out."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from dashfx.drawing.html import snippet, table
from dashfx.errors import ModelError, first_line
from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.copies.rebinding import functions_of, rebind, refers
from dashfx.frontend.custom_forward import HOOKS
from dashfx.frontend.inputs import as_arguments, mapped
from dashfx.frontend.recording import is_searchable, record, shape_text, tensors_in
from dashfx.frontend.sites import classify
from dashfx.site import Site, Skip
from dashfx.space import size_text

log = logging.getLogger(__name__)


class Program:
    """A view of a traced model. The facts live in `graph_module.meta`, so they survive a deepcopy of the graph.

    Attributes:
        graph_module: the graph, for seeing; its modules are the model's own objects.
        model: the module tree, the truth; a copy of the user's model, so the user's own is never touched.
        example: the positional arguments that the model was traced with.
        sites: name -> Site, in the order of the forward pass.
        skips: every conv that stays as it is, with the reason.
        opaque: modules whose inside the graph does not show, because torch.fx could not trace it.
    """

    def __init__(self, graph_module: fx.GraphModule) -> None:
        self.graph_module = graph_module

    @property
    def model(self) -> nn.Module:
        return self.graph_module.meta["model"]

    @property
    def example(self) -> tuple[Any, ...]:
        return self.graph_module.meta["example"]

    @property
    def sites(self) -> dict[str, Site]:
        return self.graph_module.meta["sites"]

    @property
    def skips(self) -> list[Skip]:
        return self.graph_module.meta["skips"]

    @property
    def opaque(self) -> dict[str, str]:
        """Module name ("" for the whole model) -> why it could not be traced."""
        return self.graph_module.meta["opaque"]

    @property
    def ndim(self) -> int:
        """The number of spatial axes of most sites, 2 where there is none; it picks the default space."""
        axes = [site.ndim for site in self.sites.values()]
        return max(set(axes), key=axes.count) if axes else 2

    def replace(self, name: str, new: nn.Module) -> None:
        """Put `new` in the place of module `name`, under every name it has, with its mode and its hooks."""
        old = self.model.get_submodule(name)
        new.train(old.training)
        # Lists of layers, and hooks that read the conv; what the new one has taken over from the old included.
        shared = [name for name, value in vars(new).items() if vars(old).get(name, ...) is value]
        rebind(self.model, {id(old): new})
        vars(new).update({name: vars(old)[name] for name in shared})
        for hooks in HOOKS:
            getattr(new, hooks).update(getattr(old, hooks))
        for root in (self.model, self.graph_module):
            for parent in list(root.modules()):
                for key, child in parent._modules.items():
                    if child is old:
                        parent._modules[key] = new

    def _repr_html_(self) -> str:
        """What `summary` says, for a notebook."""
        sites = [
            (s.name, f"{s.in_channels} to {s.out_channels}", s.original, size_text(s.stride), size_text(s.input_size))
            for s in self.sites.values()
        ]
        alone = [(skip.name, skip.reason) for skip in self.skips]
        hidden = [(name or "(the whole model)", why) for name, why in self.opaque.items()]
        tables = [table(sites, ("site", "channels", "conv", "stride", "input"))]
        tables += [table(alone, ("left alone", "why"))] if alone else []
        return snippet(*tables, *([table(hidden, ("not traced inside", "why"))] if hidden else []))

    def summary(self) -> str:
        """A line per conv: what it is and what will be searched, or why not."""
        rows = [
            f"site  {s.name}: {s.in_channels}->{s.out_channels} {s.original} stride {s.stride} at {s.input_size}"
            for s in self.sites.values()
        ]
        rows += [f"skip  {s.name}: {s.reason}" for s in self.skips]
        rows += [f"opaque {name or '(the whole model)'}: {why}" for name, why in self.opaque.items()]
        return "\n".join(rows)


def trace(model: nn.Module, example_input: Any) -> Program:
    """Trace a copy of `model` and sort its convs into sites and skips.

    Shapes come from one eager run in eval mode without gradients, so that batch-norm statistics, train/eval flags and
    the global random state stay as they are. Where torch.fx fails, the innermost failing module becomes opaque and
    tracing is tried again; convs inside it are still sites.

    Args:
        example_input: a tensor (batch, channels, *size), a tuple of positional arguments, or a dict of arguments by
            name.

    Raises:
        ModelError: the model is no nn.Module, its forward fails on the example or returns no tensor, or two calls give
            outputs of different shapes.
        AdapterError: an adapter of the user's breaks the one-hot law.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected an nn.Module, got {type(model).__name__}: give an instance of the model")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("the model is scripted (torch.jit): give the nn.Module it was made from")
    compiled = [name for name, m in model.named_modules() if type(m).__name__ == "OptimizedModule"]
    if compiled:
        where = f"module {compiled[0]!r}" if compiled[0] else "the model"
        raise ModelError(f"{where} is compiled (torch.compile): give what it was made from, and compile the result")
    own, model = model, copy_model(model)
    example = as_arguments(example_input, model)
    with evaluation(model):
        _require_equal(own, model, example)
        recording = record(model, example)
        sites, skips = classify(model, recording)
        graph_module, opaque = graph_of(model, example, recording.output)
        if "" in opaque:
            _require_stable(model, example, recording.output)
    graph_module.meta.update(model=model, example=example, sites=sites, skips=skips, opaque=opaque)
    return Program(graph_module)


def _require_stable(model: nn.Module, example: tuple[Any, ...], output: Any) -> None:
    before, after = (" and ".join(shape_text(t) for t in tensors_in(o)) for o in (output, model(*example)))
    if before != after:
        raise ModelError(
            f"{type(model).__name__} returns {before} at one call and {after} at the next for the same example: "
            "take what changes between calls out of its forward"
        )


def _require_equal(own: nn.Module, model: nn.Module, example: tuple[Any, ...]) -> None:
    """Hold the copy of a model with functions of its own against the model, on values other than the example's.

    Raises:
        ModelError: a function still works on the user's model, through a global name or its class.
    """
    modules = {id(module) for module in own.modules()}
    held = dict(functions_of(model))
    methods = [value for kind in set(map(type, own.modules())) for value in vars(kind).values()]
    strangers = any(isinstance(m, FunctionType) and refers(m, modules) for m in methods)
    if not (held or strangers) or any(map(is_lazy, own.parameters())):
        return  # all that it computes with was copied
    second = mapped(example, lambda x: 0.9 * x.roll(1, -1) if x.is_floating_point() and x.ndim else x)
    try:
        with evaluation(own), no_seed():
            expected = own(*second)
    except Exception:  # the example is told about by the run that comes
        return
    try:
        with no_seed():
            wrong = not _same(model(*second), expected)
    except Exception:  # what the original's hook wrote is missing
        wrong = True
    if wrong:
        named = [where for where, function in held.items() if refers(function, modules)] or list(held) or ["a method"]
        raise ModelError(
            f"a copy of {type(own).__name__} gives another answer than the model, because {named[0]} works on the "
            "original: let it reach the model through its own arguments or self, not through a global name"
        )


@contextmanager
def no_seed() -> Iterator[None]:
    """Inside, the random state of the CPU is always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy; unlike `copy.deepcopy` it takes models that keep computed tensors, and lazy ones.

    Weight-norm hooks leave a computed `weight` behind, and users keep features for plots. Hooks and other functions
    that close over the model work on the copy, and scripted parts have weights that an optimiser takes.

    Raises:
        ModelError: the model holds something that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for tensor in (t for module in model.modules() for t in tensors_in(vars(module))):
        if isinstance(tensor, nn.UninitializedBuffer):
            blank: Callable[..., Tensor] = nn.UninitializedBuffer
            memo[id(tensor)] = blank(device=tensor.device, dtype=tensor.dtype)
        elif not tensor.is_leaf:
            memo[id(tensor)] = tensor.detach().clone()
    try:
        twin = copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:  # computed tensors in objects of the user's; locks, files, generators
        raise ModelError(
            f"{type(model).__name__} cannot be copied: {first_line(error)}; let it drop what it keeps"
        ) from error
    rebind(twin, memo)
    for parameter, given in zip(twin.parameters(), model.parameters(), strict=False):
        if not parameter.is_leaf:  # torch copies scripted modules under autograd
            parameter.detach_().requires_grad_(given.requires_grad)
    return twin


def copy_program(program: Program) -> Program:
    """A program of its own that stands where this one does."""
    model, meta = copy_model(program.model), program.graph_module.meta
    root: Any = {"model": model} if "" in program.opaque else model
    graph_module = fx.GraphModule(root, program.graph_module.graph, type(model).__name__)
    graph_module.meta.update({**meta, "model": model, "sites": dict(program.sites), "skips": list(program.skips)})
    return Program(graph_module)


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; every module's own flag and the random state come back afterwards."""
    flags = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad(), random_state_kept(model):
            yield
    finally:
        for module, flag in flags.items():
            module.training = flag


@contextmanager
def random_state_kept(model: nn.Module) -> Iterator[None]:
    """Whatever is drawn inside, the random state of the CPU and of the model's GPUs comes back afterwards."""
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        yield


class SiteTracer(fx.Tracer):
    """Goes through the ancestors of spatial convs and keeps every other module whole.

    Arguments that the example does not give keep their Python defaults instead of becoming placeholders, so `mask=None`
    takes the branch that it takes in an ordinary call.
    """

    def __init__(self, opaque: Mapping[str, str], example: tuple[Any, ...]) -> None:
        super().__init__()
        self._opaque = opaque
        self._example = example
        self._ancestors: set[nn.Module] = set()
        self.failed: str | None = None

    def trace(self, root: nn.Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        assert isinstance(root, nn.Module)
        self._ancestors = {
            module for module in root.modules() if any(_is_conv(m) for m in module.modules()) and not _is_conv(module)
        }
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._opaque or m not in self._ancestors

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:  # exceptions travel outwards, so the first to see it is the innermost
                self.failed = self.path_of_module(m)
            raise

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        names = [p.name for p in inspect.signature(root_fn).parameters.values() if p.kind is not p.VAR_POSITIONAL][1:]
        names += [f"input_{i}" for i in range(len(names), len(self._example))]
        pairs = zip(names, self._example, strict=False)
        inputs = [(self.create_proxy("placeholder", name, (), {}), value) for name, value in pairs]
        # A flag or None decides branches: it is no input of the graph, though it keeps its place.
        return root_fn, [self.root, *(proxy if _has_tensor(value) else value for proxy, value in inputs)]


def _has_tensor(value: Any) -> bool:
    return next(tensors_in(value), None) is not None


class FineTracer(SiteTracer):
    """Goes through every module but torch.nn's own layers, as `torch.fx.Tracer` does."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = not m.__module__.startswith("torch.nn") or isinstance(m, nn.Sequential)
        return module_qualified_name in self._opaque or is_searchable(m) or _is_conv(m) or not own


def fine_graph(model: nn.Module, example: tuple[Any, ...]) -> fx.GraphModule:
    """The graph of every layer of a model, shapes included; modules that torch.fx cannot go through stay whole."""
    with evaluation(model):
        return graph_of(model, example, model(*example), FineTracer)[0]


def _is_conv(module: nn.Module) -> bool:
    """A conv with spatial support, one with an adapter, or one that an earlier rewrite has made searchable."""
    spatial = isinstance(module, _ConvNd) and max(module.kernel_size) > 1
    return spatial or is_searchable(module) or adapter_of(module) is not None


def graph_of(
    model: nn.Module, example: tuple[Any, ...], expected: Any, kind: type[SiteTracer] = SiteTracer
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Trace with retries; a graph whose answer differs from the model's own is not used.

    Args:
        expected: what the model answers to the example, in the mode that it is in.
        kind: the tracer, which says how deep to go.

    Returns:
        The graph with every tensor's shape in `node.meta["shape"]`, and what could not be traced with the reason.
    """
    opaque: dict[str, str] = {}
    while "" not in opaque:
        # A forward that stores something on `self` would store proxies: trace a throw-away copy.
        tracer = kind(opaque, example)
        try:
            graph = tracer.trace(copy_model(model))
            graph_module = fx.GraphModule(model, graph, type(model).__name__)
            answer = ShapeRecorder(graph_module).run(*example)
        except Exception as error:  # user code under proxies may raise anything
            failed = tracer.failed or ""
            while failed in opaque:  # it fails as a whole, too: by what its parent gives it
                failed = failed.rpartition(".")[0]
            opaque[failed] = f"{type(error).__name__}: {first_line(error)}"
            continue
        if _same(answer, expected):
            return graph_module, opaque
        opaque[""] = "the traced graph gives another answer than the model (its forward depends on values or state)"
    log.info("torch.fx cannot trace the model (%s); sites come from hooks", opaque[""])
    return _opaque_graph(model, len(example)), opaque


def _opaque_graph(model: nn.Module, arguments: int) -> fx.GraphModule:
    """One call of the whole model, for models that torch.fx cannot go through."""
    graph = fx.Graph()
    inputs = tuple(graph.placeholder(f"input_{i}") for i in range(arguments))
    graph.output(graph.call_module("model", inputs))
    return fx.GraphModule({"model": model}, graph, type(model).__name__)


class ShapeRecorder(fx.Interpreter):
    """Runs a graph and notes the shape of every tensor in `node.meta["shape"]`."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b)
