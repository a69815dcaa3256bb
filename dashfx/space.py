"""What may be chosen for a conv: candidates (kernel, dilation), several in one, spaces, and the padding each needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import product as cartesian
from typing import Any, ClassVar, Literal

from dashfx.errors import SpaceError, did_you_mean

Size = int | Sequence[int]
Padding = tuple[tuple[int, int], ...]  # (left, right) per spatial axis; negative means crop


DENSE, NESTED, BESIDE = "dense", "nested", "beside"
# Of the families that do not read both a kernel size and a dilation, which they read: the other stays 1. What a family
# computes is the matter of `dashfx.ops.families`.
READ: Mapping[str, tuple[str, ...]] = {"skip": (), "zero": (), "pool": ("kernel",)}


def _axes(value: Size, what: str) -> tuple[int, ...]:
    axes = tuple(value) if isinstance(value, Iterable) else (value,)
    if not axes or any(not isinstance(v, int) or isinstance(v, bool) or v < 1 for v in axes):
        raise SpaceError(f"{what} {value!r}: sizes are whole numbers of at least 1, one or one per axis")
    return axes


@dataclass(frozen=True)
class Candidate:
    """One choice for a conv: a kernel size and a dilation per spatial axis, and the family of operations.

    An int (a single axis) holds for every axis once the candidate is bound to a site, see `for_ndim`.

    Args:
        family: what is computed with them: "dense" is the conv as it is, others stand in `dashfx.ops.families`. Sizes
            that a family does not read, such as those of a skip, become 1.

    Raises:
        SpaceError: a size below 1, kernel and dilation with different numbers of axes, or no text for a family.
    """

    kind: ClassVar[str] = "conv"  # of option, see `dashfx.options.base`
    kernel: tuple[int, ...]
    dilation: tuple[int, ...] = (1,)
    family: str = field(default=DENSE, repr=False)  # tables of earlier runs are kept by what a dense one's repr is

    def __init__(self, kernel: Size, dilation: Size = 1, family: str = DENSE) -> None:
        k, d = _axes(kernel, "kernel"), _axes(dilation, "dilation")
        ndim = max(len(k), len(d))
        if len(k) not in (1, ndim) or len(d) not in (1, ndim):
            raise SpaceError(f"kernel {k} and dilation {d} have different numbers of axes")
        if not isinstance(family, str) or not family:
            raise SpaceError(f"family {family!r}: it is a name, such as dense, separable or skip")
        read = READ.get(family, ("kernel", "dilation"))
        k, d = k if "kernel" in read else (1,), d if "dilation" in read else (1,)
        object.__setattr__(self, "kernel", k * ndim if len(k) == 1 else k)
        object.__setattr__(self, "dilation", d * ndim if len(d) == 1 else d)
        object.__setattr__(self, "family", family)

    @property
    def ndim(self) -> int:
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """e = d (k - 1) per axis: how far the last tap lies from the first."""
        return tuple(d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def span(self) -> tuple[int, ...]:
        """The effective size d (k - 1) + 1 per axis."""
        return tuple(e + 1 for e in self.extent)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    def is_within(self, other: Candidate) -> bool:
        """Whether the other can compute all that it can: learned kernels of one family, and all of its taps.

        Both are aligned as in `candidate_padding`, causal or not.
        """
        alike = len(self.parts) == len(other.parts) == 1 and self.ndim == other.ndim and self.family == other.family
        if self == other or not alike or self.family in READ:
            return self == other
        axes = zip(self.kernel, self.dilation, self.extent, other.dilation, other.extent, strict=True)
        return all(_taps_within(*axis) for axis in axes)

    def for_ndim(self, ndim: int) -> Candidate:
        """The same choice with `ndim` axes; a single axis is repeated.

        Raises:
            SpaceError: the candidate has another number of axes, and more than one.
        """
        if self.ndim == ndim:
            return self
        if self.ndim != 1:
            raise SpaceError(f"candidate {self} has {self.ndim} axes, the conv has {ndim}")
        return Candidate(self.kernel * ndim, self.dilation * ndim, self.family)

    @property
    def parts(self) -> tuple[Candidate, ...]:
        """The kernels that it is made of."""
        return (self,)

    def shares(self, out_channels: int, groups: int = 1) -> tuple[tuple[Candidate, int], ...]:
        """Each of its kernels with the number of output channels that it gives.

        Raises:
            SpaceError: there are fewer channels, or groups, than kernels to share them.
        """
        return ((self, out_channels),)

    def features(self) -> dict[str, float]:
        """The logarithms of its taps, its dilation and its span; the two latter are means over the axes."""
        dilation, span = (sum(map(math.log, sizes)) / self.ndim for sizes in (self.dilation, self.span))
        return {"taps": math.log(max(1, self.taps)), "dilation": dilation, "span": span}

    def to_dict(self) -> dict[str, Any]:
        family = {} if self.family == DENSE else {"family": self.family}
        return {"kernel": list(self.kernel), "dilation": list(self.dilation), **family}

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> Candidate:
        if "parts" in facts:
            return Shared(map(Candidate.from_dict, facts["parts"]), facts["how"])
        return Candidate(facts["kernel"], facts["dilation"], facts.get("family", DENSE))

    def __str__(self) -> str:
        if self.family == DENSE:
            return f"k{axis_text(self.kernel)} d{axis_text(self.dilation)}"
        sizes = {"kernel": f"k{axis_text(self.kernel)}", "dilation": f"d{axis_text(self.dilation)}"}
        return " ".join([self.family, *(sizes[name] for name in READ.get(self.family, sizes))])


def _taps_within(kernel: int, dilation: int, extent: int, step: int, wide: int) -> bool:
    """Whether all taps of one axis are among those of a larger extent that are `step` apart."""
    before = wide - extent
    starts = before // 2, before  # the first tap behind the other's first one: centred, and causal
    return before >= 0 and all((start + dilation * tap) % step == 0 for start in starts for tap in range(kernel))


@dataclass(frozen=True)
class Shared(Candidate):
    """Several kernels in the place of one conv's: they share its output channels, or their outputs are added up.

    `kernel` and `dilation` are those of the part of the largest span. No mixture holds such a choice, only a genotype.

    Args:
        parts: two or more, each another one.
        how: "channels" gives each part an equal share of the output channels, the first ones one more where that does
            not come out even (MixConv, Tan and Le, BMVC 2019), and of a grouped conv so many groups with the input
            channels that they read; "sum" adds the outputs of all parts.

    Raises:
        SpaceError: fewer than two parts, equal ones, one that is shared itself, or another word for how.
    """

    parts: tuple[Candidate, ...] = ()
    how: Literal["channels", "sum"] = "channels"

    def __init__(self, parts: Iterable[Candidate], how: Literal["channels", "sum"] = "channels") -> None:
        found = tuple(parts)
        ndim = max((part.ndim for part in found), default=1)
        found = tuple(part.for_ndim(ndim) for part in found)
        if len(set(found)) < max(2, len(found)) or any(len(p.parts) > 1 or p.family != DENSE for p in found):
            raise SpaceError(f"a shared choice of {list(map(str, found))}: give two or more kernels, all different")
        if how not in ("channels", "sum"):
            raise SpaceError(f"a shared choice by {how!r}: parts share the 'channels', or their 'sum' is taken")
        widest = max(found, key=lambda part: (max(part.span), part.span, part.taps))
        super().__init__(widest.kernel, widest.dilation)
        object.__setattr__(self, "parts", found)
        object.__setattr__(self, "how", how)

    @property
    def taps(self) -> int:
        """The taps per pair of channels: of a sum all of them, else the mean over the parts, rounded."""
        every = sum(part.taps for part in self.parts)
        return every if self.how == "sum" else round(every / len(self.parts))

    def for_ndim(self, ndim: int) -> Candidate:
        return Shared((part.for_ndim(ndim) for part in self.parts), self.how)

    def shares(self, out_channels: int, groups: int = 1) -> tuple[tuple[Candidate, int], ...]:
        if self.how == "sum":
            return tuple((part, out_channels) for part in self.parts)
        units, n = groups if groups > 1 else out_channels, len(self.parts)
        if units < n:
            raise SpaceError(
                f"{self}: {n} kernels cannot share {units} {'groups' if groups > 1 else 'output channels'}; "
                "choose one kernel there, or fewer parts"
            )
        each = out_channels // units  # output channels of a group
        return tuple((part, each * (units // n + (i < units % n))) for i, part in enumerate(self.parts))

    def to_dict(self) -> dict[str, Any]:
        return {"parts": [part.to_dict() for part in self.parts], "how": self.how}

    def __str__(self) -> str:
        if self.how == "sum":
            return " + ".join(map(str, self.parts))
        return f"{' | '.join(map(str, self.parts))} by channels"


def size_text(axes: Iterable[int]) -> str:
    """How a shape is written wherever a user reads one.

    >>> size_text((3, 32, 32)), size_text(())
    ('3x32x32', 'scalar')
    """
    return "x".join(map(str, axes)) or "scalar"


def axis_text(axes: tuple[int, ...]) -> str:
    """One number where all axes have the same, else one for each."""
    return str(axes[0]) if len(set(axes)) == 1 else size_text(axes)


def candidate_padding(padding: Padding, original: Candidate, candidate: Candidate, causal: bool = False) -> Padding:
    """The shape contract: padding of `candidate` in place of `original`, per axis (left, right), negative = crop.

    With D = e' - e the padding becomes left + floor(D/2), right + ceil(D/2); for a causal conv all of D goes left. Then
    the output size is the same for every input size and stride, and candidates stay centre-aligned.
    """
    growth = [new - old for new, old in zip(candidate.extent, original.extent, strict=True)]
    if causal:
        return tuple((left + D, right) for (left, right), D in zip(padding, growth, strict=True))
    return tuple((left + D // 2, right + D - D // 2) for (left, right), D in zip(padding, growth, strict=True))


def literal(name: str) -> str:
    """A glob that matches `name` only."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def check_mixable(choice: Candidate) -> None:
    """Whether a mixture can hold the choice.

    Raises:
        SpaceError: it consists of several kernels.
    """
    if len(choice.parts) > 1:
        raise SpaceError(
            f"{choice}: several kernels at once stand in genotypes only, no mixture holds them; put the parts into the "
            "space one by one"
        )


