"""Finder of morphisms: at every conv of a network, the enlargements that could be made next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.tracing import Program
from dashfx.options.base import Decision
from dashfx.options.morph import Morph
from dashfx.passes.channels import blocks, follow
from dashfx.passes.morphisms.branch import Branch
from dashfx.passes.morphisms.deepen import Deepen
from dashfx.passes.morphisms.enlarge import Enlarge
from dashfx.passes.morphisms.named import MORPHISMS, morph_of
from dashfx.passes.morphisms.widen import Widen
from dashfx.site import Site, Skip

WIDER = (1.5, 2.0)  # times the channels that there are
STAY = "stay"  # what the untouched network has everywhere


@dataclass(frozen=True)
class MorphFinder:
    """The next enlargements: a decision for each conv and each kind of morphism.

    Convs get half as many channels again or twice as many, another conv behind them, two taps more an axis, or two
    branches of either kind. A pass may still refuse what is proposed, where user's code does not go along.

    Args:
        kinds: of morphisms, by name.
    """

    kinds: Sequence[str] = tuple(MORPHISMS)
    kind: ClassVar[str] = Morph.kind

    def decisions(self, program: Program) -> tuple[list[Decision[Any]], list[Skip]]:
        """The decisions, named "conv1:widen", and the convs without one of a kind, with the reason."""
        found, skips = list[Decision[Any]](), list[Skip]()
        for kind in self.kinds:
            for name, options in getattr(self, f"_{kind}")(program).items():
                if isinstance(options, str):
                    skips.append(Skip(f"{name}:{kind}", options))
                else:
                    steps = tuple(dict.fromkeys(morph_of(step) for step in options))
                    found.append(Decision(f"{name}:{kind}", steps, Morph(STAY, name)))
        return found, skips

    def _widen(self, program: Program) -> dict[str, Any]:
        channels, found = follow(program), dict[str, Any]()
        for name, module in program.model.named_modules():
            axis = channels.outputs.get(name)
            if not isinstance(module, _ConvNd):
                continue
            if axis is None:
                found[name] = "its channels are those of another conv, or cannot be followed"
            elif why := axis.segments[0].root.why:
                found[name] = why[0]
            else:
                group = axis.segments[0].root
                unit = blocks(program, channels, group)
                sizes = sorted({max(1, round(times * group.size / unit)) * unit for times in WIDER} - {group.size})
                found[name] = [Widen(name, size) for size in sizes]
        return found

    def _deepen(self, program: Program) -> dict[str, Any]:
        return {name: [Deepen(name)] for name in program.sites}

    def _enlarge(self, program: Program) -> dict[str, Any]:
        return {name: [_larger(name, site)] for name, site in program.sites.items()}

    def _branch(self, program: Program) -> dict[str, Any]:
        return {name: [Branch(name), Branch(name, merge="cat")] for name in program.sites}


def _larger(name: str, site: Site) -> Enlarge:
    """Two taps more along each axis that has some, at the dilation that it has."""
    kernel = tuple(k + 2 if k > 1 else 1 for k in site.original.kernel)
    if len(set(kernel)) == len(set(site.original.dilation)) == 1:
        return Enlarge(name, kernel[0], site.original.dilation[0])
    return Enlarge(name, kernel, site.original.dilation)
