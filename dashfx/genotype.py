"""The outcome of a search: one candidate per site, as a frozen mapping and as versioned JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dashfx.config.json import parse_json
from dashfx.drawing.html import snippet
from dashfx.drawing.kernels import choices
from dashfx.errors import DashfxError, GenotypeError, first_line
from dashfx.space import DENSE, Candidate

VERSION = 1  # of files whose choices are one kernel each, which every dashfx reads
SHARED = 2  # of those with a choice of several kernels
FAMILIES = 3  # of those with a choice of another family than dense
KNOWN = (VERSION, SHARED, FAMILIES)


@dataclass(frozen=True, eq=False)
class Genotype(Mapping[str, Candidate]):
    """One candidate per site name.

    Args:
        choices: site name -> candidate.
        rule: how it was chosen, such as "argmax"; a note, not part of equality.
    """

    choices: Mapping[str, Candidate] = field(default_factory=dict)
    rule: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def __getitem__(self, site: str) -> Candidate:
        return self.choices[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __hash__(self) -> int:
        return hash(frozenset(self.choices.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Genotype, (dict(self.choices), self.rule)  # a mapping proxy cannot be copied

    def _repr_html_(self) -> str:
        """The choices with their taps to scale, for a notebook."""
        return snippet(choices(self, {}))

    def to_json(self) -> str:
        sites = {name: choice.to_dict() for name, choice in self.choices.items()}
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(facts)}" for name, facts in sites.items())
        body = f"{{\n{lines}\n  }}" if sites else "{}"
        version = SHARED if any(len(choice.parts) > 1 for choice in self.choices.values()) else VERSION
        version = FAMILIES if any(choice.family != DENSE for choice in self.choices.values()) else version
        return f'{{\n  "dashfx_genotype": {version},\n  "rule": {json.dumps(self.rule)},\n  "sites": {body}\n}}\n'

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
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, DashfxError) as error:
            raise GenotypeError(f"broken genotype: {first_line(error)} in 'sites'") from None
        return cls(choices, str(facts.get("rule", "")))

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
