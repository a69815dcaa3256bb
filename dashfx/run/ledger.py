"""Ledger of a run: what it has taken, trained, evaluated and noted so far."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from dashfx.blackbox.base import Row
from dashfx.genotype import Genotype
from dashfx.strategies.agreement import Found
from dashfx.train.progress import Epoch
from dashfx.train.stopwatch import Stopwatch
from dashfx.tune import Tuned

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Ledger:
    """What stages write down as they go.

    Attributes:
        seconds: wall time of each stage so far.
        parts: stage -> seconds of it by what they went into, of what is neither training nor its epochs' own:
            `measuring` and `saving`.
        open: the stages that are running, the innermost last.
        memory: peak bytes of each stage: of the GPU's memory, or of the process so far where there is no GPU.
        history: every epoch so far.
        evaluations: every genotype that a black-box search has evaluated.
        found: what each search by trained mixtures came to, one a seed.
        recipes: what a search has found for retraining, where it looked for recipes too.
        supernets: of these searches, as they have left them.
        narrower: what searches of widths have trained, by what they chose.
        weights: name -> the best weights of a short training, where the run has no folder for them.
        notes: what a user should know, in the order in which it came up.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    evaluations: list[Row[Genotype]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    recipes: list[Tuned] = field(default_factory=list)
    supernets: list[nn.Module] = field(default_factory=list)
    narrower: dict[Genotype, nn.Module] = field(default_factory=dict)
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def steps(self, of: Callable[[str], bool]) -> int:
        """Training steps of all stages whose name is one `of` those."""
        return sum(epoch.steps for epoch in self.history if of(epoch.stage))

    def apart(self) -> Ledger:
        """The same ledger, but for seconds and memory, which then count nowhere."""
        return replace(self, seconds={}, parts={}, open=[], memory={})

    def part(self, name: str) -> AbstractContextManager[None]:
        """Inside, time of the stage that is running goes into `name`; outside of all stages it counts nowhere."""
        return self._watch.during(name)

    def spent(self, name: str, seconds: float) -> None:
        """So many seconds of the stage that is running went into `name`."""
        self._watch.add(name, seconds)

    @property
    def _watch(self) -> Stopwatch:
        return Stopwatch(self.parts.setdefault(self.open[-1], {}) if self.open else None)

    def took(self, stage: str, seconds: float, peak: int) -> None:
        """Some stages are gone through twice."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.memory[stage] = max(self.memory.get(stage, 0), peak)


def peak_memory(device: torch.device) -> int:
    """The most memory that the device's tensors have held since its statistics were reset, or the process so far.

    In bytes; 0 where the system does not say (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
