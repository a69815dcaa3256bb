"""Canonical form: padding as numbers, weights without weight-norm, causality as a fact."""

from __future__ import annotations

from dataclasses import replace

from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.weight_norm import remove_weight_norm

from dashfx.frontend.convs import read_padding, read_weight_norm, weight_norm_keys, write_padding
from dashfx.frontend.custom_forward import without_norm
from dashfx.frontend.recording import is_searchable
from dashfx.frontend.tracing import Program
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.passes.causal import causal_evidence


class Canonicalise(AbstractPass):
    """Bring every site into the form that the later passes read.

    1. `padding="same"` and `"valid"` become numbers on each side.
    2. Weight-norm of either kind is folded into `weight`; the site remembers it, `graph_module.meta["key_map"]` maps
       the new key to the old two, and lowering puts it back.
    3. A 1-D conv whose input is padded on the left by its extent, or whose output loses as many last samples as the
       conv pads, at every call, is causal: its site says so, and its candidates will grow to the left only.

    Left alone: skips, convs in opaque modules as far as rule 3 goes (the graph does not show their surroundings), and
    modules that an earlier rewrite has made searchable. Rule 1 leaves convs with a forward of their own or an adapter
    alone, since padding is theirs to compute, and rule 2 those with an adapter.
    """

    preserves = "values"

    def call(self, program: Program) -> PassResult:
        program.graph_module.meta.setdefault("key_map", {})
        edits: list[Edit] = []
        for name in program.sites:
            conv = program.model.get_submodule(name)
            if isinstance(conv, _ConvNd) and _is_plain(program, name):
                edits += _number_padding(name, conv)
            if isinstance(conv, _ConvNd) and not program.sites[name].adapted:
                edits += _fold(program, name, conv)
            if not is_searchable(conv):
                edits += _mark_causal(program, name)
        return self.result(program, edits)

    def ensures(self, program: Program) -> None:
        for name in program.sites:
            conv = program.model.get_submodule(name)
            if (
                isinstance(conv, _ConvNd)
                and _is_plain(program, name)
                and (isinstance(conv.padding, str) or read_weight_norm(conv))
            ):
                raise self.fail(f"site {name!r} still has string padding or weight-norm")


def _is_plain(program: Program, name: str) -> bool:
    site = program.sites[name]
    return not site.hosting and not site.adapted


def _number_padding(name: str, conv: _ConvNd) -> list[Edit]:
    if not isinstance(conv.padding, str):
        return []
    said, numbers = conv.padding, read_padding(conv)
    write_padding(conv, numbers, conv.padding_mode)
    return [Edit(name, f"padding {said!r} is {numbers}")]


def _fold(program: Program, name: str, conv: _ConvNd) -> list[Edit]:
    norm = read_weight_norm(conv)
    if norm is None:
        return []
    if norm.kind == "parametrization":
        # Torch's own removal deletes `weight` from a class that copies of the model share.
        program.replace(name, without_norm(conv, norm))
    else:
        remove_weight_norm(conv)
    keys = [f"{name}.{key}" for key in weight_norm_keys(norm)]
    program.graph_module.meta["key_map"][f"{name}.weight"] = tuple(keys)
    return [Edit(name, f"weight-norm ({norm.kind}) folded: {' and '.join(keys)} are {name}.weight")]


def _mark_causal(program: Program, name: str) -> list[Edit]:
    site = program.sites[name]
    evidence = None if site.causal else causal_evidence(program, site)
    if evidence is None:
        return []
    hosting = replace(site.hosting, causal=True) if site.hosting else None
    program.sites[name] = replace(site, causal=True, hosting=hosting)
    return [Edit(name, f"causal ({evidence})")]
