"""A supernet in training: coefficients of all sites, a functional loss, two optimisers, the strategy's interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from dashfx.config import SearchConfig
from dashfx.data import Data
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, sites_of
from dashfx.ops.relaxation import Relaxation, SoftGumbel
from dashfx.schedule import fade, geometric
from dashfx.search.cost import expected_cost, load_cost
from dashfx.search.selection import Argmax
from dashfx.task import Task
from dashfx.train import Batch, Learner, derive_seed, make_optimiser

CALIBRATION_BATCHES = 8


class Strategy(ABC):
    """How weights and architecture parameters share a training step."""

    uses_held_out: bool = False

    @abstractmethod
    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        """One step; returns the training loss, detached. `valid_batch` is given where `uses_held_out`."""


class Engine(Learner):
    """Trains a supernet for the fit loop and offers strategies what they need.

    Attributes:
        sites: site name -> AggConv.
        warm: whether the warm-up is over, so that architecture parameters move.
    """

    config: SearchConfig
    keeps_best = False  # the search goes on from its last epoch: the mixture that was best is not the one it settled on

    def __init__(
        self,
        supernet: nn.Module,
        task: Task,
        config: SearchConfig,
        accelerator: Accelerator,
        strategy: Strategy,
        relaxation: Relaxation | None = None,
    ) -> None:
        self.task, self.config, self.accelerator, self.strategy = task, config, accelerator, strategy
        self.sites = sites_of(supernet)
        self.relaxation: Relaxation = relaxation or SoftGumbel(config.tau[0])
        self.model = accelerator.prepare_model(supernet)
        self.alphas = [site.alpha for site in self.sites.values()]
        held = {id(alpha) for alpha in self.alphas}
        self.weights = [p for p in supernet.parameters() if id(p) not in held and p.requires_grad]
        self._weight_optimiser = accelerator.prepare_optimizer(make_optimiser(self.weights, config))
        self._alpha_optimiser = accelerator.prepare_optimizer(_alpha_optimiser(self.alphas, config))
        self._cost = load_cost(config.cost).table(self.sites) if config.cost_weight else {}
        self._generator = torch.Generator(device=accelerator.device)
        self._held_out: Iterator[Batch] | None = None
        self._data: Data | None = None
        self._seed = 0
        self._choices: list[Genotype] = []
        self.warm = False

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"weights": self._weight_optimiser, "alphas": self._alpha_optimiser}

    # ---- what strategies call -------------------------------------------------------------------------------------

    def coefficients(self) -> dict[str, Tensor]:
        """Fresh coefficients of every site, drawn in one batch: site name -> (n_candidates,), with gradient."""
        width = max(len(alpha) for alpha in self.alphas)
        logits = torch.stack([nn.functional.pad(a, (0, width - len(a))) for a in self.alphas])
        mask = torch.stack([nn.functional.pad(s.mask, (0, width - len(s.mask))) for s in self.sites.values()])
        noise = self._generator if self.model.training else None
        rows = self.relaxation(logits, mask, noise)
        return {name: row[: len(site.mask)] for (name, site), row in zip(self.sites.items(), rows, strict=True)}

    def loss(
        self, batch: Batch, params: Mapping[str, Tensor] | None = None, coef: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The loss of a batch as a function of weights and coefficients; those not given are the supernet's own.

        The penalty on the expected cost is part of it.
        """
        x, y = batch
        coef = self.coefficients() if coef is None else coef
        with mixing(self.sites, coef), self.accelerator.autocast():
            output = self.model(x) if params is None else functional_call(self.model, dict(params), (x,))
            loss = self.task.loss(output, y)
        if self._cost and self.warm:
            loss = loss + self.config.cost_weight * expected_cost(self._cost, coef)
        return loss

    def zero_grad(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

    def step_weights(self, loss: Tensor) -> None:
        """Descend on the weights; also leaves gradients on the architecture parameters."""
        self.descend(loss, self._weight_optimiser, self.weights)

    def step_alphas(self) -> None:
        """Descend on the architecture parameters with the gradients that they hold; nothing during the warm-up."""
        if self.warm:
            self._alpha_optimiser.step()
            self.relaxation.after_step(self)

    # ---- what the fit loop calls ----------------------------------------------------------------------------------

    def step(self, batch: Batch) -> Tensor:
        return self.strategy.step(self, batch, self._next_held_out() if self.strategy.uses_held_out else None)

    def begin_epoch(self, epoch: int, seed: int) -> None:
        progress = epoch / self.config.epochs
        self.warm = progress >= self.config.warmup
        if isinstance(self.relaxation, SoftGumbel):
            self.relaxation.tau = geometric(*self.config.tau, progress)
        last = max(1, self.config.epochs - 1)  # by the last epoch, at the latest, nothing of a residual is left
        residual_share = fade(epoch / last, self.config.fade) if self.config.epochs > 1 else 0.0
        for site in self.sites.values():
            site.relaxation = self.relaxation
            site.fade.fill_(residual_share)
        self._generator.manual_seed(derive_seed(seed, "gumbel"))
        self._seed, self._held_out = derive_seed(seed, "held-out"), None

    def training_data(self, data: Data) -> Data:
        """Without the held-out share where the strategy wants one; the split is the same at every epoch."""
        if not self.strategy.uses_held_out:
            return data
        if self._data is None:
            self._data, self._held_data = hold_out(data, self.config.held_out)
        return self._data

    def before_validation(self, data: Data) -> None:
        """Batch-norm statistics of the noise-free mixture: those of training belong to kernels with Gumbel noise."""
        loader = self.training_data(data).loader("train", self.config.batch_size, seed=self._seed)
        batches = (x.to(self.accelerator.device) for x, _ in islice(loader, CALIBRATION_BATCHES))
        recalibrate(self.model, batches)

    def mixtures(self) -> dict[str, tuple[float, str]]:
        tops = {name: site.coefficients().detach().max(0) for name, site in self.sites.items()}
        return {n: (float(top.values), str(self.sites[n].candidates[int(top.indices)])) for n, top in tops.items()}

    def finished(self, epoch: int) -> str | None:
        """Stop when no choice has changed for `patience` epochs that followed the warm-up and the fade."""
        self._choices.append(Argmax().select(self.sites))
        patience, settled = self.config.patience, max(self.config.warmup, self.config.fade) * self.config.epochs
        recent = self._choices[-patience - 1 :]
        if not patience or epoch < settled + patience or any(choice != recent[0] for choice in recent):
            return None
        return f"no choice has changed for {patience} epochs"

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "choices": [choice.to_json() for choice in self._choices]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._choices = [Genotype.from_json(text) for text in state["choices"]]

    def _next_held_out(self) -> Batch:
        """The next batch of the held-out share, round and round."""
        while True:
            if self._held_out is None:
                self._seed = derive_seed(self._seed)
                loader = self._held_data.loader("train", self.config.batch_size, seed=self._seed)
                self._held_out = iter(self.accelerator.prepare_data_loader(loader))
            batch = next(self._held_out, None)
            if batch is not None:
                return batch
            self._held_out = None


@contextmanager
def mixing(sites: Mapping[str, AggConv], coef: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, every site mixes with the given coefficients instead of drawing its own."""
    for name, site in sites.items():
        site.given = coef[name]
    try:
        yield
    finally:
        for site in sites.values():
            site.given = None


def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running batch-norm statistics to the averages over `batches`; weights and train flags stay."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    before, training = [norm.momentum for norm in norms], model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for x in batches:
            model(x)
    model.train(training)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def hold_out(data: Data, share: float) -> tuple[Data, Data]:
    """The data with a share of its train part taken out, and with that share as its train part."""
    order = np.random.default_rng(derive_seed("held-out", len(data.train))).permutation(len(data.train))
    cut = min(max(1, round(share * len(order))), len(order) - 1)
    return replace(data, train=data.train.subset(order[cut:])), replace(data, train=data.train.subset(order[:cut]))


def _alpha_optimiser(alphas: list[nn.Parameter], config: SearchConfig) -> torch.optim.Optimizer:
    if config.alpha_optimizer == "sgd":
        return torch.optim.SGD(alphas, config.alpha_lr, momentum=0.9, nesterov=True, weight_decay=config.weight_decay)
    return torch.optim.Adam(alphas, config.alpha_lr)
