"""Run: inputs, session and ledger, as stages hand them on; a stage takes the one of the three that it uses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limit, Limits
from dashfx.run.inputs import Inputs
from dashfx.run.ledger import Ledger, peak_memory
from dashfx.run.session import Session
from dashfx.strategies.base import Strategy


@dataclass(frozen=True)
class Run:
    """What is computed, where, and what came of it so far.

    Attributes:
        limits: what the chosen model may cost; None where there is no budget.
        costs: objective -> what it costs, for those beside the first.
    """

    inputs: Inputs
    session: Session
    ledger: Ledger
    limits: Limits | None = None
    costs: Mapping[str, Limit] = field(default_factory=dict)

    @property
    def config(self) -> RunConfig:
        return self.inputs.config

    @property
    def strategy(self) -> Strategy:
        return self.inputs.strategy

    def with_config(self, config: RunConfig) -> Run:
        """The same run, its session and ledger shared, with other options."""
        return replace(self, inputs=self.inputs.with_config(config))

    def for_retraining(self) -> Run:
        """The run as it trains what was chosen, see `Inputs.for_retraining`."""
        return replace(self, inputs=self.inputs.for_retraining())

    def silent(self) -> Run:
        """The same run without its listeners, for what is done over and over; its seconds count nowhere."""
        return replace(self, session=self.session.silent(), ledger=self.ledger.apart())

    def note(self, text: str) -> None:
        """Tell the user something, and keep it for the report; what was said before is not said again."""
        if text not in self.ledger.notes:
            self.ledger.notes.append(text)
            self.session.observer.note(text)

    def open_folder(self, path: str | Path, together: bool = False) -> None:
        """Make the run's folder, or take up an earlier one, see `Session.open`."""
        if changed := self.session.open(path, self.config, together):
            self.note(f"resumed with other versions, so the result may differ in its digits: {'; '.join(changed)}")

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Inside, a stage of the pipeline runs: observers hear of it, and the ledger keeps what it took."""
        device, observer = self.session.accelerator.device, self.session.observer
        observer.stage(name, detail)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        started = time.perf_counter()
        self.ledger.open.append(name)
        try:
            yield
        finally:
            self.ledger.open.pop()
        seconds = time.perf_counter() - started
        self.ledger.took(name, seconds, peak_memory(device))
        observer.stage_done(name, seconds)
