"""Search, the stage: one candidate per site of a run's supernet, by whichever strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from accelerate import Accelerator
from torch import nn

from dashfx.blackbox.base import History, Row, best_of
from dashfx.blackbox.genomes import Space
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.search import BlackBoxConfig
from dashfx.cost.budgets import Limits
from dashfx.data import Data
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, sites_of
from dashfx.run.run import Run
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.jobs.values import trained_values
from dashfx.stages.retrain import fit_stage
from dashfx.stages.rewrite import take_algorithms
from dashfx.strategies.base import evaluator_of
from dashfx.task import Task
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import Learner


def searched(run: Run, supernet: nn.Module) -> tuple[Genotype, ...]:
    """What the search proposes, the likeliest first: one candidate per site, in each of them."""
    strategy = run.strategy
    with ExitStack() as stage:
        stage.enter_context(run.stage("search", strategy.plan(run.config)))
        proposals = strategy.proposals(Searching(run, supernet, stage))
    return tuple(map(run.session.agree, proposals))


class Searching:
    """A run as a strategy sees it, see `dashfx.strategies.base.Context`."""

    def __init__(self, run: Run, supernet: nn.Module, stage: ExitStack | None = None) -> None:
        self.supernet, self._run, self._stage = supernet, run, stage or ExitStack()

    @property
    def sites(self) -> Mapping[str, AggConv]:
        return sites_of(self.supernet)

    @property
    def config(self) -> RunConfig:
        return self._run.config

    @property
    def limits(self) -> Limits | None:
        return self._run.limits

    @property
    def task(self) -> Task:
        return self._run.inputs.task

    @property
    def data(self) -> Data:
        return self._run.inputs.data

    @property
    def accelerator(self) -> Accelerator:
        return self._run.session.accelerator

    def train(self, learner: Learner, stage: str = "search") -> Fitted:
        return fit_stage(self._run, learner, stage)

    def take_algorithms(self) -> None:
        take_algorithms(self._run, self.supernet)

    def model_of(self, genotype: Genotype) -> nn.Module:
        return specialised_by(self._run.inputs, genotype, "evaluate")

    def trained_values(self, genotypes: Sequence[Genotype], options: RetrainConfig) -> list[float]:
        return trained_values(self._run, genotypes, options)

    def history(self, space: Space[Genotype]) -> History[Genotype]:
        session = self._run.session
        history = History(session.folder.evaluations if session.folder else None, space, writes=session.is_main)
        session.wait()  # nobody writes before all have read
        return history

    def on_row(self, row: Row[Genotype]) -> None:
        rows = self._run.ledger.evaluations
        rows.append(row)
        self._run.session.observer.evaluated(
            "search", row.number + 1, self.config.blackbox.evaluations, best_of(rows).value
        )

    def note(self, text: str) -> None:
        self._run.note(text)

    def turn_to(self, stage: str, detail: str) -> None:
        self._stage.close()
        self._stage.enter_context(self._run.stage(stage, detail))


def check_strategy(run: Run, supernet: nn.Module) -> None:
    """Whether what the strategy uses fits the run's model; before anything is written.

    Raises:
        DashfxError: an evaluator that does not fit, such as a table of another model or space.
    """
    strategy, config = run.strategy, run.config
    asked = [evaluator_of(config.search.warm_start, config)] if config.search.warm_start else []
    asked += [strategy.evaluator] if strategy.evaluator is not None else []
    for evaluator in asked:
        if evaluator.training is None:
            evaluator.begin(Searching(run, supernet))
    if not asked:
        _note_unasked(run)


def _note_unasked(run: Run) -> None:
    options, unasked = run.config.blackbox, BlackBoxConfig()
    for name in ("evaluator", "evaluations"):
        if getattr(options, name) != getattr(unasked, name):
            run.note(
                f"blackbox.{name} does nothing with strategy {run.config.search.strategy}, which asks no evaluator"
            )
