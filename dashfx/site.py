"""What tracing found: a Site is a conv that can be searched, a Skip is one that is left alone, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from dashfx.space import Candidate, Padding, candidate_padding


@dataclass(frozen=True)
class WeightNorm:
    """The weight normalisation that a conv carried before it was folded, so that lowering can put it back."""

    kind: str  # "hook" (torch.nn.utils.weight_norm) or "parametrization" (torch.nn.utils.parametrizations)
    dim: int


@dataclass(frozen=True)
class Site:
    """A conv that can be searched, named by its module target; a conv called twice is one site.

    Attributes:
        padding: zeros (or mode values) on each side, (left, right) per axis, as numbers.
        input_sizes: the distinct spatial sizes seen on the example, one tuple per distinct size.
        calls: how often one forward pass runs the conv.
        aliases: further names of the same module.
        causal: the surroundings pad or chomp so that no output sees a later input; all growth goes left.
    """

    name: str
    in_channels: int
    out_channels: int
    original: Candidate
    stride: tuple[int, ...]
    padding: Padding
    groups: int
    bias: bool
    padding_mode: str
    input_sizes: tuple[tuple[int, ...], ...]
    calls: int = 1
    aliases: tuple[str, ...] = ()
    causal: bool = False
    weight_norm: WeightNorm | None = None

    @property
    def ndim(self) -> int:
        return self.original.ndim

    @property
    def input_size(self) -> tuple[int, ...]:
        """The smallest input seen, per axis: what fits it fits every call."""
        return tuple(map(min, zip(*self.input_sizes, strict=True)))

    def output_size(self, input_size: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial output size; the same for every candidate, by the shape contract."""
        return tuple(
            (n + left + right - e - 1) // s + 1
            for n, (left, right), e, s in zip(input_size, self.padding, self.original.extent, self.stride, strict=True)
        )

    def padding_of(self, candidate: Candidate) -> Padding:
        return candidate_padding(self.padding, self.original, candidate, self.causal)


@dataclass(frozen=True)
class Skip:
    """A conv that stays as it is, with the reason in words that a user can act on."""

    name: str
    reason: str
