"""The outcome of a search: one candidate per site, as a frozen mapping and as versioned JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from dashfx.config.json import parse_json
from dashfx.drawing.html import snippet
from dashfx.drawing.kernels import choices
from dashfx.errors import DashfxError, GenotypeError, first_line
from dashfx.space import DENSE, Candidate

VERSION = 1  # of files whose choices are one kernel each, which every dashfx reads
SHARED = 2  # of those with a choice of several kernels
FAMILIES = 3  # of those with a choice of another family than dense
PRECISE = 4  # of those that say which convs are in int8
NARROWER = 5  # of those that say how many channels layers keep
KNOWN = (VERSION, SHARED, FAMILIES, PRECISE, NARROWER)
INT8 = 8  # bits of a conv's weights and inputs


@dataclass(frozen=True)
class Width:
    """How many channels a layer keeps, the option of kind `width`.

    Args:
        of: how many it has.
        channels: the places of those that stay, in order.

    Raises:
        GenotypeError: places that are not there, or none.
    """

    of: int
    channels: tuple[int, ...]
    kind: ClassVar[str] = "width"

    def __post_init__(self) -> None:
        numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in (self.of, *self.channels))
        ordered = numbers and list(self.channels) == sorted(set(self.channels))
        if not ordered or not self.channels or not 0 <= self.channels[0] <= self.channels[-1] < self.of:
            raise GenotypeError(
                f"width {self.channels!r} of {self.of!r}: name places from 0 on, in order, at least one"
            )

    def __str__(self) -> str:
        return f"{len(self.channels)} of {self.of} channels"

    def to_dict(self) -> dict[str, Any]:
        return {"of": self.of, "channels": list(self.channels)}

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> Width:
        return Width(facts["of"], tuple(facts["channels"]))

    def features(self) -> Mapping[str, float]:
        """In order of size."""
        return {"log width": math.log(len(self.channels))}


@dataclass(frozen=True, eq=False)
class Genotype(Mapping[str, Candidate]):
    """One candidate per site name.

    Args:
        choices: site name -> candidate.
        rule: how it was chosen, such as "argmax"; a note, not part of equality.
        bits: conv -> 8 for one that the int8 file computes in int8; all others stay in float32. The float model is the
            same whatever it says, so it is no part of equality either.
        widths: layer -> how many of its channels stay, with what else has these channels; a part of equality.

    Raises:
        GenotypeError: another number of bits than 8.
    """

    choices: Mapping[str, Candidate] = field(default_factory=dict)
    rule: str = ""
    bits: Mapping[str, int] = field(default_factory=dict)
    widths: Mapping[str, Width] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))
        object.__setattr__(self, "bits", MappingProxyType(dict(self.bits)))
        object.__setattr__(self, "widths", MappingProxyType(dict(self.widths)))
        for name, bits in self.bits.items():
            if bits != INT8:
                raise GenotypeError(f"{bits!r} bits at {name!r}: a conv is in {INT8} bits, or is left out for float32")

    def __getitem__(self, site: str) -> Candidate:
        return self.choices[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __hash__(self) -> int:
        return hash((frozenset(self.choices.items()), *sorted(self.widths)))

    def __eq__(self, other: object) -> bool:
        widths = other.widths if isinstance(other, Genotype) else {}
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items()) and self.widths == widths

    def __reduce__(self) -> tuple[Any, ...]:
        return Genotype, (
            dict(self.choices),
            self.rule,
            dict(self.bits),
            dict(self.widths),
        )  # a mapping proxy cannot be copied

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
        return "; ".join([*kernels, *(f"{name} {width}" for name, width in self.widths.items())])

    @property
    def version(self) -> int:
        """The least version of a file that can hold it."""
        if self.widths:
            return NARROWER
        if self.bits:
            return PRECISE
        if any(choice.family != DENSE for choice in self.choices.values()):
            return FAMILIES
        return SHARED if any(len(choice.parts) > 1 for choice in self.choices.values()) else VERSION

    def to_json(self) -> str:
        sites = {name: choice.to_dict() for name, choice in self.choices.items()}
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(facts)}" for name, facts in sites.items())
        body = f"{{\n{lines}\n  }}" if sites else "{}"
        bits = f',\n  "bits": {json.dumps(dict(self.bits))}' if self.bits else ""
        widths = {name: width.to_dict() for name, width in self.widths.items()}
        rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(facts)}" for name, facts in widths.items())
        bits += f',\n  "widths": {{\n{rows}\n  }}' if rows else ""
        head = f'"dashfx_genotype": {self.version},\n  "rule": {json.dumps(self.rule)}'
        return f'{{\n  {head},\n  "sites": {body}{bits}\n}}\n'

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
            widths = {name: Width.from_dict(width) for name, width in facts.get("widths", {}).items()}
            return cls(choices, str(facts.get("rule", "")), dict(facts.get("bits", {})), widths)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, DashfxError) as error:
            raise GenotypeError(f"broken genotype: {first_line(error)} in 'sites', 'bits' or 'widths'") from None

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
