"""A supernet in training: coefficients of all sites, a functional loss, two optimisers, the strategy's interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from dashfx.config.run import SearchConfig
from dashfx.cost.counts import expected_cost, load_cost
from dashfx.data import Data
from dashfx.ops import AggConv, sites_of
from dashfx.ops.relaxations import Relaxation, SoftGumbel
from dashfx.strategies.monitors import Context, Monitor, Prune, Stop, monitors_of
from dashfx.task import Task
from dashfx.train.fit import Batch, Learner, derive_seed
from dashfx.train.processes import spread
from dashfx.train.recipe import make_optimiser
from dashfx.train.schedule import fade, geometric

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
        weights: the sites' own weights and biases, those that candidates were given.
        rest: the other parameters that learn, at `search.lr_rest` of the rate; none with `search.freeze` "unsearched".
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
        monitors: Iterable[Monitor] = (),
    ) -> None:
        self.task, self.config, self.accelerator, self.strategy = task, config, accelerator, strategy
        self.sites = sites_of(supernet)
        self.relaxation: Relaxation = relaxation or SoftGumbel(config.tau[0])
        self.model = spread(supernet, accelerator)
        self._take_parameters()
        self._generator = torch.Generator(device=accelerator.device)
        self._held_out: Iterator[Batch] | None = None
        self._data: Data | None = None
        self._seed = 0
        self._monitors = [*monitors_of(config), *monitors]
        self.warm = False

    def _take_parameters(self) -> None:
        """Sort the supernet's parameters into those that learn, each kind with its optimiser, and those that do not."""
        supernet, config = self.plain, self.config
        self.alphas = [site.alpha for site in self.sites.values()]
        held = {id(alpha) for alpha in self.alphas}
        own = {id(p) for site in self.sites.values() for p in site.parameters()} - held
        learning = [p for p in supernet.parameters() if p.requires_grad]
        self.weights = [p for p in learning if id(p) in own]
        frozen = config.freeze == "unsearched"
        self.rest = [] if frozen else [p for p in learning if id(p) not in own | held]
        weights = make_optimiser(self.weights, config, self.rest, config.lr_rest)
        self._weight_optimiser = self.accelerator.prepare_optimizer(weights)
        self._alpha_optimiser = self.accelerator.prepare_optimizer(_alpha_optimiser(self.alphas, config))
        self._cost = load_cost(config.cost).table(self.sites) if config.cost_weight else {}

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
            loss = self.task.loss(convert_to_fp32(output), y)
        if self._cost and self.warm:
            loss = loss + self.config.cost_weight * expected_cost(self._cost, coef)
        return loss

    def zero_grad(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

    def step_weights(self, loss: Tensor) -> None:
        """Descend on the weights; also leaves gradients on the architecture parameters."""
        self.descend(loss, self._weight_optimiser, [*self.weights, *self.rest])

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
        for site in self.sites.values():
            site.relaxation = self.relaxation
        self.begin_step(progress)
        self._generator.manual_seed(derive_seed(seed, "gumbel"))
        self._seed, self._held_out = derive_seed(seed, "held-out"), None

    def begin_step(self, progress: float) -> None:
        """What is left of the residual kernels: a little less at every step, nothing from the last epoch on."""
        epochs = self.config.epochs
        share = fade(progress * epochs / (epochs - 1), self.config.fade) if epochs > 1 else 0.0
        for site in self.sites.values():
            if site.residual is not None:
                site.fade.fill_(share)

    def train_mode(self) -> None:
        """With `search.freeze` "unsearched", batch norm keeps the statistics that it came with."""
        super().train_mode()
        if self.config.freeze == "unsearched":
            for norm in _norms(self.model):
                norm.eval()

    def training_data(self, data: Data) -> Data:
        """Without the held-out share where the strategy wants one; the split is the same at every epoch."""
        if not self.strategy.uses_held_out:
            return data
        if self._data is None:
            self._data, self._held_data = hold_out(data, self.config.held_out)
        return self._data

    def before_validation(self, data: Data) -> None:
        """Batch-norm statistics of the noise-free mixture: those of training belong to kernels with Gumbel noise."""
        if self.config.freeze == "unsearched":
            return
        loader = self.training_data(data).loader("train", self.config.batch_size, seed=self._seed, drop_last=True)
        batches = (x.to(self.accelerator.device) for x, _ in islice(loader, CALIBRATION_BATCHES))
        recalibrate(self.plain, batches)

    def mixtures(self) -> dict[str, tuple[float, str]]:
        tops = {name: site.coefficients().detach().max(0) for name, site in self.sites.items()}
        return {n: (float(top.values), str(self.sites[n].candidates[int(top.indices)])) for n, top in tops.items()}

    def finished(self, epoch: int) -> str | None:
        """Do what the monitors ask for: candidates leave, or the search stops."""
        settled = epoch - max(self.config.warmup, self.config.fade) * self.config.epochs
        ctx = Context(self.sites, epoch, self.warm, settled)
        actions = [action for monitor in self._monitors for action in monitor.on_epoch(ctx)]
        gone = {(action.site, action.candidate) for action in actions if isinstance(action, Prune)}
        for name in sorted({name for name, _ in gone}):
            candidates = self.sites[name].candidates
            self.keep(name, [i for i, candidate in enumerate(candidates) if (name, candidate) not in gone])
        return next((action.reason for action in actions if isinstance(action, Stop)), None)

    def decisions(self) -> Iterable[Tensor]:
        """The architecture parameters, and which candidates are left."""
        return (each for site in self.sites.values() for each in (site.alpha, site.mask, site.kept))

    def keep(self, name: str, indices: Sequence[int]) -> None:
        """Only these candidates of a site stay; the optimisers go on with what they knew of them."""
        site, before = self.sites[name], self.sites[name].alpha
        known = {optimiser: dict(self.optimisers[optimiser].state) for optimiser in self.optimisers}
        site.keep(indices)
        self._renew()
        moments = known["alphas"].pop(before, {})
        known["alphas"][site.alpha] = {k: v[list(indices)] if v.ndim else v for k, v in moments.items()}
        for optimiser, state in known.items():
            for group in self.optimisers[optimiser].param_groups:
                own = {p: state[p] for p in group["params"] if state.get(p)}
                self.optimisers[optimiser].state.update(own)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "monitors": [monitor.state_dict() for monitor in self._monitors]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.plain.load_state_dict(state["model"])  # some candidates may leave
        self._renew()
        super().load_state_dict(state)
        for monitor, own in zip(self._monitors, state["monitors"], strict=True):
            monitor.load_state_dict(own)

    def _renew(self) -> None:
        """Wrapper and optimisers for the parameters that there are now: both know only those that they were made of."""
        if self.accelerator.num_processes > 1:
            self.model = spread(self.plain, self.accelerator)
        self._take_parameters()

    def _next_held_out(self) -> Batch:
        """The next batch of the held-out share, round and round."""
        while True:
            if self._held_out is None:
                self._seed = derive_seed(self._seed)
                loader = self._held_data.loader("train", self.config.batch_size, seed=self._seed, drop_last=True)
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
    norms = _norms(model)
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


def _norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def hold_out(data: Data, share: float) -> tuple[Data, Data]:
    """The data with a share of its train part taken out, and with that share as its train part; records stay whole."""
    train, records = data.train, data.train.units
    units = np.arange(len(train)) if records is None else np.unique(records)
    order = units[np.random.default_rng(derive_seed("held-out", len(train))).permutation(len(units))]
    cut = min(max(1, round(share * len(order))), len(order) - 1)
    rows = [each if records is None else np.flatnonzero(np.isin(records, each)) for each in (order[cut:], order[:cut])]
    kept, held = (replace(data, train=train.subset(each)) for each in rows)
    return kept, held


def _alpha_optimiser(alphas: list[nn.Parameter], config: SearchConfig) -> torch.optim.Optimizer:
    if config.alpha_optimizer == "sgd":
        return torch.optim.SGD(alphas, config.alpha_lr, momentum=0.9, nesterov=True, weight_decay=config.weight_decay)
    return torch.optim.Adam(alphas, config.alpha_lr)
