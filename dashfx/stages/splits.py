"""Splits and seeds of a finalist's trainings: which rows each has, and what its weights and order are drawn by."""

from __future__ import annotations

from dataclasses import replace

from dashfx.data.splits.folds import fold
from dashfx.run.run import Run
from dashfx.train.fit import derive_seed


def as_trained(run: Run, number: int) -> Run:
    """The run as training `number` of a finalist has it, from 1 on: all folds with one seed, then with the next.

    The first has the run's own seed and split.
    """
    seed, fold_number = seed_and_fold(run, number)
    options, inputs = run.config.finalists, run.inputs
    data = fold(inputs.data, fold_number, options.folds, run.config.seed)
    drawn = run.config.seed if seed == 1 else derive_seed(run.config.seed, "finalists", seed)
    config = run.config.model_copy(update={"seed": drawn})
    return replace(run, inputs=replace(inputs, data=data)).with_config(config)


def seed_and_fold(run: Run, number: int) -> tuple[int, int]:
    """Of training `number`, all from 1 on."""
    seed, fold_number = divmod(number - 1, run.config.finalists.folds)
    return seed + 1, fold_number + 1


def stage_of(run: Run, stage: str, number: int) -> str:
    """The stage's name for training `number`."""
    seed, fold_number = seed_and_fold(run, number)
    return stage + f"-seed-{seed}" * (seed > 1) + f"-fold-{fold_number}" * (fold_number > 1)
