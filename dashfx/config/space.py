"""Options of the search space: kernels and dilations, for all convs or for some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator

from dashfx.config import ceiling
from dashfx.config.base import Strict
from dashfx.space import DENSE, Candidate, SearchSpace, Size, preset_lists


class CandidateConfig(Strict):
    """One candidate, sizes per axis."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    family: str = DENSE


class ChoicesConfig(Strict):
    """Kernel sizes and dilations, every one with every other; ints hold for all axes, lists are per axis.

    Attributes:
        families: each has every kernel size with every dilation, as far as it reads them, see `dashfx.ops.families`;
            of an override those of the space, unless it says others.
        candidates: the choices one by one, instead of the product.
    """

    kernels: tuple[int | tuple[int, ...], ...] | None = None
    dilations: tuple[int | tuple[int, ...], ...] | None = None
    families: tuple[str, ...] | None = None
    candidates: tuple[CandidateConfig, ...] | None = None

    @field_validator("families")
    @classmethod
    def _each_once(cls, families: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if families is not None and not families:
            raise ValueError("no family is named; name some, as dense,skip, or leave the option out for dense")
        twice = next((name for name in families or () if (families or ()).count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is named twice; name each family once")
        return families

    def choices(
        self, kernels: Iterable[Size], dilations: Iterable[Size], families: Iterable[str] = (DENSE,)
    ) -> tuple[Candidate, ...]:
        """The candidates; what is not given is taken from the arguments."""
        if self.candidates is not None:
            return tuple(Candidate(c.kernel, c.dilation, c.family) for c in self.candidates)
        sizes = self.kernels or kernels, self.dilations or dilations
        return SearchSpace.product(*sizes, families=self.families or families).candidates

    def named_families(self) -> set[str]:
        """All that it names."""
        return {*(self.families or ()), *(candidate.family for candidate in self.candidates or ())}


class SpaceConfig(ChoicesConfig):
    """Which kernels and dilations: a preset, lists, or candidates; by default the paper's preset for the dimension.

    Attributes:
        keep_original: add each conv's own kernel and dilation to its choices, so that the untouched model can be
            chosen.
        overrides: other choices for the sites that a glob names.
        include, exclude: globs over site names.
        sites: "all", or "auto" for those that a short probe of the grown model finds worth a search.
        share: for "auto": at most this share of the sites.
        probe: for "auto": batches of the probe.
        ceiling: what a supernet may cost beside its model, see `dashfx.config.ceiling`; "none" for no ceiling.
        ceiling_from: it acts on supernets of more parameters only.
        morph: the network grows by steps of these kinds that leave what it computes as it is: "widen", "deepen",
            "enlarge", "branch"; kernels are not searched then.
        morphs: at most so many steps.
    """

    preset: str | None = None
    keep_original: bool = True
    overrides: dict[str, ChoicesConfig] = Field(default_factory=dict)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    sites: Literal["all", "auto"] = "all"
    share: float = Field(0.5, gt=0, le=1)
    probe: int = Field(30, ge=2)
    ceiling: str = ceiling.DEFAULT
    ceiling_from: int = Field(100_000_000, ge=0)
    morph: tuple[str, ...] = ()
    morphs: int = Field(6, ge=1)

    @field_validator("ceiling")
    @classmethod
    def _readable(cls, text: str) -> str:
        ceiling.read_ceiling(text)
        return text

    def build(self, ndim: int) -> SearchSpace:
        """The space for a model whose convs have `ndim` axes."""
        kernels, dilations = preset_lists(self.preset or ("dash1d" if ndim == 1 else "dash2d"))
        families = self.families or (DENSE,)
        overrides = tuple((glob, choices.choices((3,), (1,), families)) for glob, choices in self.overrides.items())
        return SearchSpace(self.choices(kernels, dilations), overrides, self.keep_original)

    def holding(self, space: SearchSpace) -> SpaceConfig:
        """This configuration with the choices of `space` written out, so that `config.yaml` tells them."""
        overrides = {glob: {"candidates": _listed(choices)} for glob, choices in space.overrides}
        written = {
            "candidates": _listed(space.candidates),
            "overrides": overrides,
            "keep_original": space.keep_original,
        }
        return SpaceConfig.parse({**self.model_dump(exclude={"preset", "kernels", "dilations", "families"}), **written})


def _listed(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    return [candidate.to_dict() for candidate in candidates]
