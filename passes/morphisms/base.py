"""Base class of morphisms: a larger network takes the place of the given one where it computes the same."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.errors import did_you_mean, first_line
from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.copies.rebinding import rebind
from dashfx.frontend.custom_forward import HOOKS, has_custom_forward
from dashfx.frontend.inputs import mapped
from dashfx.frontend.recording import is_searchable, tensors_in
from dashfx.frontend.tracing import Program, copy_program, evaluation, no_seed, trace
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.site import Site

DONE = "morphisms"  # in `graph_module.meta`: those that have been made
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}  # of the largest answer; half precision is not checked closely


@dataclass(frozen=True)
class Morphism(AbstractPass):
    """A larger network that computes the same, in eval mode.

    1. The pass works on a copy. It takes the model's place once it has answered the example, and other values of its
       shape, as the model does; a refused morphism leaves the program as it was.
    2. Sites and graph are those of the larger network: what has been added can be searched.
    3. The same morphism a second time does nothing.

    Refused with a PassError: a supernet, what the subclass says, and a model whose own code does not go along, such as
    one that writes a number of channels into a reshape.
    """

    at: str
    preserves = "values"

    @abstractmethod
    def rewrite(self, program: Program) -> list[Edit]:
        """Make the change in `program`, which nobody else holds; PassError with the reason where it cannot be made."""

    def requires(self, program: Program) -> None:
        inside = [name for name, module in program.model.named_modules() if is_searchable(module)]
        if inside:
            raise self.fail(
                f"{inside[0]!r} is a mixture: morphisms work on plain models, before rewriting or after lowering"
            )

    def call(self, program: Program) -> PassResult:
        made: tuple[Morphism, ...] = program.graph_module.meta.get(DONE, ())
        if self in made:
            return self.result(program, ())
        twin = copy_program(program)
        edits = self.rewrite(twin)
        if not edits:
            return self.result(program, ())
        self._check(program, twin)
        grown = trace(twin.model, program.example)
        _take_facts(grown, twin)
        grown.graph_module.meta[DONE] = (*made, self)
        return PassResult(grown.graph_module, tuple(edits), (), self.name)

    def conv(self, program: Program) -> _ConvNd:
        """The conv that it is for, a plain one of torch.nn.

        Raises:
            PassError: there is none of that name, or it is more than that.
        """
        names = {name for name, module in program.model.named_modules() if isinstance(module, _ConvNd)}
        if self.at not in names:
            raise self.fail(f"no conv {self.at!r}{did_you_mean(self.at, names)}")
        conv = program.model.get_submodule(self.at)
        assert isinstance(conv, _ConvNd)
        if conv.transposed or has_custom_forward(conv) or adapter_of(conv) is not None:
            raise self.fail(f"{self.at!r} is a {type(conv).__name__}, not a plain conv of torch.nn")
        return conv

    def site(self, program: Program) -> Site:
        """The site that it is for.

        Raises:
            PassError: there is none of that name.
        """
        if self.at not in program.sites:
            why = next((f": {skip.reason}" for skip in program.skips if skip.name == self.at), "")
            raise self.fail(f"{self.at!r} is no conv that can be searched{why or did_you_mean(self.at, program.sites)}")
        return program.sites[self.at]

    def _check(self, program: Program, twin: Program) -> None:
        second = mapped(program.example, lambda x: 0.9 * x.roll(1, -1) if x.is_floating_point() and x.ndim else x)
        for example in (program.example, second):
            expected, answer = _answers(program, example), self._answers(twin, example)
            for a, b in zip(answer, expected, strict=True):
                if a.shape != b.shape or not _close(a, b):
                    raise self.fail(f"{self.at!r}: the model's own code does not go along, its answers are others")

    def _answers(self, twin: Program, example: Sequence[Any]) -> list[Tensor]:
        try:
            return _answers(twin, example)
        except Exception as error:  # the user's code
            raise self.fail(
                f"{self.at!r}: the model's own code does not go along ({type(error).__name__}: {first_line(error)})"
            ) from None


def _answers(program: Program, example: Sequence[Any]) -> list[Tensor]:
    with evaluation(program.model), no_seed():
        return list(tensors_in(program.model(*example)))


def _close(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return True  # a decision may turn by rounding
    most = TOLERANCE.get(a.dtype, 0.1) * float(b.abs().max().clamp_min(1e-3))
    return bool(torch.allclose(a, b, rtol=0, atol=most, equal_nan=True))


def put(program: Program, name: str, new: nn.Module, hooks: bool = False) -> None:
    """Put `new`, which may hold the old module, in its place under every name; the graph is traced again later.

    Args:
        hooks: whether those of the old module go over to the new one.
    """
    model = program.model
    old = model.get_submodule(name)
    new.train(old.training)
    rebind(model, {id(old): new})
    for kind in HOOKS if hooks else ():
        getattr(new, kind).update(getattr(old, kind))
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new


def _take_facts(program: Program, before: Program) -> None:
    """What earlier passes have found and a new trace cannot see."""
    meta = before.graph_module.meta
    program.graph_module.meta.update(
        {key: value for key, value in meta.items() if key not in program.graph_module.meta}
    )
    for name, site in program.sites.items():
        known = before.sites.get(name)
        if known is not None:
            program.sites[name] = replace(site, causal=known.causal, weight_norm=site.weight_norm or known.weight_norm)
