"""Variants of the benchmark: each is one training, of a network by a recipe for so long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from benchmarks.ucr.networks import Shape, backbone, random_genotype, several, uniform, with_genotype
from benchmarks.ucr.recipes import STUDY, Recipe
from dashfx import Candidate
from dashfx.train.fit import derive_seed

USUAL, ANY = Recipe(), Candidate(1)
Build = Callable[[Shape, int], nn.Module]  # (shape, seed)


@dataclass(frozen=True)
class Variant:
    """One training.

    Attributes:
        build: the network; None where a search on the supernet comes first and says which.
        length: of the training, as a share of E.
        needs: the largest kernel of its own, which must fit into the input.
    """

    name: str
    build: Build | None
    length: float = 1.0
    recipe: Recipe = USUAL
    needs: Candidate = ANY


RUNG = "-rung"  # a training of E / 6, with a schedule of its own
LADDER = {"k7d3": Candidate(7, 3), "k11": Candidate(11), "k19": Candidate(19)}
MULTI = ("ms3", "sum")  # several kernels in each conv, so that there is no choice
SEARCHES = {"dash": {}}  # name -> options of the search


def _all() -> dict[str, Variant]:
    own = partial(backbone)
    full = [
        Variant("untouched", own),
        Variant("untouched-again", lambda shape, seed: backbone(shape, derive_seed(seed, "again"))),
        Variant("wide12", partial(backbone, width=12)),
        Variant("wide16", partial(backbone, width=16)),
        *(Variant(name, partial(uniform, candidate=c), needs=c) for name, c in LADDER.items()),
        Variant("ms3", partial(several, parts=(Candidate(11), Candidate(19)), how="channels"), needs=Candidate(11)),
        Variant("sum", partial(several, parts=(Candidate(7, 3),), how="sum"), needs=Candidate(7, 3)),
    ]
    rungs = [replace(each, name=each.name + RUNG, length=1 / 6) for each in full if each.name in RUNGS]
    others = [
        Variant("untouched-3E", own, 3.0),
        *(Variant(f"random{number}", partial(_random, number=number)) for number in (1, 2)),
        *(Variant(name, None) for name in SEARCHES),
        *(Variant(name, own, recipe=recipe) for name, recipe in STUDY.items()),
    ]
    return {each.name: each for each in (*full, *rungs, *others)}


def _random(shape: Shape, seed: int, number: int) -> nn.Module:
    return with_genotype(shape, seed, random_genotype(shape, derive_seed(seed, "random", number, *shape.size) % 2**31))


RUNGS = ("wide12", *LADDER, *MULTI)
VARIANTS: Mapping[str, Variant] = _all()
