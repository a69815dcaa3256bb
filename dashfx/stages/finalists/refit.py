"""Refit: the kept model is trained once more, on the training and the validation part together.

No choice is left to be made then, so the rows that choices were made on may be learned from as well. It takes as many
steps as the training that was judged and ends with its last weights: nothing is held out that could tell epochs apart.
What is known of the model's worth on unseen rows is what the judged model had; only the test part tells of the new one.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from dashfx.data.splits.both import trained_on_both
from dashfx.run.run import Run
from dashfx.stages.finalists.base import Decision, Start
from dashfx.stages.finalists.lengths import REFIT, with_epochs
from dashfx.stages.retrain import fit_stage, plan, unwrapped
from dashfx.stages.rewrite import accelerated
from dashfx.stages.splits import as_trained
from dashfx.train.checkpoints import cpu_copy
from dashfx.train.fit import Supervised


class Refitting(Supervised):
    """Ordinary training without a best epoch: what it is validated on, it learns from."""

    keeps_best = False


def refitted(decision: Decision, start: Start) -> Decision:
    """With the kept model as it is after a training on both parts, where that is asked for."""
    if not decision.run.config.finalists.refit:
        return decision
    kept = decision.kept
    number = next(i for i, done in enumerate(kept.seeds) if done.model is kept.model)
    run = for_both_parts(as_trained(decision.run, number + 1), len(kept.seeds[number].history))
    rows = len(run.inputs.data.train)
    with run.stage(REFIT, plan(f"the {kept.finalist.name} model on {rows} rows", run)):
        model = refit(run, start(run, kept.finalist))
    run.note(
        f"{REFIT}: the model that is handed back is trained on the validation part too, so the figures on that "
        "part are those of the model that was judged"
    )
    return replace(decision, refit=model)


def for_both_parts(run: Run, epochs: int) -> Run:
    """The run as it trains on both parts: the same number of epochs, and of rows in each."""
    options, data = run.config.retrain, run.inputs.data
    share = options.fraction * len(data.train) / (len(data.train) + len(data.valid))
    given = with_epochs(run.config, epochs)
    recipe = given.retrain.model_copy(update={"fraction": share, "patience": 0})
    run = run.with_config(given.model_copy(update={"retrain": recipe}))
    return replace(run, inputs=replace(run.inputs, data=trained_on_both(data)))


def refit(run: Run, model: nn.Module) -> nn.Module:
    """The model with its last weights, or their average where that is what is judged."""
    with accelerated(run, model):
        learner = Refitting(model, run.inputs.task, run.config.retrain, run.session.accelerator)
        fitted = fit_stage(run, learner, REFIT)
        with learner.judged():
            last = cpu_copy(learner.plain.state_dict())
    return unwrapped(learner, replace(fitted, best_weights=last))