@dataclass(frozen=True)
class SearchSpace:
    """The candidates of every site, with other candidates for the sites that a glob names.

    Args:
        candidates: the default choices.
        overrides: (glob over site names, choices) pairs; the last glob that matches wins.
        keep_original: add each conv's own kernel and dilation to its choices.

    Raises:
        SpaceError: no candidates.
    """

    candidates: tuple[Candidate, ...]
    overrides: tuple[tuple[str, tuple[Candidate, ...]], ...] = field(default=())
    keep_original: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("the space", self.candidates), *self.overrides):
            if not choices:
                raise SpaceError(f"{name}: no candidates; give at least one kernel size and one dilation")
            for choice in choices:
                check_mixable(choice)
            families = {choice.family for choice in choices}
            if {DENSE, NESTED} <= families:
                raise SpaceError(
                    f"{name}: nested convs are dense ones that share a kernel; give one of the two families"
                )
            if BESIDE in families and len(families) > 1:
                others = ", ".join(sorted(families - {BESIDE}))
                raise SpaceError(f"{name}: branches beside a conv's own kernel mix with their like only, not {others}")

    @classmethod
    def product(
        cls,
        kernels: Iterable[Size],
        dilations: Iterable[Size] = (1,),
        *,
        families: Iterable[str] = (DENSE,),
        overrides: Mapping[str, Iterable[Candidate]] | None = None,
        keep_original: bool = False,
    ) -> SearchSpace:
        """Every kernel size with every dilation in every family; ints hold for all axes, tuples are per axis."""
        triples = cartesian(list(families), list(kernels), list(dilations))
        special = tuple((glob, tuple(choices)) for glob, choices in (overrides or {}).items())
        return cls(tuple(dict.fromkeys(Candidate(k, d, f) for f, k, d in triples)), special, keep_original)

    @classmethod
    def preset(cls, name: str) -> SearchSpace:
        """`dash2d`, `dash1d` (the paper's K x D for images and for sequences) or `baby`.

        Raises:
            SpaceError: no preset of that name.
        """
        return cls.product(*preset_lists(name))

    def with_original(self) -> SearchSpace:
        return replace(self, keep_original=True)

    def for_site(self, name: str, original: Candidate) -> tuple[Candidate, ...]:
        """The choices of the conv `name`, bound to its number of axes, without repeats, in the order given.

        A size given as an int leaves an axis alone whose original kernel is 1: a (1, 7) conv stays factorised. Among
        nested choices the original is nested too.

        Raises:
            SpaceError: a per-axis candidate with another number of axes than the conv.
        """
        choices = self.candidates
        for glob, special in self.overrides:
            if fnmatchcase(name, glob):
                choices = special
        try:
            bound = [_bind(choice, original) for choice in choices]
        except SpaceError as error:
            raise SpaceError(f"site {name!r}: {error}; add an override for this site or exclude it") from None
        if self.keep_original:
            nested = any(choice.family == NESTED for choice in bound)
            bound.append(Candidate(original.kernel, original.dilation, NESTED) if nested else original)
        return tuple(dict.fromkeys(bound))

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)


PRESETS: dict[str, tuple[list[int], list[int]]] = {
    "dash2d": ([3, 5, 7, 9], [1, 3, 7, 15]),
    "dash2d-small": ([3, 5, 7], [1, 3, 7]),
    "dash1d": ([3, 7, 11, 15, 19], [1, 3, 7, 15]),
    "baby": ([3, 5], [1, 2]),
}


def preset_lists(name: str) -> tuple[list[int], list[int]]:
    """The kernel sizes and the dilations of a preset.

    Raises:
        SpaceError: no preset of that name.
    """
    if name not in PRESETS:
        raise SpaceError(f"no space preset {name!r}{did_you_mean(name, PRESETS)}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _bind(choice: Candidate, original: Candidate) -> Candidate:
    if choice.ndim != 1:
        return choice.for_ndim(original.ndim)
    wide = [k > 1 for k in original.kernel]
    kernel = tuple(choice.kernel[0] if w else 1 for w in wide)
    dilation = tuple(choice.dilation[0] if w else 1 for w in wide)
    return Candidate(kernel, dilation, choice.family)
