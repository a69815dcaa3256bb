"""Result of a run: the model that is handed back, every finalist beside it, and what the run took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.blackbox.base import Row
from dashfx.cost.budgets import Spent
from dashfx.cost.counts import parameters_of
from dashfx.cost.latency import Figures
from dashfx.deploy.export import ExportReport
from dashfx.deploy.quantise.choose import Int8
from dashfx.genotype import Genotype
from dashfx.site import Site, Skip
from dashfx.task import ClassScores, OutputError, Task
from dashfx.train.convergence import Convergence, convergence
from dashfx.train.progress import Epoch
from dashfx.tune import Tuned

SEARCHED, UNTOUCHED, RANDOM = "searched", "untouched", "random"  # origins of finalists

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
class Standing:
    """How a finalist did.

    Attributes:
        name: what tells it from the others; its origin, where there is one of that origin.
        origin: "searched", "untouched" or "random"; a run that only retrains is named by its strategy.
        stage: the stage that trained it.
        valid: the task's metric on the validation part; NaN where its training diverged.
        steps: of its training; `search_steps` of the search that led to it.
        figures: also on the test part, with its size and latency; None for what was not measured there.
        kept: whether it is the model that is handed back.
    """

    name: str
    origin: str
    genotype: Genotype
    stage: str
    valid: float
    steps: int = 0
    search_steps: int = 0
    figures: Figures | None = None
    kept: bool = False

    def cost(self, untouched: Standing | None) -> float | None:
        """Steps of its training, the search's included, over those of the untouched model; None without one."""
        return (self.steps + self.search_steps) / untouched.steps if untouched and untouched.steps else None

    def to_dict(self, untouched: Standing | None) -> dict[str, Any]:
        """An entry of `finalists` in `result.json`."""
        cost = self.cost(untouched)
        return {
            "name": self.name,
            "origin": self.origin,
            "stage": self.stage,
            "genotype": {name: choice.to_dict() for name, choice in self.genotype.items()},
            "rule": self.genotype.rule,
            "steps": self.steps,
            "search_steps": self.search_steps,
            "cost": None if cost is None else round(cost, 2),
            "valid": self.valid,
            "test": self.figures.test if self.figures else None,
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        model: the lowered, retrained model: torch.nn only, the user's class, on the CPU, in eval mode.
        valid, test: the task's metric of `model` on the validation and the test part.
        finalists: every model that was trained in full, in that order; one is kept, and `genotype` and `model` are its.
        onnx_valid: the metric on the validation part through ONNX Runtime; None without an `out` folder.
        int8: the int8 file, or why there is none; None where none was asked for.
        classes: of a classifier, how `model` does on each class of the test part.
        outputs: of a regression model, its errors there output by output, in the data's units.
        warnings: what speaks against taking the result at its word.
        seconds, memory: wall time and peak bytes per stage.
        history: every epoch of search and retraining.
        evaluations: the rows of a black-box search or a warm start, in order.
        tuned: the options of retraining that tuning found, and its trials; None where nothing was tuned.
        budgets: what `model` costs beside each budget.
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
    onnx_valid: float | None = None
    exported: ExportReport | None = None
    int8: Int8 | None = None
    classes: ClassScores | None = None
    outputs: tuple[OutputError, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    evaluations: list[Row[Genotype]] = field(default_factory=list)
    tuned: Tuned | None = None
    budgets: tuple[Spent, ...] = ()
    notes: list[str] = field(default_factory=list)
    network: Network | None = None
    folder: Path | None = None
    html: str = ""

    def finalist(self, origin: str) -> Standing | None:
        """The finalist of that origin; the best of several."""
        found = [each for each in self.finalists if each.origin == origin]
        measured = [each for each in found if each.figures]
        return next(iter(measured or found), None)

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
        return any(n not in self.sites or choice != self.sites[n].original for n, choice in self.chosen.items())

    def convergence(self, stage: str) -> Convergence | None:
        """Whether the training of that stage has converged, as far as its epochs tell; None of too few."""
        epochs = [epoch for epoch in self.history if epoch.stage == stage]
        return convergence(epochs, self.task.maximise, self.task.metric_name)

    @property
    def models(self) -> dict[str, Figures]:
        """The figures of each model that was measured on the test part, by origin."""
        return {each.origin: each.figures for each in self.finalists if each.figures}

    @property
    def outcome(self) -> str:
        """Searched against untouched on the validation part, in short; empty where not both were trained."""
        searched, untouched = self.finalist(SEARCHED), self.finalist(UNTOUCHED)
        if searched is None or untouched is None:
            return ""
        values = f"validation: searched {searched.valid:.4f}, untouched {untouched.valid:.4f}"
        return (
            f"{values}; {SEARCHED if searched.kept else UNTOUCHED} is kept" if self.changed else f"{values}; unchanged"
        )

    @property
    def verdict(self) -> str:
        """The same as a sentence, with the difference in training where there is one."""
        searched, untouched = self.finalist(SEARCHED), self.finalist(UNTOUCHED)
        if searched is None or untouched is None:
            return ""
        if not self.changed:
            return f"{self.outcome}: the search chose every conv's own kernel, so neither model has won"
        if searched.steps + searched.search_steps == untouched.steps:
            return self.outcome
        search = f"{searched.search_steps} of search and " if searched.search_steps else ""
        return f"{self.outcome} (steps of training: searched {search}{searched.steps}, untouched {untouched.steps})"

    def _ended(self, stage: str) -> dict[str, Any]:
        found = self.convergence(stage)
        return {"convergence": found.to_dict() if found else None}

    def _repr_html_(self) -> str | None:
        return self.html or None

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds."""
        searched, untouched = self.finalist(SEARCHED), self.finalist(UNTOUCHED)
        control = {SEARCHED: searched.valid, UNTOUCHED: untouched.valid} if searched and untouched else None
        return {
            "metric": self.task.metric_name,
            "maximise": self.task.maximise,
            "valid": self.valid,
            "test": self.test,
            "onnx_valid": self.onnx_valid,
            "verdict": self.verdict,
            "control": control,
            "kept": self.kept.origin if control and self.kept else None,
            "finalists": [each.to_dict(untouched) | self._ended(each.stage) for each in self.finalists],
            "tuned": dict(self.tuned.values) if self.tuned else None,
            "finals": dict(self.tuned.finals) if self.tuned and self.tuned.finals else None,
            "models": {name: figures.to_dict() for name, figures in self.models.items()},
            "budgets": [asdict(each) for each in self.budgets],
            "parameters": parameters_of(self.model),
            "rule": self.genotype.rule,
            "export": self.exported.to_dict() if self.exported else None,
            "int8": self.int8.to_dict() if self.int8 else None,
            "seconds": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "memory": dict(self.memory),
            "notes": self.notes,
            "warnings": list(self.warnings),
            "classes": asdict(self.classes) if self.classes else None,
            "outputs": [asdict(each) for each in self.outputs],
        }
