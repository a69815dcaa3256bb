"""Transfer of a genotype to a network of the same blocks in other numbers, by groups of repeated blocks.

Zoph, Vasudevan, Shlens and Le, "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018: a cell
is searched in a small network and repeated in a large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dashfx.errors import GenotypeError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.site import Site


def transfer(genotype: Genotype, model: nn.Module, example_input: Any) -> Genotype:
    """`retrain.transfer`: the choices of a genotype for another model, such as a deeper one of the same class.

    1. A site of the same name has the same choice.
    2. Sites whose names differ in whole numbers between dots are of one group ("layer1.0.conv1", "layer1.7.conv1"): of
       those of the genotype the one with the nearest numbers counts, the first ones before the later ones, and of
       equally near ones the earlier.
    3. A site of no such group keeps its own kernel.

    Raises:
        GenotypeError: no site of the model is of a group of the genotype.
    """
    return transferred(genotype, trace(model, example_input).sites)


def transferred(genotype: Genotype, sites: Mapping[str, Site]) -> Genotype:
    """The same for sites that are known."""
    found = matches(list(sites), list(genotype))
    choices = {name: genotype[found[name]] if name in found else site.original for name, site in sites.items()}
    return Genotype({name: choice.for_ndim(sites[name].ndim) for name, choice in choices.items()}, genotype.rule)


def matches(wanted: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Name -> the known one that it takes after; names of no known group are left out.

    >>> matches(["stem", "layer1.0.conv", "layer1.2.conv", "head"], ["stem", "layer1.0.conv", "layer1.1.conv"])
    {'stem': 'stem', 'layer1.0.conv': 'layer1.0.conv', 'layer1.2.conv': 'layer1.1.conv'}

    Raises:
        GenotypeError: there is none at all.
    """
    groups: dict[str, list[str]] = {}
    for name in known:
        groups.setdefault(_group(name), []).append(name)
    found = {
        name: min(groups[_group(name)], key=lambda other: _apart(name, other))
        for name in wanted
        if _group(name) in groups
    }
    if not found:
        raise GenotypeError(
            f"a genotype of {', '.join(known[:3])} fits none of the model's convs ({', '.join(wanted[:3])}): names "
            "have to agree but for the numbers of blocks"
        )
    return found


def _group(name: str) -> str:
    return ".".join("*" if part.isdecimal() else part for part in name.split("."))


def _apart(name: str, other: str) -> tuple[int, ...]:
    """How far the numbers of two names of a group lie from each other, the outermost first."""
    pairs = zip(name.split("."), other.split("."), strict=True)
    return tuple(abs(int(a) - int(b)) for a, b in pairs if a.isdecimal())
