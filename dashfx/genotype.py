"""The outcome of a search: one candidate per site, as a frozen mapping and as versioned JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dashfx.config.json import parse_json
from dashfx.drawing.html import snippet
from dashfx.drawing.kernels import choices
from dashfx.errors import DashfxError, GenotypeError, first_line
from dashfx.options.base import KINDS, Option, read, written
from dashfx.options.width import Width
from dashfx.space import DENSE, Candidate

VERSION = 1  # of files whose choices are one kernel each, which every dashfx reads
SHARED = 2  # of those with a choice of several kernels
FAMILIES = 3  # of those with a choice of another family than dense
PRECISE = 4  # of those that say which convs are in int8
WIDER = 5  # of those with choices of other kinds than convs
KNOWN = (VERSION, SHARED, FAMILIES, PRECISE, WIDER)
INT8 = 8  # bits of a conv's weights and inputs


@dataclass(frozen=True, eq=False)
class Genotype(Mapping[str, Candidate]):
    """One candidate per site name.

    Args:
        choices: site name -> candidate.
        rule: how it was chosen, such as "argmax"; a note, not part of equality.
        bits: conv -> 8 for one that the int8 file computes in int8; all others stay in float32. The float model is the
            same whatever it says, so it is no part of equality either.
        others: decision -> option, for what is chosen beside the convs' kernels, such as widths; see
            `dashfx.options.base`.

    Raises:
        GenotypeError: another number of bits than 8, or another option that is a conv's or that no file can hold.
    """

    choices: Mapping[str, Candidate] = field(default_factory=dict)
    rule: str = ""
    bits: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("choices", "bits", "others"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for name, option in self.others.items():
            if option.kind == Candidate.kind:
                raise GenotypeError(f"{option} at {name!r} among other options: what a conv becomes stands in 'sites'")
            if option.kind not in KINDS:
                raise GenotypeError(
                    f"{option} at {name!r}: put its kind {option.kind!r} into dashfx.options.base.KINDS"
                )
        for name, bits in self.bits.items():
            if bits != INT8:
                raise GenotypeError(f"{bits!r} bits at {name!r}: a conv is in {INT8} bits, or is left out for float32")

    def __getitem__(self, site: str) -> Candidate:
        return self.choices[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __eq__(self, other: object) -> bool:
        """The same choices; a plain mapping of candidates is equal where there are no others."""
        same = super().__eq__(other)
        return same if same is NotImplemented else same and self.others == getattr(other, "others", {})

    def __hash__(self) -> int:
        return hash((frozenset(self.choices.items()), frozenset(self.others.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        parts = dict(self.choices), self.rule, dict(self.bits), dict(self.others)
        return Genotype, parts  # a mapping proxy cannot be copied

    def _repr_html_(self) -> str:
        """The choices with their taps to scale, for a notebook."""
        return snippet(choices(self, {}))

    def with_bits(self, bits: Mapping[str, int]) -> Genotype:
        """The same kernels in other precisions."""
        return replace(self, bits=bits)

    @property
    def listed(self) -> str:
        """All choices in one line, with what is in int8."""
        bits = {name: f" int{bits}" for name, bits in self.bits.items()}
        kernels = [f"{name} {choice}{bits.get(name, '')}" for name, choice in self.items()]
        return "; ".join([*kernels, *(f"{name} {option}" for name, option in self.others.items())])

    @property
    def widths(self) -> dict[str, Width]:
        """Layer -> how many of its channels stay, among the other options."""
        found = {name: option for name, option in self.others.items() if isinstance(option, Width)}
        return {name.removesuffix(f":{Width.kind}"): width for name, width in found.items()}

    @property
    def is_grown(self) -> bool:
        """Whether there are other options than widths, which make other layers."""
        return len(self.others) > len(self.widths)

    @property
    def version(self) -> int:
        """The least version of a file that can hold it."""
        if self.others:
            return WIDER
        if self.bits:
            return PRECISE
        if any(choice.family != DENSE for choice in self.choices.values()):
            return FAMILIES
        return SHARED if any(len(choice.parts) > 1 for choice in self.choices.values()) else VERSION

    def to_json(self) -> str:
        sites = _lines({name: choice.to_dict() for name, choice in self.choices.items()})
        others = _lines({name: written(option) for name, option in self.others.items()})
        rest = f',\n  "others": {others}' if self.others else ""
        bits = f',\n  "bits": {json.dumps(dict(self.bits))}' if self.bits else ""
        head = f'"dashfx_genotype": {self.version},\n  "rule": {json.dumps(self.rule)}'
        return f'{{\n  {head},\n  "sites": {sites}{bits}{rest}\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """The genotype that `to_json` wrote.

        Raises:
            GenotypeError: not JSON, not a genotype, a version this dashfx does not read, or a broken candidate.
        """
        try:
            facts = parse_json(text)
        except ValueError as error:
            raise GenotypeError(f"not a genotype: {error}") from None
        if not isinstance(facts, dict) or "dashfx_genotype" not in facts:
            raise GenotypeError("not a genotype: the key 'dashfx_genotype' is missing; give a run's genotype.json")
        if facts["dashfx_genotype"] not in KNOWN:
            raise GenotypeError(
                f"genotype version {facts['dashfx_genotype']!r}: this dashfx reads versions "
                f"{', '.join(map(str, KNOWN[:-1]))} and {KNOWN[-1]}; "
                "write it again with the dashfx that made it, or upgrade"
            )
        try:
            choices = {name: Candidate.from_dict(choice) for name, choice in facts["sites"].items()}
            others = {name: read(option) for name, option in facts.get("others", {}).items()}
            return cls(choices, str(facts.get("rule", "")), dict(facts.get("bits", {})), others)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, DashfxError) as error:
            raise GenotypeError(f"broken genotype: {first_line(error)} (in 'sites', 'bits' or 'others')") from None

    @classmethod
    def load(cls, path: str | Path) -> Genotype:
        """Read `path`.

        Raises:
            GenotypeError: the file cannot be read or is no genotype.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise GenotypeError(f"genotype {str(path)!r} cannot be read: {error}") from None
        except GenotypeError as error:
            raise GenotypeError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json(), encoding="utf-8")


def _lines(facts: Mapping[str, Any]) -> str:
    """A JSON object with one entry a line."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items())
    return f"{{\n{lines}\n  }}" if facts else "{}"
