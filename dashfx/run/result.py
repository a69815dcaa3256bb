"""Result of a run: the model that is handed back, every finalist beside it, and what the run took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.blackbox.base import Row
from dashfx.blackbox.front import Front as RowFront
from dashfx.cost.budgets import Spent
from dashfx.cost.counts import parameters_of
from dashfx.cost.files import FileFigures
from dashfx.cost.latency import Figures
from dashfx.deploy.export import ExportReport
from dashfx.deploy.half.fp16 import Half
from dashfx.deploy.quantise.choose import Int8
from dashfx.genotype import Genotype
from dashfx.run.outcome import verdict
from dashfx.run.outcome.account import Account
from dashfx.run.outcome.ensemble import Ensemble
from dashfx.run.outcome.front import Front, SiteTime
from dashfx.run.outcome.standing import DISTILLED, LONGER, RANDOM, SEARCHED, UNTOUCHED, WIDER, Short, Standing
from dashfx.site import Site, Skip
from dashfx.strategies.agreement import Agreement
from dashfx.task import ClassScores, OutputError, Task
from dashfx.train.convergence import Convergence, convergence
from dashfx.train.progress import Epoch
from dashfx.tune import Tuned

__all__ = [
    "DISTILLED",
    "LONGER",
    "RANDOM",
    "SEARCHED",
    "UNTOUCHED",
    "WIDER",
    "Network",
    "Result",
    "Short",
    "Standing",
]

ReceptiveField = tuple[float, ...] | None  # positions of the input per axis; None where it is not known


@dataclass(frozen=True)
class Network:
    """The convs of a model in the order of the forward pass.

    Attributes:
        edges: (from, to): whose output reaches whom without another conv in between; "input" and "output" are ends.
        before, after: site -> receptive field of its output, with its own and with the chosen kernels.
        whole: the largest receptive field ahead of the last pooling over everything, before and after.
    """

    convs: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    before: Mapping[str, ReceptiveField]
    after: Mapping[str, ReceptiveField]
    whole: tuple[ReceptiveField, ReceptiveField]


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        model: the lowered, retrained model: torch.nn only, the user's class, on the CPU, in eval mode.
        valid, test: the task's metric of `model` on the validation and the test part.
        finalists: every model that was trained in full, in that order; one is kept, and `genotype` and `model` are its.
        race: the short trainings that told which proposals of the search were trained in full.
        refit: where `model` was trained once more, on the validation part too: its metric there, which says nothing of
            unseen rows; `valid` is then of the model that was judged.
        onnx_valid: the metric on the validation part through ONNX Runtime; None without an `out` folder.
        int8: the int8 file, or why there is none; None where none was asked for. So is `fp16`.
        files: the files side by side, where there are others than the float one.
        classes: of a classifier, how `model` does on each class of the test part.
        outputs: of a regression model, its errors there output by output, in the data's units.
        warnings: what speaks against taking the result at its word.
        seconds, memory: wall time and peak bytes per stage.
        account: where the wall time went; None of runs of earlier versions.
        history: every epoch of search and retraining.
        evaluations: the rows of a black-box search or a warm start, in order.
        tuned: the options of retraining that tuning found, and its trials; None where nothing was tuned.
        ensemble: the average of the best trained models, or why there is none; None where none was asked for.
        budgets: what `model` costs beside each budget.
        front: further choices of the search over one cost; None where none were asked for.
        site_times: what each conv takes, where a budget has timed them.
        agreement: what several searches, or tied ones, agree on; None where there was one search without ties.
        network: what feeds what and how far each conv sees; None without an `out` folder.
        folder: the run's folder, or None.
        html: the models and the search's choices for a notebook, as the report has them.
    """

    genotype: Genotype
    model: nn.Module
    task: Task
    valid: float
    test: float
    sites: Mapping[str, Site] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    finalists: tuple[Standing, ...] = ()
    race: tuple[Short, ...] = ()
    refit: float | None = None
    onnx_valid: float | None = None
    exported: ExportReport | None = None
    int8: Int8 | None = None
    fp16: Half | None = None
    files: tuple[FileFigures, ...] = ()
    classes: ClassScores | None = None
    outputs: tuple[OutputError, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    account: Account | None = None
    history: list[Epoch] = field(default_factory=list)
    evaluations: list[Row[Genotype]] = field(default_factory=list)
    tuned: Tuned | None = None
    ensemble: Ensemble | None = None
    budgets: tuple[Spent, ...] = ()
    front: Front | None = None
    site_times: tuple[SiteTime, ...] = ()
    agreement: Agreement | None = None
    notes: list[str] = field(default_factory=list)
    network: Network | None = None
    folder: Path | None = None
    html: str = ""

    def finalist(self, origin: str) -> Standing | None:
        """The finalist of that origin; of several the one that is kept, or else the best."""
        found = [each for each in self.finalists if each.origin == origin]
        measured = [each for each in found if each.figures] or found
        best = next((each for each in measured if each.kept), next(iter(measured), None))
        for each in measured if best and not best.kept else ():
            best = each if best and self.task.better(each.value, best.value) else best
        return best

    @property
    def evaluated_front(self) -> RowFront[Genotype]:
        """What no other evaluation dominates, in a search with several objectives; empty elsewhere."""
        return RowFront.of(row for row in self.evaluations if row.others)

    @property
    def kept(self) -> Standing | None:
        return next((each for each in self.finalists if each.kept), None)

    @property
    def chosen(self) -> Genotype:
        """What the search chose, also where the untouched model was handed back in its place."""
        searched = self.finalist(SEARCHED)
        return searched.genotype if searched else self.genotype

    @property
    def changed(self) -> bool:
        """Whether the search chose anything but the model's own kernels."""
        others = bool(self.chosen.others)
        return others or any(n not in self.sites or c != self.sites[n].original for n, c in self.chosen.items())

    def convergence(self, stage: str) -> Convergence | None:
        """Whether the training of that stage has converged, as far as its epochs tell; None of too few."""
        epochs = [epoch for epoch in self.history if epoch.stage == stage]
        return convergence(epochs, self.task.maximise, self.task.metric_name)

    @property
    def models(self) -> dict[str, Figures]:
        """The figures of each model that was measured on the test part, by origin; of several the best one's."""
        origins = dict.fromkeys(each.origin for each in self.finalists if each.figures)
        best = {origin: self.finalist(origin) for origin in origins}
        return {origin: each.figures for origin, each in best.items() if each and each.figures}

    @property
    def outcome(self) -> str:
        """Searched against untouched on the validation part, in short; empty where nothing was compared."""
        searched, untouched = self.finalist(SEARCHED), self.finalist(UNTOUCHED)
        if searched is None or (untouched is None and (self.changed or searched.cost is None)):
            return ""
        return verdict.outcome(searched, untouched, self.kept, self.changed)

    @property
    def verdict(self) -> str:
        """The same as a sentence: by how much, with what interval, after how much training of each."""
        searched, controls = self.finalist(SEARCHED), {}
        if searched is None or not self.outcome:
            return ""
        for origin in (UNTOUCHED, LONGER, WIDER):
            if (found := self.finalist(origin)) is not None:
                controls[origin] = found
        ended = self.convergence(controls[UNTOUCHED].stage) if UNTOUCHED in controls else None
        return verdict.verdict(searched, controls, self.kept, self.changed, ended is not None and ended.converged)

    def _ended(self, stage: str) -> dict[str, Any]:
        found = self.convergence(stage)
        return {"convergence": found.to_dict() if found else None}

    def _repr_html_(self) -> str | None:
        return self.html or None

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds."""
        searched, untouched = self.finalist(SEARCHED), self.finalist(UNTOUCHED)
        control = {SEARCHED: searched.value, UNTOUCHED: untouched.value} if searched and untouched else None
        return {
            "metric": self.task.metric_name,
            "maximise": self.task.maximise,
            "valid": self.valid,
            "test": self.test,
            "onnx_valid": self.onnx_valid,
            "verdict": self.verdict,
            "control": control,
            "kept": self.kept.origin if self.kept and (control or len(self.finalists) > 1) else None,
            "finalists": [each.to_dict() | self._ended(each.stage) for each in self.finalists],
            "race": [each.to_dict() for each in self.race],
            "refit": self.refit,
            "tuned": dict(self.tuned.values) if self.tuned else None,
            "finals": dict(self.tuned.finals) if self.tuned and self.tuned.finals else None,
            "models": {name: figures.to_dict() for name, figures in self.models.items()},
            "budgets": [asdict(each) for each in self.budgets],
            "front": self.front.to_dict() if self.front else None,
            "site_times": [asdict(each) for each in self.site_times],
            "evaluated_front": [
                {"number": row.number, "valid": row.value, **row.others, "genotype": _choices(row.genome)}
                for row in self.evaluated_front.rows
            ],
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "parameters": parameters_of(self.model),
            "rule": self.genotype.rule,
            **({"widths": _widths(self.chosen)} if self.chosen.widths else {}),
            "export": self.exported.to_dict() if self.exported else None,
            "int8": self.int8.to_dict() if self.int8 else None,
            "fp16": self.fp16.to_dict() if self.fp16 else None,
            "files": [each.to_dict() for each in self.files],
            "ensemble": self.ensemble.to_dict() if self.ensemble else None,
            "seconds": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "memory": dict(self.memory),
            "account": self.account.to_dict() if self.account else None,
            "notes": self.notes,
            "warnings": list(self.warnings),
            "classes": asdict(self.classes) if self.classes else None,
            "outputs": [asdict(each) for each in self.outputs],
        }


def _widths(genotype: Genotype) -> dict[str, Any]:
    """Of each layer that became narrower, how many channels it has and keeps."""
    return {name: {"of": width.of, "kept": len(width.channels)} for name, width in genotype.widths.items()}


def _choices(genotype: Genotype) -> dict[str, Any]:
    return {name: choice.to_dict() for name, choice in genotype.items()}
