"""Budget of measuring: algorithms are measured for a small share of what the training takes that they are chosen for.

What is not measured in that time is taken by estimate, see `dashfx.ops.autotune.choose`.
"""

from __future__ import annotations

from torch import nn

from dashfx.config.search import FitConfig
from dashfx.cost.counts import flops_of
from dashfx.run.run import Run
from dashfx.train.length import bounds_of, steps_of
from dashfx.train.pace import PLAIN_EPOCHS

SHARE = 0.05  # of the training's time, as it is reckoned here
LEAST = 2.0  # seconds, in which the largest problems of a small network are measured
RATE = 5e9  # multiply-adds a second: about what a core does, so that measuring is not cut short where it may pay
STEP = 0.01  # seconds that a step of a small network takes whatever it computes


def affordable(run: Run, plain: nn.Module, config: FitConfig, times: float = 1.0) -> float:
    """The seconds that may be measured for a training of `plain` by these options.

    Args:
        times: what a step takes in those of `plain`.
    """
    rows = len(run.inputs.data.train)
    steps = bounds_of(config, rows).usual * steps_of(config, rows)
    macs = 3 * config.batch_size * flops_of(plain, run.inputs.example[:1]) / 2  # backward is twice the forward pass
    return max(LEAST, SHARE * steps * times * (STEP + macs / RATE))


def for_search(run: Run) -> float:
    """The same for the search's supernet."""
    plain = run.inputs.for_search().given_model()
    return affordable(run, plain, run.config.search, PLAIN_EPOCHS)
