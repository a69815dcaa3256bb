"""Shape types of options: what a choice reads and gives at a site, told by fake tensors before anything is trained.

After Wu, Saxena and Jain, "NeuralArTS: Structuring Neural Architecture Search with Type Theory", 2021: a choice may
stand where its type is that of the conv.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dashfx.errors import SpaceError, first_line
from dashfx.ops.families import conv_of
from dashfx.site import Site
from dashfx.space import DENSE, NESTED, Candidate, size_text

Shape = tuple[int, ...]  # channels and size of one row
ROWS = 2


@dataclass(frozen=True)
class ShapeType:
    """A relation of shapes.

    Attributes:
        pairs: what is given for what is read, for each size that the site saw, channels first; a text says why there
            is nothing.
    """

    pairs: tuple[tuple[Shape, Shape | str], ...]

    def misfit(self, other: ShapeType) -> str | None:
        """Why an operation of this type cannot stand where one of the other type is wanted, or None."""
        for (read, given), (_, wanted) in zip(self.pairs, other.pairs, strict=True):
            if isinstance(given, str):
                return f"it cannot read {size_text(read)} ({given})"
            if given != wanted:
                there = wanted if isinstance(wanted, str) else size_text(wanted)
                return f"it gives {size_text(given)} for {size_text(read)}, the conv gives {there}"
        return None


def type_of_site(site: Site) -> ShapeType:
    """What the conv reads and gives."""
    return ShapeType(
        tuple(((site.in_channels, *n), (site.out_channels, *site.output_size(n))) for n in site.input_sizes)
    )


def type_of(site: Site, candidate: Candidate) -> ShapeType:
    """What the module of a choice reads and gives at a site; nothing is computed.

    Raises:
        SpaceError: it has no module there.
    """
    module = conv_of(site, candidate, torch.device("cpu"), torch.float32)
    return ShapeType(tuple((read, _given(module, read)) for read, _ in type_of_site(site).pairs))


def mismatch(site: Site, candidate: Candidate) -> str | None:
    """Why a choice cannot stand at a site by its shapes, or None; dense ones keep the shape contract by themselves."""
    if site.hosting or site.adapted or {part.family for part in candidate.parts} <= {DENSE, NESTED}:
        return None
    try:
        return type_of(site, candidate).misfit(type_of_site(site))
    except SpaceError as error:
        return first_line(error)


def _given(module: nn.Module, read: Shape) -> Shape | str:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        try:
            output = module(torch.empty(ROWS, *read))
        except Exception as error:  # torch's, or the code of a user's family
            return first_line(error)
    if not isinstance(output, torch.Tensor):
        return f"it gives a {type(output).__name__}"
    rows, *shape = output.shape
    return tuple(map(int, shape)) if rows == ROWS else f"it gives {rows} rows for {ROWS}"
