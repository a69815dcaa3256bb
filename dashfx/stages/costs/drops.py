"""Drops of quality: what each conv of a trained supernet costs in int8, alone, before kernels and bits are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dashfx.cost.precision import Drops
from dashfx.deploy.quantise.fake import in_int8, ranges_of
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.run import Run
from dashfx.supernet import lower
from dashfx.task import evaluate
from dashfx.task.spread import standard_error
from dashfx.train.answering import answering
from dashfx.train.processes import first_does

ROWS, BATCH = 512, 64  # of the training part


def measured_drops(run: Run, supernet: nn.Module) -> Drops:
    """What the metric loses, and how far answers move, with each site alone in int8; by fake quantisation.

    Each site has the kernel that its mixture favours most. One process measures for all.
    """
    found = first_does(run.session.accelerator, lambda: _measured(run, supernet))
    worst = max(found.metric, key=found.drop)
    run.note(
        f"int8: on {min(len(run.inputs.data.train), ROWS)} training rows {worst} loses the most alone in int8, "
        f"{found.drop(worst):.2g} of the metric; allowed together is {found.most:.2g}"
    )
    return found


def _measured(run: Run, supernet: nn.Module) -> Drops:
    sites = sites_of(supernet)
    likeliest = {name: _likeliest(site.coefficients(), site.mask) for name, site in sites.items()}
    genotype = Genotype({name: sites[name].candidates[place] for name, place in likeliest.items()})
    plain = lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
    batches = rows_of(run)
    with answering(run.session.accelerator, plain) as predict:
        ranges = ranges_of(plain, list(genotype), predict, [x for x, _ in batches])
        before, answers = _asked(run, predict, batches)
        metric, error = {}, {}
        for name, found in ranges.items():
            with in_int8(plain, {name: found}):
                value, moved = _asked(run, predict, batches)
            metric[name] = before - value if run.inputs.task.maximise else value - before
            error[name] = ((moved - answers).norm() / answers.norm().clamp(min=1e-12)).item()
        most, _ = run.config.export.drop(lambda: standard_error(predict, batches, run.inputs.task))
    return Drops(metric, error, most)


def rows_of(run: Run) -> list[tuple[Tensor, Tensor]]:
    """Some rows from all over the training part, in batches."""
    data = run.inputs.data.train
    picked = np.linspace(0, len(data) - 1, min(len(data), ROWS)).astype(int).tolist()
    return [data.__getitems__(picked[start : start + BATCH]) for start in range(0, len(picked), BATCH)]


def _likeliest(coefficients: Tensor, mask: Tensor) -> int:
    return int(coefficients.detach().masked_fill(~mask, -torch.inf).argmax())


def _asked(
    run: Run, predict: Callable[[Tensor], Tensor], batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[float, Tensor]:
    """The metric, and the answers in float64."""
    answers = [(predict(x).cpu(), y) for x, y in batches]
    metric = evaluate(lambda x: x, answers, run.inputs.task)
    return metric, torch.cat([answer.double().flatten(1) for answer, _ in answers])
