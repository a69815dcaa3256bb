"""A model and its inputs go in; what became of it in each step, from trace to export, comes out."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from zoo.build import NotForTheZoo, answers, is_spatial, numbers
from zoo.entry import Inputs

import dashfx
from dashfx.deploy.export import ExportReport
from dashfx.errors import DashfxError, first_line
from dashfx.ops import AggConv, drop_residuals, sites_of

SPACE = dashfx.SearchSpace.preset("baby").with_original()
TOLERANCE = 1e-5  # relative, in float32
EXACT = 1e-9  # relative, in float64: asked where float32 misses by rounding alone
STEP_SIZE = 1e-3
RANDOM_IN_TRAINING = ("drop", "stochasticdepth")  # parts of class names: a branch that is dropped moves nothing

# The words by which a skip's reason is told from others -> how the table names it.
KINDS = {
    "pointwise": "pointwise (kernel 1)",
    "transposed": "transposed",
    "not called": "not called in eval",
    "functional": "functional conv",
    "forward of its own": "forward of its own",
    "is not one of": "not an nn.Conv1d, 2d or 3d",
    "parametrised": "parametrised, not by weight-norm",
    "computed by": "weight computed by a hook",
    "complex": "complex weights",
    "shares its weight": "weight shared with another conv",
    "is read by": "weight or padding read by other code",
    "scripted": "scripted",
    "itself is one conv": "the model itself",
}


class Missed(Exception):
    """A step ended and what it promises does not hold; the message says what."""


@dataclass
class Walk:
    """What the steps hand on to each other."""

    model: nn.Module
    inputs: Inputs
    facts: dict[str, Any] = field(default_factory=dict)
    supernet: Any = None
    plain: Any = None


def walk(model: nn.Module, inputs: Inputs, until: str = "export") -> Iterator[dict[str, Any]]:
    """The record after each step up to `until`: "steps" with an outcome per step, the first "error", and facts.

    A step that ends well is "ok"; the first that does not is "refused" (one line of dashfx's own), "missed" (it ended,
    but what it promises does not hold) or "crashed" (any other exception). Later ones have no entry.

    Raises:
        NotForTheZoo: a step finds that there is nothing to hold the model to.
    """
    state = Walk(model, inputs)
    steps: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name, step in STEPS.items():
        began = time.perf_counter()
        try:
            step(state)
            steps[name] = "ok"
        except NotForTheZoo:
            raise
        except Exception as error:
            steps[name] = _outcome(error)
            state.facts["error"] = f"{type(error).__name__}: {first_line(error)}"
        seconds[name] = round(time.perf_counter() - began, 2)
        yield {"steps": steps, "seconds": seconds, **state.facts}
        if steps[name] != "ok" or name == until:
            return


def _outcome(error: Exception) -> str:
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "ended (memory)"
    return "missed" if isinstance(error, Missed) else "refused" if isinstance(error, DashfxError) else "crashed"


def trace(state: Walk) -> None:
    """Every conv module is a site or a skip."""
    program = dashfx.trace(state.model, state.inputs)
    reasons = {skip.name: skip.reason for skip in program.skips}
    convs = {name: module for name, module in program.model.named_modules() if isinstance(module, _ConvNd)}
    spatial = [name for name, module in convs.items() if is_spatial(module)]
    functional = {name: why for name, why in reasons.items() if name not in convs}
    state.facts |= {
        "convs": len(convs),
        "sites": len(program.sites),
        "skips": Counter(kind_of(why) for why in reasons.values()),
        "spatial_skips": Counter(kind_of(reasons[n]) for n in (*spatial, *functional) if n in reasons),
        "opaque": len(program.opaque),
    }
    silent = set(convs) - set(program.sites) - set(reasons)
    if silent:
        raise Missed(f"neither site nor skip: {', '.join(sorted(silent)[:3])}")


def kind_of(reason: str) -> str:
    return next((kind for words, kind in KINDS.items() if words in reason), reason)


def grow(state: Walk) -> None:
    """The growth law, for the mixture as it starts and for a coefficient of one on the original."""
    state.supernet = dashfx.rewrite(state.model, state.inputs, SPACE, init="grow").eval()
    _agree(state, "the mixture at step 0", state.model, state.supernet)
    for aggconv in sites_of(state.supernet).values():
        aggconv.given = _one_hot(aggconv, aggconv.candidates.index(aggconv.original))
    _agree(state, "the original candidate alone", state.model, state.supernet)
    for aggconv in sites_of(state.supernet).values():
        aggconv.given = None


def train(state: Walk) -> None:
    """One step in training mode moves every candidate's weight. Logits stay: grown, every mixture computes the same.

    Where a conv of the untouched model gets no gradient in the same step (an exit that the loss does not see, a path
    that is dropped), nothing can move its candidates; facts count those sites as "still".

    Raises:
        NotForTheZoo: the untouched model cannot take such a step either.
    """
    supernet = state.supernet
    try:
        _backward(supernet, state.inputs)
    except RuntimeError:
        _still(state)
        raise
    still = {name for name, aggconv in sites_of(supernet).items() if not _moves(aggconv)}
    supernet.zero_grad(set_to_none=True)
    supernet.eval()
    if still:
        own = _still(state)
        state.facts["still"] = len(still & own)
        still -= own
    if still:
        raise Missed(f"{len(still)} of {len(sites_of(supernet))} sites do not move: {', '.join(sorted(still)[:3])}")


def _still(state: Walk) -> set[str]:
    """The modules of the untouched model whose kernels get no gradient in the training step."""
    try:
        _backward(state.model, state.inputs)
    except RuntimeError as error:
        raise NotForTheZoo(f"its own training step fails: {first_line(error, 120)}") from error
    return {name for name, module in state.model.named_modules() if not any(map(_has_gradient, module.parameters()))}


def _has_gradient(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and parameter.grad is not None and bool(parameter.grad.any())


def _backward(model: nn.Module, inputs: Inputs) -> None:
    """Gradients of one step in training mode, from a loss that sees every output. The same draws at every call."""
    model.train()
    for module in model.modules():
        if any(part in type(module).__name__.lower() for part in RANDOM_IN_TRAINING):
            module.eval()
    torch.manual_seed(0)
    np.random.seed(0)
    generator = torch.Generator().manual_seed(0)
    outputs = [t for t in numbers(model(*inputs)) if t.requires_grad]
    # random weights, since the mean of a softmax or of a normalised output is constant
    sum((t * torch.randn(t.shape, generator=generator)).mean() for t in outputs).backward()  # type: ignore[union-attr]


@torch.no_grad()
def _moves(aggconv: AggConv) -> bool:
    """A step against the sign of each gradient, so that a small gradient moves its weight too."""
    for weight in aggconv.weights:
        if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any():
            return False
        weight.sub_(STEP_SIZE * weight.grad.sign())
    return True


def lower(state: Walk) -> None:
    """Of one random candidate per site: the class, the keys, and the answers of the supernet with it alone."""
    supernet = state.supernet
    genotype = dashfx.Supernet.genotype(supernet, "random")
    drop_residuals(supernet)
    for name, aggconv in sites_of(supernet).items():
        aggconv.fix(aggconv.candidates.index(genotype[name]))
    state.plain = dashfx.lower(supernet, genotype).eval()
    if type(state.plain) is not type(state.model):
        raise Missed(f"the class is {type(state.plain).__name__}")
    own, given = list(state.plain.state_dict()), list(state.model.state_dict())
    if own != given:
        raise Missed(f"the keys differ: {', '.join(sorted(set(own) ^ set(given))[:3]) or 'their order'}")
    _agree(state, "the lowered model", supernet, state.plain)


def export(state: Walk) -> None:
    """ONNX Runtime gives PyTorch's answers; raised by `dashfx.export` where not.

    Other sizes than the example's are left out: they double the time, which export takes most of as it is. Of a refused
    model, facts tell whether the untouched one is refused too.
    """
    try:
        report = _exported(state.plain, state.inputs)
    except DashfxError:
        try:
            _exported(state.model, state.inputs)
        except DashfxError:
            state.facts["untouched"] = "refused"
        raise
    free = {axis for axes in report.dynamic_axes.values() for axis in axes}
    state.facts["export"] = f"{report.exporter}, {'free batch' if free else 'fixed batch'}"


def _exported(model: nn.Module, inputs: Inputs) -> ExportReport:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # so that errors name no such folder
        return dashfx.export(model, inputs, "model.onnx", dynamic_size=False)


STEPS: Mapping[str, Callable[[Walk], None]] = {
    "trace": trace,
    "grow": grow,
    "train": train,
    "lower": lower,
    "export": export,
}


def _one_hot(aggconv: AggConv, index: int) -> Tensor:
    coef = torch.zeros_like(aggconv.alpha)
    coef[index] = 1
    return coef.detach()


def _agree(state: Walk, what: str, expected: nn.Module, actual: nn.Module) -> None:
    """Raise Missed where answers differ. Rounding grows through the layers, so where float32 misses float64 says.

    Facts then hold by how much float32 missed, and by how much the expected answers are off in float32 themselves.
    """
    wanted = answers(expected, state.inputs)
    error = _difference(wanted, answers(actual, state.inputs))
    if error <= TOLERANCE:
        return
    try:
        inputs = tuple(x.double() if x.is_floating_point() else x for x in state.inputs)
        true = answers(_in_double(expected), inputs)
        exact = _difference(true, answers(_in_double(actual), inputs))
    except Exception as failed:  # code of the model's own that wants float32
        raise Missed(f"{what}: off by {error:.1e} in float32; no float64 ({first_line(failed, 60)})") from failed
    finally:
        expected.float(), actual.float()
    if not exact <= EXACT:
        raise Missed(f"{what}: off by {error:.1e} in float32, {exact:.1e} in float64")
    state.facts |= {"rounding": error, "own_rounding": _difference(true, wanted)}


def _in_double(model: nn.Module) -> nn.Module:
    for aggconv in sites_of(model).values():
        aggconv.given = None if aggconv.given is None else aggconv.given.double()
    return model.double()


def _difference(expected: list[Tensor], actual: list[Tensor]) -> float:
    """The largest difference over the largest value, of the worst output."""
    return max((_relative(a, b) for a, b in zip(expected, actual, strict=True)), default=0.0)


def _relative(expected: Tensor, actual: Tensor) -> float:
    if expected.shape != actual.shape:
        raise Missed(f"shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    if not expected.numel():
        return 0.0
    difference = (actual - expected).abs().max() / expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float(difference.nan_to_num(nan=torch.inf))
