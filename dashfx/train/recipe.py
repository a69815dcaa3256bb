"""Recipe of a training: the optimiser, and the model as its options want it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.config.run import RetrainConfig
from dashfx.config.search import FitConfig
from dashfx.plugins import Share, find
from dashfx.train.optimisers import lion, swats
from dashfx.train.schedule import schedule_of

Groups = list[dict[str, Any]]  # of parameters, each with its decay and its share of the learning rate


def check_recipe(config: FitConfig) -> None:
    """Whether the optimiser and the schedule are there.

    Raises:
        ConfigError: no such name, or an argument that it does not take.
    """
    find("weight optimiser", config.optimizer)
    schedule_of(config)


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the weight's axes


def prepared(model: nn.Module, config: RetrainConfig) -> nn.Module:
    """The model with the dropout and the memory layout that the options ask for, in place."""
    if config.dropout is not None:
        for module in dropouts(model):
            module.p = config.dropout
    if config.channels_last:
        for parameter in model.parameters():
            if parameter.ndim in CHANNELS_LAST:  # a conv with such weights answers in their layout
                parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
    return model


def dropouts(model: nn.Module) -> list[nn.Dropout]:
    """The layers whose probability `retrain.dropout` sets."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    return [module for module in model.modules() if isinstance(module, kinds)]  # type: ignore[misc]


def make_optimiser(
    parameters: Iterable[Tensor], config: FitConfig, gentle: Iterable[Tensor] = (), share: float = 1.0
) -> torch.optim.Optimizer:
    """What `optimizer` names, over groups of parameters; biases, norms and other vectors carry no weight decay.

    Args:
        gentle: further parameters, whose learning rate is this `share` of the others'.
    """
    groups = [*_groups(parameters, config, 1.0), *_groups(gentle, config, share)]
    made: torch.optim.Optimizer = find("weight optimiser", config.optimizer)(groups, config)
    return made


def sgd(groups: Groups, config: FitConfig) -> torch.optim.Optimizer:
    """With Nesterov momentum."""
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def adam(groups: Groups, config: FitConfig, *, beta2: Share = 0.999) -> torch.optim.Optimizer:
    """With `momentum` as beta1."""
    return torch.optim.Adam(groups, lr=config.lr, betas=(config.momentum, beta2))


def adamw(groups: Groups, config: FitConfig, *, beta2: Share = 0.999) -> torch.optim.Optimizer:
    """Adam with the decay apart from the gradients."""
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, beta2))


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "lion": lion,
    "swats": swats,
}


def _groups(parameters: Iterable[Tensor], config: FitConfig, share: float) -> Groups:
    parameters = list(parameters)
    decayed = [p for p in parameters if p.ndim > 1], config.weight_decay
    vectors = [p for p in parameters if p.ndim <= 1], 0.0
    return [{"params": own, "weight_decay": decay, "share": share} for own, decay in (decayed, vectors) if own]
