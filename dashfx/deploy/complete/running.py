"""Complete files in ONNX Runtime: raw rows go in, scores come out as tasks take them; and the facts that they carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from dashfx.data.base import Data, Kind
from dashfx.data.form import RawForm
from dashfx.data.raw import raw_data
from dashfx.deploy.complete.after import scores
from dashfx.deploy.runtime import OnnxModel, fact, load_proto
from dashfx.deploy.targets.machine import check_machine

COMPLETE_KEY = "complete"
DONE_KEY = "normalisation_done"  # the normalisation that the graph itself does


@dataclass(frozen=True)
class Facts:
    """What a complete file does beside the model.

    Attributes:
        raw: the form of its rows; None where it takes what the model takes.
        probabilities: whether it gives them instead of scores.
    """

    raw: RawForm | None
    probabilities: bool
    kind: Kind

    def to_json(self) -> str:
        raw = self.raw and self.raw.to_dict()
        return json.dumps({"raw": raw, "probabilities": self.probabilities, "kind": self.kind})

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Facts:
        """Raises a ValueError, KeyError or TypeError for anything that `to_json` has not given."""
        raw, kind = facts["raw"], facts["kind"]
        if type(facts["probabilities"]) is not bool or kind not in get_args(Kind):
            raise ValueError(f"{facts['probabilities']}, {kind}")
        return cls(RawForm.from_dict(raw) if raw is not None else None, facts["probabilities"], kind)


def facts_of(path: Path, metadata: Mapping[str, str]) -> Facts | None:
    """What a file's metadata say of its completeness; None of a plain file.

    Raises:
        ExportError: they are damaged.
    """
    return fact(path, metadata, COMPLETE_KEY, Facts.from_dict)


class CompleteModel(OnnxModel):
    """A file that may be complete, called with the rows that it takes, answering with scores."""

    def __init__(self, path: str | Path) -> None:
        if Path(path).is_file():  # before ONNX Runtime opens a file that was made for other instructions
            check_machine(Path(path), {entry.key: entry.value for entry in load_proto(path).metadata_props})
        super().__init__(path)
        self.facts = facts_of(self.path, self.metadata)

    def _answer(self, outputs: dict[str, Tensor]) -> Tensor:
        """Of a file that gives probabilities these are the first of several."""
        if not (self.facts and self.facts.probabilities):
            return super()._answer(outputs)
        return next(iter(outputs.values()))

    def _rows(self, x: Tensor) -> Tensor:
        answer = super()._rows(x)
        return scores(answer, self.facts.kind) if self.facts and self.facts.probabilities else answer

    def data(self, data: Data) -> Data:
        """The data as the file takes them.

        Raises:
            DataError: it takes raw rows of another form.
        """
        return raw_data(data, self.facts.raw) if self.facts and self.facts.raw else data
