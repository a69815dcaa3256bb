"""Search, the stage: one candidate per site of a run's supernet, by whichever strategy, and once for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from dashfx.blackbox.base import History, Row, best_of
from dashfx.blackbox.genomes import G, Space
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.search import BlackBoxConfig
from dashfx.cost.budgets import Limit, Limits
from dashfx.cost.precision import Drops
from dashfx.data import Data
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, decisions_of, sites_of
from dashfx.run.run import Run
from dashfx.space import Candidate
from dashfx.stages.costs.drops import measured_drops
from dashfx.stages.costs.limits import choices_of, leave_unaffordable
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.jobs.apart import trained_apart, weights_of
from dashfx.stages.jobs.values import trained_values
from dashfx.stages.retrain import fit_stage, lowered
from dashfx.stages.rewrite import rewritten, take_algorithms
from dashfx.strategies.agreement import Agreement, Found, shares_of
from dashfx.strategies.base import evaluator_of
from dashfx.task import Task
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import Learner, derive_seed
from dashfx.tune.study import Trial, Tuned


def searched(run: Run, supernet: nn.Module) -> tuple[Genotype, ...]:
    """What the search proposes, the likeliest first, and each once: one candidate per site, in each of them.

    With `search.seeds` it is run again from starts drawn anew, in stages "search-2" and so on; the ledger learns what
    each came to. Later stages go on from the first one's supernet, where that has all of a proposal's candidates yet.
    """
    seeds = 1 if run.strategy.is_control else run.config.search.seeds
    left = set(sites_of(supernet))
    proposals = [_once(run, supernet)]
    for number in range(1, seeds):
        again = reseeded(run, number)
        alone = dict.fromkeys(set(sites_of_model(again)) - left, "the first search leaves it alone")
        proposals.append(_once(again, rewritten(again.silent(), alone)[1], f"-{number + 1}"))
    if agreement := agreement_of(run):
        run.note(agreement.sentence)
    turns = zip_longest(*proposals)
    return tuple(dict.fromkeys(each for turn in turns for each in turn if each is not None))


def proposed(run: Run) -> int:
    """How many genotypes the search is going to propose, at most."""
    return run.strategy.proposed * (1 if run.strategy.is_control else run.config.search.seeds)


def agreement_of(run: Run) -> Agreement | None:
    """What the run's searches agree on; None where there was one, without ties."""
    found = Agreement.of(run.ledger.found)
    return found if found and (found.seeds > 1 or run.config.search.tie != "none") else None


def reseeded(run: Run, number: int) -> Run:
    """The run as one of its further searches has it: other weights, noise and order, the same data and split."""
    seed = derive_seed(run.config.seed, "search", number)
    return run.with_config(run.config.model_copy(update={"seed": seed}))


def sites_of_model(run: Run) -> list[str]:
    """The convs of the model that could be searched."""
    inputs = run.inputs.for_search()
    return list(trace(inputs.given_model(), inputs.example).sites)


def _once(run: Run, supernet: nn.Module, suffix: str = "") -> tuple[Genotype, ...]:
    """The proposals of one search, of which the ledger keeps the first with its coefficients."""
    strategy = run.strategy
    with ExitStack() as stage:
        stage.enter_context(run.stage("search" + suffix, strategy.plan(run.config)))
        leave_unaffordable(run, supernet)
        context = Searching(run, supernet, stage, suffix)
        proposals = tuple(map(run.session.agree, strategy.proposals(context)))
    if strategy.judges_mixtures:
        run.ledger.found.append(context.found(proposals[0]))
        run.ledger.supernets.append(supernet)
    return proposals


class Searching:
    """A run as a strategy sees it, see `dashfx.strategies.base.Context`.

    Args:
        suffix: what stands behind the names of its stages, where it is not the run's first search.
    """

    def __init__(self, run: Run, supernet: nn.Module, stage: ExitStack | None = None, suffix: str = "") -> None:
        self.supernet, self._run, self._stage, self._suffix = supernet, run, stage or ExitStack(), suffix
        self._begun, self._shares = self._open(), dict[str, dict[Candidate, float]]()
        self._drops: Drops | None = None

    def _open(self) -> tuple[list[list[str]], dict[str, int]]:
        """What there is to decide now, and among how many candidates."""
        counts = {name: len(row) for name, row in choices_of(self.supernet).items()}
        return decisions_of(self.sites), counts

    def found(self, genotype: Genotype) -> Found:
        """What the search came to, by the candidates that it began with and the mixtures that it ended with."""
        return Found(genotype, *self._begun, shares_of(self._shares, genotype))

    @property
    def sites(self) -> Mapping[str, AggConv]:
        return sites_of(self.supernet)

    @property
    def config(self) -> RunConfig:
        return self._run.config

    @property
    def limits(self) -> Limits | None:
        """With what int8 costs in quality, once the mixtures are trained and where precisions are chosen too."""
        limits = self._run.limits
        if limits is None or not limits.is_precise or not self._shares:
            return limits
        if self._drops is None:
            self._drops = measured_drops(self._run, self.supernet)
        return replace(limits, drops=self._drops)

    @property
    def costs(self) -> Mapping[str, Limit]:
        return self._run.costs

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
        fitted = fit_stage(self._run, learner, stage + self._suffix)
        self._drops = None
        if stage == "search":
            self._shares = coefficients_of(self.sites)
        return fitted

    def take_algorithms(self) -> None:
        self._begun = self._open()  # edits have been made
        take_algorithms(self._run, self.supernet)

    def model_of(self, genotype: Genotype) -> nn.Module:
        return specialised_by(self._run.inputs.for_search(), genotype, "evaluate")

    def start_of(self, genotype: Genotype) -> nn.Module:
        return lowered(self._run, self.supernet, genotype)

    def keep_model(self, genotype: Genotype, model: nn.Module) -> None:
        self._run.ledger.narrower[genotype] = model

    def trained_values(self, genotypes: Sequence[Genotype], options: RetrainConfig) -> list[float]:
        return trained_values(self._run, genotypes, options)

    @property
    def example(self) -> Tensor:
        return self._run.inputs.for_search().example

    def trained(self, model: nn.Module, options: RetrainConfig, name: str) -> float:
        return trained_apart(self._run, model, options, name)

    def trained_weights(self, name: str) -> dict[str, Tensor]:
        return weights_of(self._run, name)

    def history(self, space: Space[G]) -> History[G]:
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

    def found_recipe(self, rows: Sequence[Row[Any]], best: Row[Any], epochs: int) -> None:
        trials = tuple(
            Trial(
                row.number,
                dict(row.genome[1]),
                row.value,
                "pruned" if row.value is None else "complete",
                max(1, round(epochs * row.fidelity)),
                round(row.seconds, 2),
            )
            for row in rows
        )
        assert best.value is not None
        self._run.ledger.recipes.append(Tuned(dict(best.genome[1]), best.value, best.number, trials))

    def note(self, text: str) -> None:
        self._run.note(text)

    def turn_to(self, stage: str, detail: str) -> None:
        self._stage.close()
        self._stage.enter_context(self._run.stage(stage + self._suffix, detail))


def coefficients_of(sites: Mapping[str, AggConv]) -> dict[str, dict[Candidate, float]]:
    """The noise-free mixtures as they stand."""
    rows = {name: site.coefficients().tolist() for name, site in sites.items()}
    return {name: dict(zip(site.candidates, rows[name], strict=True)) for name, site in sites.items()}


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
