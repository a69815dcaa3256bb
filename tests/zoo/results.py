"""A folder of JSON lines goes in; the last record of every model comes out, and new ones go to its end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Key = tuple[str, str]  # package, name


@dataclass(frozen=True)
class Results:
    """All files `KIND*.jsonl` of a folder; this run writes to one of them."""

    folder: Path
    kind: str  # "survey" or "models"
    writes: str = ""  # added to the name of the file that is written, so that several runs share a folder

    def read(self) -> dict[Key, Record]:
        """The last record of each model."""
        lines = (line for file in sorted(self.folder.glob(f"{self.kind}*.jsonl")) for line in file.open())
        records = (json.loads(line) for line in lines if line.endswith("\n"))  # a run may be writing the last one
        found: dict[Key, Record] = {}
        for record in records:
            key = record["package"], record["name"]
            if key not in found or record["at"] >= found[key]["at"]:
                found[key] = record
        return found

    def append(self, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.kind}{self.writes}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


STEPS = ("trace", "grow", "train", "lower", "export")


def outcome(record: Record) -> str:
    """ "skipped", "ok", or the step at which the model stands and how: "grow missed", "export ended (time)"."""
    if "skipped" in record:
        return "skipped"
    if "steps" not in record and "ended" not in record:
        return "not run"
    missing = [step for step in STEPS if record.get("steps", {}).get(step) != "ok"]
    if not missing:
        return "ok"
    step = missing[0]
    how = record.get("steps", {}).get(step) or ("ended (" + record["ended"] + ")" if "ended" in record else "not run")
    return f"{step} {how}"
