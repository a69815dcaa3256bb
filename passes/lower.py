"""Lowering: each AggConv with one candidate left becomes a torch.nn conv in the same place under the same keys."""

from __future__ import annotations

import torch

from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.convs import freeze, plain_conv, unfold_weight_norm
from dashfx.frontend.copies.members import carry
from dashfx.frontend.shared import SharedConv, conv_for, parts_in, shares_of
from dashfx.frontend.tracing import Program
from dashfx.ops import AdaptedConv, AggConv, HostedConv
from dashfx.ops.families import conv_of, fill
from dashfx.ops.relaxations import Together
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.site import Site
from dashfx.space import Shared


class Lower(AbstractPass):
    """Leave torch.nn and the user's own classes only.

    1. An AggConv with one candidate becomes nn.Conv1d, 2d or 3d with that kernel size and dilation, the same weight,
       bias, stride and groups, and the padding of the shape contract, or the user's subclass of it, with what the
       user's conv has beyond torch.nn's. One that holds the parts of a shared choice becomes a `SharedConv` of such
       convs, under the keys `parts.0.weight` and so on. A candidate of another family than dense becomes what that
       family has in the place of a conv: a grouped nn.Conv, an nn.Sequential of two with the keys `0.weight`,
       `1.weight` and `1.bias`, an nn.AvgPool or an nn.Identity without keys.
    2. Weight-norm that Canonicalise folded is put back, of the same kind, so that the keys are the user's own.
    3. A conv of the user's own class, searched inside its forward or by an adapter, becomes that class again, with the
       new kernel.
    4. Parameters that the user had frozen are frozen again.
    5. Nothing else changes; only the shapes of searched weights differ from the user's model.

    Requires that every AggConv has one candidate and no residual kernel: Discretise sees to it.
    """

    preserves = "values"

    def requires(self, program: Program) -> None:
        for name, module in program.model.named_modules():
            left = 1 if _choice(module) is None else len(module.candidates)
            if isinstance(module, AggConv) and (len(module.candidates) != left or module.residual is not None):
                raise self.fail(f"site {name!r} still mixes {len(module.candidates)} candidates: run Discretise first")

    def call(self, program: Program) -> PassResult:
        edits = []
        for name, module in list(program.model.named_modules()):
            if isinstance(module, AggConv):
                site = program.sites.pop(name, module.site)
                assert site is not None
                program.replace(name, _conv(site, module))
                edits.append(Edit(name, f"{_choice(module) or module.candidates[0]} as nn.Conv{site.ndim}d"))
        return self.result(program, edits)

    def ensures(self, program: Program) -> None:
        for name, module in program.model.named_modules():
            if isinstance(module, AggConv):
                raise self.fail(f"{name!r} is still an AggConv")


def _conv(site: Site, aggconv: AggConv) -> torch.nn.Module:
    weight = aggconv.plain_weights(0)[0] if aggconv.families[0].exact else None
    if weight is None:
        return _of_family(site, aggconv)
    if isinstance(aggconv, HostedConv):
        hosted = aggconv.lowered(torch.nn.Parameter(weight.detach().clone(), "weight" not in site.frozen))
        if site.weight_norm is not None:
            unfold_weight_norm(hosted, site.weight_norm)
        return hosted
    if (choice := _choice(aggconv)) is not None:
        return _shared(site, aggconv, choice)
    conv = plain_conv(site, aggconv.candidates[0], weight.device, weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(weight)
        if aggconv.bias is not None and conv.bias is not None:
            conv.bias.copy_(aggconv.bias)
    if aggconv.members is not None:
        conv.__class__ = aggconv.members.kind  # type: ignore[assignment]
        carry(aggconv, conv, aggconv.members.attributes)
    if site.weight_norm is not None:
        unfold_weight_norm(conv, site.weight_norm)
    freeze(conv, site.frozen)
    if isinstance(aggconv, AdaptedConv):
        adapter = adapter_of(aggconv.author[0])
        assert adapter is not None
        author = aggconv.author[0]
        built = adapter.from_site(author, conv)
        carry(author, built, tuple(name for name in vars(author) if name not in vars(built)))
        return built
    return conv


def _of_family(site: Site, aggconv: AggConv) -> torch.nn.Module:
    module = conv_of(site, aggconv.candidates[0], aggconv.alpha.device, aggconv.alpha.dtype)
    fill(module, aggconv.plain_weights(0), aggconv.bias)
    for part in parts_in(module):
        if site.weight_norm is not None and part.weight.requires_grad:
            unfold_weight_norm(part, site.weight_norm)
        freeze(part, site.frozen)
    return module


def _choice(module: torch.nn.Module) -> Shared | None:
    """The shared choice whose parts it holds."""
    relaxation = module.relaxation if isinstance(module, AggConv) else None
    return relaxation.choice if isinstance(relaxation, Together) else None


def _shared(site: Site, aggconv: AggConv, choice: Shared) -> SharedConv:
    conv = conv_for(site, choice, aggconv.alpha.device, aggconv.alpha.dtype)
    assert isinstance(conv, SharedConv)
    weights = [aggconv.plain_weights(i)[0] for i in range(len(aggconv.candidates))]
    for part, weight, (_, _, gives) in zip(parts_in(conv), weights, shares_of(site, choice), strict=True):
        with torch.no_grad():
            part.weight.copy_(weight[gives])
            if part.bias is not None and aggconv.bias is not None:
                part.bias.copy_(aggconv.bias[gives])
        if site.weight_norm is not None:
            unfold_weight_norm(part, site.weight_norm)
        freeze(part, site.frozen)
    return conv
