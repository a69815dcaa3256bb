"""What tracing found: a Site is a conv that can be searched, a Skip is one that is left alone, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashfx.space import Candidate, Padding, candidate_padding


@dataclass(frozen=True)
class WeightNorm:
    """The weight normalisation that a conv carried before it was folded, so that lowering can put it back."""

    kind: str  # "hook" (torch.nn.utils.weight_norm) or "parametrization" (torch.nn.utils.parametrizations)
    dim: int


# How the padding that a forward of its own reads from `padding` follows the growth D of the extent, per axis.
PADDING_RULES = (
    "contract",  # floor(D/2) left and ceil(D/2) right, all left where causal: the forward pads by `padding`
    "own",  # not at all: the forward pads by its kernel
    "chomp",  # D on both sides: the forward drops on the right as much as it pads
)


@dataclass(frozen=True)
class Hosting:
    """How a conv with a forward of its own takes another kernel: by its settings and the shape of its weight.

    Attributes:
        rule: one of PADDING_RULES.
        padding: what stands in the conv's `padding`, as numbers.
        weight: path of the parameter that the kernel is computed from.
        lopsided: any padding can be written, also one that differs between the sides or crops.
        direct: the forward is one functional conv of its input: kernels can be mixed instead of results.
    """

    rule: str
    padding: Padding
    weight: str
    lopsided: bool = True
    direct: bool = False
    causal: bool = False

    def padding_of(self, original: Candidate, candidate: Candidate) -> Padding:
        """What to write into the conv's padding for `candidate`."""
        if self.rule == "own":
            return self.padding
        if self.rule == "contract":
            return candidate_padding(self.padding, original, candidate, self.causal)
        growth = [new - old for new, old in zip(candidate.extent, original.extent, strict=True)]
        return tuple((left + D, right + D) for (left, right), D in zip(self.padding, growth, strict=True))

    def misfit(self, original: Candidate, candidate: Candidate) -> str | None:
        """Why the conv cannot take `candidate`, or None."""
        padding = self.padding_of(original, candidate)
        if self.rule == "contract" and not self.lopsided and any(a != b or a < 0 for a, b in padding):
            return f"its forward cannot pad by {padding}"
        if self.rule == "chomp" and any(0 in sides for sides in padding):
            return "its forward would drop everything"
        return None


@dataclass(frozen=True)
class Site:
    """A conv that can be searched, named by its module target; a conv called twice is one site.

    Attributes:
        padding: zeros (or mode values) on each side, (left, right) per axis, as numbers.
        input_sizes: the distinct spatial sizes seen on the example, one tuple per distinct size.
        calls: how often one forward pass runs the conv.
        aliases: further names of the same module.
        causal: the surroundings pad or chomp so that no output sees a later input; all growth goes left.
        hosting: for a conv that is searched inside a forward of its own; `padding` is then what that forward pads in
            all, at the smallest input seen.
        adapted: an adapter says how the conv equals a plain one, see `dashfx.register_conv`.
        frozen: which of "weight" and "bias" the user does not train. A search trains every candidate's weight;
            lowering puts the flag back.
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
    hosting: Hosting | None = None
    adapted: bool = False
    frozen: tuple[str, ...] = ()

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


def frozen_note(sites: Iterable[Site]) -> str:
    """What a search does to convs whose weights the user does not train; empty where all are trained."""
    frozen = [site.name for site in sites if "weight" in site.frozen]
    if not frozen:
        return ""
    some = ", ".join(frozen[:3]) + (f" and {len(frozen) - 3} more" if len(frozen) > 3 else "")
    return f"frozen convs are trained by the search and frozen again after it, unless --exclude names them: {some}"
