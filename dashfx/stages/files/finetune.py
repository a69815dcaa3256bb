"""Quantisation-aware fine-tuning, the stage: a trained model learns with its convs as they will be in int8.

After Jacob et al. (CVPR 2018, section 3): weights and inputs are rounded in the forward pass, gradients go straight
through. Ranges of inputs are told once, before, and stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from torch import nn

from dashfx.deploy.export import folder_beside
from dashfx.deploy.quantise.choose import SENSITIVE, SLOW, Int8
from dashfx.deploy.quantise.fake import LAYERS, in_int8, ranges_of
from dashfx.errors import DashfxError, first_line
from dashfx.frontend.tracing import copy_model
from dashfx.genotype import Genotype
from dashfx.run.run import Run
from dashfx.stages.compare import metric_of
from dashfx.stages.costs.drops import rows_of
from dashfx.stages.export import metadata, write_onnx
from dashfx.stages.retrain import fit_stage, unwrapped
from dashfx.train.answering import answering
from dashfx.train.fit import Supervised

STAGE = "finetune"
GENTLER = 0.1  # of the retraining's rate
PLAIN = {"ema": 0.0, "compile": False, "channels_last": False, "patience": 0, "max_epochs": None}  # of the recipe

Again = Callable[[Path, nn.Module], tuple[Int8, Genotype]]  # a float file and its model -> its int8 file, its choices


def finetuned(
    run: Run, model: nn.Module, genotype: Genotype, first: tuple[Int8, Genotype], out: Path, again: Again
) -> tuple[Int8, Genotype]:
    """The first int8 file, or that of the fine-tuned weights where it has more in int8 or the better metric.

    The float file and the PyTorch model keep the weights that they have.

    Args:
        out: where the int8 file stands.
        again: writes and judges the int8 file of other weights, as the first one was.
    """
    if run.session.accelerator.num_processes > 1:
        run.note(f"{STAGE}: it takes one process, and this run has more; `dashfx export RUN --int8` does it")
        return first
    chosen = list(genotype.bits) or layers_of(model, first[0])
    tuned = trained(run, model, chosen)
    try:
        with folder_beside(out) as folder:
            facts = metadata(run.inputs.data, run.inputs.task, genotype)
            write_onnx(run.inputs, tuned, facts, folder / "tuned.onnx", metric_of(run, tuned, "valid"))
            second, choices = again(folder / "tuned.onnx", tuned)
            if not is_better(second, first[0], run.inputs.task.maximise):
                run.note(f"{STAGE}: the int8 file is no better on validation for it, so it is as it was")
                return first
            assert second.path is not None
            os.replace(second.path, out)
    except DashfxError as error:
        run.note(f"{STAGE}: {first_line(error)}; the int8 file is as it was")
        return first
    return replace(second, path=out, finetuned=run.config.export.finetune), choices


def is_wanting(found: Int8, genotype: Genotype, choices: Genotype) -> bool:
    """Whether something that should be in int8 is not, because the metric falls by too much."""
    if genotype.bits:
        return not set(choices.bits) >= set(genotype.bits)
    return found.path is None or SENSITIVE in found.in_float.values()


def is_better(second: Int8, first: Int8, maximise: bool) -> bool:
    """Whether it is a file with more in int8, or with as much and the better metric."""
    if second.path is None or first.path is None:
        return second.path is not None
    counts = [each.sites - len(each.in_float) for each in (second, first)]
    if counts[0] != counts[1]:
        return counts[0] > counts[1]
    assert second.metric is not None and first.metric is not None
    return second.metric > first.metric if maximise else second.metric < first.metric


def layers_of(model: nn.Module, first: Int8) -> list[str]:
    """The layers that could be in int8 but for the metric."""
    slow = {name for name, why in first.in_float.items() if why == SLOW}
    return [name for name, module in model.named_modules() if isinstance(module, LAYERS) and name not in slow]


def trained(run: Run, model: nn.Module, names: Collection[str]) -> nn.Module:
    """A copy of the model after a few epochs with these convs as in int8, at its best on validation, start included."""
    tuned, config = copy_model(model), run.config.retrain
    recipe = config.model_copy(update={**PLAIN, "epochs": run.config.export.finetune, "lr": GENTLER * config.lr})
    with run.stage(STAGE, f"{recipe.epochs} epochs with {len(names)} convs as in int8"):
        with answering(run.session.accelerator, tuned) as predict:
            ranges = ranges_of(tuned, names, predict, (x for x, _ in rows_of(run)))
        with in_int8(tuned, ranges):
            learner = Supervised(tuned, run.inputs.task, recipe, run.session.accelerator)
            fitted = fit_stage(run, learner, STAGE, from_start=True)
            unwrapped(learner, fitted)
    return tuned
