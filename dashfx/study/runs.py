"""Runs of a study: each trial's search is carried out in a folder of its own, or read from it where it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashfx.config.run import RunConfig
from dashfx.errors import DivergedError, RunFolderError
from dashfx.genotype import Genotype
from dashfx.run.folder import RunFolder, read_facts, reading, write_text
from dashfx.space import Candidate
from dashfx.study.plan import Trial

AGAIN = "remove its folder to run it again"
BESIDE = ("import", "load", "export", "compare", "report")  # stages that are neither search nor training
Search = Callable[[RunConfig, Path, bool], object]  # options, the run's folder, whether it is resumed


@dataclass(frozen=True)
class Outcome:
    """What one trial came to.

    Attributes:
        test, valid: the task's metric of the model after its one training; NaN where that diverged.
        work: multiply-adds of all training that led to it, forward only; None where runs were written without it.
        seconds: wall time of search and training, without export and measurements.
        failure: why there is no model; "" where there is one.
    """

    trial: Trial
    folder: Path
    genotype: Genotype
    test: float = math.nan
    valid: float = math.nan
    parameters: int = 0
    macs: int | None = None
    work: float | None = None
    seconds: float = 0.0
    metric: str = ""
    maximise: bool = True
    failure: str = ""

    @property
    def done(self) -> bool:
        return not self.failure

    def to_dict(self) -> dict[str, Any]:
        """An entry of `runs` in `study.json`."""
        return {
            "method": self.trial.method,
            "seed": self.trial.seed,
            "folder": self.folder.name,
            "test": None if math.isnan(self.test) else self.test,
            "valid": None if math.isnan(self.valid) else self.valid,
            "parameters": self.parameters,
            "macs": self.macs,
            "work": self.work,
            "seconds": round(self.seconds, 1),
            "genotype": {name: str(choice) for name, choice in self.genotype.items()},
            "failure": self.failure or None,
        }


def carried_out(trial: Trial, config: RunConfig, root: Path, search: Search) -> Outcome:
    """The trial's outcome; its run is begun, continued where it was killed, or left alone where it is done.

    A training that diverges is an outcome too, and is not tried again.
    """
    folder = root / trial.name
    failed = root / f"{trial.name}.failed"
    if not failed.is_file() and not RunFolder(folder).result.is_file():
        try:
            search(config, folder, RunFolder(folder).config.is_file())
        except DivergedError as error:
            write_text(failed, f"{error}\n")
    if failed.is_file():
        return Outcome(trial, folder, Genotype({}), failure=failed.read_text(encoding="utf-8").strip())
    return read_outcome(trial, folder)


def read_outcome(trial: Trial, folder: Path) -> Outcome:
    """What the folder of a run that is done says.

    Raises:
        RunFolderError: its result is damaged, or not of one training.
    """
    path = RunFolder(folder).result
    facts = read_facts(path, AGAIN)
    with reading(path, AGAIN):
        kept = next(each for each in facts["finalists"] if each["kept"])
        stages = {name: float(seconds) for name, seconds in facts["seconds"].items()}
        return Outcome(
            trial,
            folder,
            _genotype(kept["genotype"]),
            _number(kept["test"]),
            _number(kept["valid"]),
            int(kept["parameters"]),
            kept["macs"],
            kept.get("work"),
            sum(
                seconds
                for name, seconds in stages.items()
                if name not in ("import", "load", "export", "compare", "report")
            ),
            str(facts["metric"]),
            bool(facts["maximise"]),
        )


def checked(outcomes: list[Outcome]) -> None:
    """Whether all runs were judged by one metric.

    Raises:
        RunFolderError: they were not.
    """
    metrics = {each.metric for each in outcomes if each.done}
    if len(metrics) > 1:
        raise RunFolderError(
            f"runs of one study are judged by {' and '.join(sorted(metrics))}: a folder holds a run of another task; "
            "use another --out"
        )


def _genotype(choices: Mapping[str, Any]) -> Genotype:
    return Genotype({name: Candidate.from_dict(choice) for name, choice in choices.items()})


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
