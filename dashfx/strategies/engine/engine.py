"""Engine, a supernet in training: coefficients of all sites, a functional loss, two optimisers, and `Update`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn
from torch.func import functional_call

from dashfx.config.search import SearchConfig
from dashfx.cost.budgets import Limits
from dashfx.data import Data
from dashfx.ops import AggConv, sites_of
from dashfx.ops.mixture import Sampled
from dashfx.ops.relaxations import Progress, Relaxation, SoftGumbel
from dashfx.ops.ties import logits_of
from dashfx.plugins import find
from dashfx.strategies.engine.changes import Changing
from dashfx.strategies.engine.held_out import hold_out
from dashfx.strategies.monitors import Context, Monitor, monitors_of
from dashfx.strategies.terms import ExpectedCost, Moment, Part, Term
from dashfx.strategies.updates.base import Update
from dashfx.strategies.updates.frank_wolfe import FrankWolfe
from dashfx.task import Task
from dashfx.train.batchnorm import CALIBRATION_BATCHES, norms_of, recalibrate
from dashfx.train.fit import Batch, derive_seed
from dashfx.train.processes import spread, stepping
from dashfx.train.progress import Epoch
from dashfx.train.recipe import make_optimiser
from dashfx.train.schedule import fade


class Engine(Changing):
    """Trains a supernet for the fit loop and offers updates, terms and monitors what they need.

    Its parts are copies of those given: what they remember belongs to this search, and to its checkpoints.

    Attributes:
        sites: site name -> AggConv.
        weights: the sites' own weights and biases, those that candidates were given.
        rest: the other parameters that learn, at `search.lr_rest` of the rate; none with `search.freeze` "unsearched".
        warm: whether the warm-up is over, so that architecture parameters move.
        limits: what the chosen model may cost; None where there is no budget.
        holds_out: whether a share of the training part is held out from the weights.
    """

    keeps_best = False  # the search goes on from its last epoch: the mixture that was best is not the one it settled on

    def __init__(
        self,
        supernet: nn.Module,
        task: Task,
        config: SearchConfig,
        accelerator: Accelerator,
        update: Update,
        relaxation: Relaxation | None = None,
        monitors: Iterable[Monitor] = (),
        terms: Iterable[Term] = (),
        limits: Limits | None = None,
    ) -> None:
        self.task, self.config, self.accelerator, self.limits = task, config, accelerator, limits
        self.update = copy.deepcopy(update)
        self.sites = sites_of(supernet)
        self.relaxation: Relaxation = copy.deepcopy(relaxation) or SoftGumbel(*config.tau)
        self._monitors = copy.deepcopy([*monitors_of(config), *monitors])
        self._cost = ExpectedCost(config.cost, config.cost_weight)  # the shorthand of `search.cost`
        self._terms: list[Term] = [self._cost, *copy.deepcopy([*terms])]
        self.holds_out = self.update.uses_held_out or any(monitor.uses_held_out for monitor in self._monitors)
        self._begin_changes()
        self.model = spread(supernet, accelerator, self.relaxation.sampled)
        self._take_parameters()
        self._generator = torch.Generator(device=accelerator.device)
        self._held_out: Iterator[Batch] | None = None
        self._data: Data | None = None
        self._seed = 0
        self.warm = False
        self.update.begin(self)
        for monitor in self._monitors:
            monitor.begin(self)

    def _take_parameters(self) -> None:
        """Sort the supernet's parameters into those that learn, each kind with its optimiser, and those that do not."""
        supernet, config = self.plain, self.config
        self.alphas = [site.alpha for site in self.sites.values()]
        for site in self.sites.values():
            site.relaxation = self.relaxation
        held = {id(alpha) for alpha in self.alphas}
        own = {id(p) for site in self.sites.values() for p in site.parameters()} - held
        learning = [p for p in supernet.parameters() if p.requires_grad]
        self.weights = [p for p in learning if id(p) in own]
        frozen = config.freeze == "unsearched"
        self.rest = [] if frozen else [p for p in learning if id(p) not in own | held]
        weights = make_optimiser(self.weights, config, self.rest, config.lr_rest)
        self._weight_optimiser = stepping(weights, self.accelerator)
        alphas = find("alpha optimiser", config.alpha_optimizer)(self.alphas, config)
        if isinstance(alphas, FrankWolfe):
            alphas.attach(self)
        self._alpha_optimiser = stepping(alphas, self.accelerator)
        self.relaxation.attach(self)
        for term in self._terms:
            if term.weight:
                term.begin(self)

    @property
    def terms(self) -> list[Term]:
        """Those of the loss beside `search.cost`."""
        return self._terms[1:]

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"weights": self._weight_optimiser, "alphas": self._alpha_optimiser}

    @property
    def generator(self) -> torch.Generator:
        """Of the noise, seeded anew for every epoch, alike in all processes."""
        return self._generator

    # ---- what updates call ---------------------------------------------------------------------------------------

    def coefficients(self) -> dict[str, Tensor]:
        """Fresh coefficients of every site, drawn in one batch: site name -> (n_candidates,), with gradient."""
        width = max(len(alpha) for alpha in self.alphas)
        logits = torch.stack([nn.functional.pad(a, (0, width - len(a))) for a in logits_of(self.sites)])
        mask = torch.stack([nn.functional.pad(s.mask, (0, width - len(s.mask))) for s in self.sites.values()])
        noise = self._generator if self.model.training else None
        rows = self.relaxation(logits, mask, noise)
        return {name: row[: len(site.mask)] for (name, site), row in zip(self.sites.items(), rows, strict=True)}

    def loss(
        self,
        batch: Batch,
        params: Mapping[str, Tensor] | None = None,
        coef: Mapping[str, Tensor] | None = None,
        part: Part = "both",
    ) -> Tensor:
        """The loss of a batch as a function of weights and coefficients; those not given are the supernet's own.

        The search's terms are part of it, such as the penalty on the expected cost. Where coefficients are drawn here,
        by a relaxation that samples, each site computes one candidate alone.

        Args:
            part: what its gradient is to move; terms of the other part are left out.
        """
        x, y = batch
        sampled, coef = coef is None and self.relaxation.sampled, self.coefficients() if coef is None else coef
        with mixing(self.sites, sampled_of(coef) if sampled else coef), self.accelerator.autocast():
            output = self.model(x) if params is None else functional_call(self.model, dict(params), (x,))
            loss = self.task.loss(convert_to_fp32(output), y)
        for term in self._terms:
            if term.weight and (self.warm or term.part == "weights") and {part, term.part} != {"weights", "alphas"}:
                loss = loss + term.weight * term(Moment(self, batch, output, coef, part))
        return loss

    def answer(self, x: Tensor, coef: Mapping[str, Tensor | Sampled | int]) -> Tensor:
        """The output with these coefficients, or with one candidate a site, in full precision."""
        with mixing(self.sites, coef):
            return self.call(x)

    def zero_grad(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

    def step_weights(self, loss: Tensor | None = None) -> None:
        """Descend on the weights, with the gradients that they hold where no loss is given.

        A loss also leaves gradients on the architecture parameters.
        """
        self.descend(loss, self._weight_optimiser, [*self.weights, *self.rest])

    def step_alphas(self) -> None:
        """Descend on the architecture parameters with the gradients that they hold; nothing during the warm-up."""
        if self.warm:
            self.update.before_alphas(self)
            self._alpha_optimiser.step()
            self.relaxation.after_step(self)

    # ---- what the fit loop calls ----------------------------------------------------------------------------------

    def step(self, batch: Batch) -> Tensor:
        return self.update.step(self, batch, self._next_held_out() if self.update.uses_held_out else None)

    def begin_epoch(self, epoch: int, seed: int) -> None:
        progress = epoch / self.config.epochs
        self.warm = progress >= self.config.warmup
        self.relaxation.begin(self.progress(epoch))
        self.begin_step(progress)
        self._generator.manual_seed(derive_seed(seed, "gumbel"))
        self._seed, self._held_out = derive_seed(seed, "held-out"), None

    def progress(self, epoch: int) -> Progress:
        """How far the search is when this epoch begins, for the relaxation."""
        return Progress(epoch, epoch / self.config.epochs, self.warm)

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
            for norm in norms_of(self.model):
                norm.eval()

    def training_data(self, data: Data) -> Data:
        """Without the held-out share where a part of the search wants one; the split is the same at every epoch."""
        if not self.holds_out:
            return data
        if self._data is None:
            self._data, self._held_data = hold_out(data, self.config.held_out)
        return self._data

    def held_batch(self) -> Batch:
        """The same rows of the held-out share at every call, a batch of them at most."""
        rows = range(min(self.config.batch_size, len(self._held_data.train)))
        x, y = self._held_data.train.__getitems__(list(rows))
        return x.to(self.accelerator.device), y.to(self.accelerator.device)

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

    def finished(self, epoch: int, history: Sequence[Epoch] = ()) -> str | None:
        """Tell terms and monitors of the epoch, and do what the monitors ask for."""
        for term in self._terms:
            term.after_epoch(self)
        settled = epoch - max(self.config.warmup, self.config.fade) * self.config.epochs
        ctx = Context(self.sites, epoch, self.warm, settled, self, history)
        return self.act([action for monitor in self._monitors for action in monitor.on_epoch(ctx)])

    def fork(self, kept: Mapping[str, Sequence[int]] | None = None) -> Engine:
        """A search of its own that goes on from here: all that this one has learned and remembers is copied.

        Args:
            kept: site name -> the candidates that it goes on with, by place; all of a site that is not named.
        """
        own = self._monitors[len(monitors_of(self._given)) :]
        model = copy.deepcopy(self.plain)
        child = Engine(model, self.task, self._given, self.accelerator, self.update, self.relaxation, own, self.terms)
        child.load_state_dict(copy.deepcopy(self.state_dict()))
        child._generator.set_state(self._generator.get_state())
        child.warm, child.holds_out, child._seed = self.warm, self.holds_out, self._seed
        child.model.train(self.model.training)
        for name, indices in (kept or {}).items():
            child.keep(name, indices)
        return child

    def decisions(self) -> Iterable[Tensor]:
        """The architecture parameters, and which candidates are left."""
        return (each for site in self.sites.values() for each in (site.alpha, site.mask, site.kept))

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "monitors": [monitor.state_dict() for monitor in self._monitors],
            "terms": [term.state_dict() for term in self._terms],
            "relaxation": self.relaxation.state_dict(),
            "update": self.update.state_dict(),
            "changes": self._changes,
            "returns": self._returns,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Earlier versions kept no state but that of monitors."""
        self.plain.load_state_dict(state["model"])  # some candidates may leave
        self._take_changes(state.get("changes", {}))
        self._renew()
        super().load_state_dict(state)
        for monitor, own in zip(self._monitors, state["monitors"], strict=True):
            monitor.load_state_dict(own)
        for term, own in zip(self._terms, state.get("terms", [{}] * len(self._terms)), strict=True):
            term.load_state_dict(own)
        for part, own in ((self.relaxation, state.get("relaxation")), (self.update, state.get("update"))):
            if own is not None:
                part.load_state_dict(own)
        self._returns = [(epoch, dict(changes)) for epoch, changes in state.get("returns", ())]

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


def sampled_of(coef: Mapping[str, Tensor]) -> dict[str, Sampled]:
    """Of each site the candidate of the largest coefficient; the host waits for all sites once."""
    places = torch.stack([row.detach().argmax() for row in coef.values()]).tolist()
    return {name: Sampled.of(row, place) for (name, row), place in zip(coef.items(), places, strict=True)}


@contextmanager
def mixing(sites: Mapping[str, AggConv], coef: Mapping[str, Tensor | Sampled | int]) -> Iterator[None]:
    """Inside, every site mixes with the given coefficients, or computes one candidate, instead of drawing its own."""
    for name, site in sites.items():
        site.given = coef[name]
    try:
        yield
    finally:
        for site in sites.values():
            site.given = None
