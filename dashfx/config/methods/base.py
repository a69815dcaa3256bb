"""Method, the fact: options of a run under one name, with the paper that they come from and what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Method:
    """A named combination of options.

    Attributes:
        line: what it does, in a sentence.
        options: block -> option -> value, as in a configuration; all else stays as it is.
        needs: what it asks of model, data or machine that plain training does not; "" for nothing.
        ours: in what it is not the paper's; "" where it is.
    """

    line: str
    options: Mapping[str, Mapping[str, Any]]
    paper: str = ""
    needs: str = ""
    ours: str = ""

    def to_yaml(self) -> str:
        """The lines to put into a configuration in its place."""
        blocks = {name: dict(block) for name, block in self.options.items()}
        return str(yaml.safe_dump(blocks, sort_keys=False))
