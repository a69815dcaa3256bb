"""Growth of a conv's kernel: more taps or wider ones, the new ones zero.

Wei, Wang, Rui and Chen, "Network Morphism", ICML 2016, section 3.4 (kernel size morphing); dilations as well here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dashfx.frontend.convs import read_weight_norm
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.ops.geometry import ConvSpec
from dashfx.passes.base import Edit
from dashfx.passes.canonicalise import Canonicalise
from dashfx.passes.discretise import Discretise
from dashfx.passes.lower import Lower
from dashfx.passes.morphisms.base import Morphism
from dashfx.passes.substitute import Substitute
from dashfx.site import Site
from dashfx.space import Candidate, SearchSpace, Size


@dataclass(frozen=True)
class Enlarge(Morphism):
    """Give the site `at` a larger kernel.

    1. Its taps lie where those of the old one are, and elsewhere: the old weights stay, the others start at zero.
    2. Padding follows the shape contract; of a causal conv all growth goes left.
    3. It is what `rewrite(init="grow")` and `lower` make of the one candidate, by the same passes.

    Refused: a conv that is no site, and a kernel that misses taps of the old one, such as dilation 2 in place of 1.
    """

    kernel: Size
    dilation: Size = 1
    paper: ClassVar[str] = "Wei et al., Network Morphism, ICML 2016"
    row: ClassVar[str] = "52"

    def rewrite(self, program: Program) -> list[Edit]:
        site = self.site(program)
        candidate = Candidate(self.kernel, self.dilation).for_ndim(site.ndim)
        if candidate == site.original:
            return []
        if not covers(site, candidate):
            raise self.fail(f"{self.at!r}: {candidate} misses taps of its {site.original}, whose weights would be lost")
        norm = read_weight_norm(program.model.get_submodule(self.at))
        program.sites.clear()
        program.sites[self.at] = replace(site, weight_norm=norm)  # the others are left alone
        for step in (
            Canonicalise(),
            Substitute(SearchSpace((candidate,)), "grow"),
            Discretise(Genotype({self.at: candidate})),
            Lower(),
        ):
            step(program.graph_module)
        return [Edit(self.at, f"{site.original} becomes {candidate}")]


def covers(site: Site, candidate: Candidate) -> bool:
    """Whether the candidate has all taps of the site's own kernel."""
    paddings = site.padding, site.padding_of(candidate)
    spec = ConvSpec((site.original, candidate), paddings, site.stride)
    return all(set(old) <= set(new) for old, new in zip(spec.offsets(0), spec.offsets(1), strict=True))
