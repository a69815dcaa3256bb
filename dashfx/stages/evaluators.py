"""A run and a genotype go in; what it is worth to a proxy, a supernet, a short training or a table comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from dashfx.blackbox.genomes import GenotypeSpace, Listed, Space, kernels_apart
from dashfx.data import Data
from dashfx.errors import DivergedError, GenotypeError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, sites_of
from dashfx.proxy import Proxy
from dashfx.proxy.named import load_proxy
from dashfx.run.inputs import Inputs
from dashfx.run.preflight import SUPERNET, TABLES, TRAIN
from dashfx.run.run import Run
from dashfx.strategies.engine import CALIBRATION_BATCHES, Engine, mixing, recalibrate
from dashfx.strategies.genotype_table import GenotypeTable
from dashfx.supernet import specialise
from dashfx.train.fit import Supervised, derive_seed, fit, validate


class Evaluator(ABC):
    """A number per genotype.

    Attributes:
        maximise: whether larger values are better.
    """

    name: str
    maximise: bool

    @abstractmethod
    def value(self, genotype: Genotype) -> float:
        """The same at every call; not a finite number where the genotype could not be evaluated."""

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        """The genotypes that can be evaluated."""
        return GenotypeSpace.of(sites)


class ByProxy(Evaluator):
    """What a proxy says of the untrained model with the genotype's kernels, each drawn by the same seed."""

    def __init__(self, inputs: Inputs, proxy: Proxy, device: torch.device) -> None:
        self._inputs, self._proxy, self._device = inputs, proxy, device
        self._batch = proxy_batch(inputs.data, inputs.config.blackbox.batch_size, inputs.config.seed)
        self.name, self.maximise = proxy.name, proxy.maximise

    def value(self, genotype: Genotype) -> float:
        model = specialised_by(self._inputs, genotype, "evaluate").to(self._device)
        return self._proxy.score(model, self._batch)


class ByTraining(Evaluator):
    """The best metric on the validation part over a few epochs of the retraining's recipe."""

    name = TRAIN

    def __init__(self, inputs: Inputs, accelerator: Accelerator) -> None:
        self._inputs, self._accelerator, self.maximise = inputs, accelerator, inputs.task.maximise
        config = inputs.config
        self._options = config.retrain.model_copy(update={"epochs": config.blackbox.epochs})

    def value(self, genotype: Genotype) -> float:
        inputs = self._inputs
        model = specialised_by(inputs, genotype, "evaluate")
        learner = Supervised(model, inputs.task, self._options, self._accelerator)
        try:
            return fit(learner, inputs.data, stage="evaluate", seed=inputs.config.seed).best
        except DivergedError:
            return float("nan")


class BySupernet(Evaluator):
    """The metric on the validation part with one candidate a site at coefficient one and the weights that all share.

    Batch-norm statistics are those of this genotype, from a few batches of the train part.
    """

    name = SUPERNET

    def __init__(self, inputs: Inputs, engine: Engine) -> None:
        self._inputs, self._engine, self.maximise = inputs, engine, inputs.task.maximise

    def value(self, genotype: Genotype) -> float:
        data, engine = self._inputs.data, self._engine
        loader = data.loader("train", engine.config.batch_size, seed=self._inputs.config.seed, drop_last=True)
        device = engine.accelerator.device
        with mixing(engine.sites, one_hot(engine.sites, genotype)):
            recalibrate(engine.plain, (x.to(device) for x, _ in islice(loader, CALIBRATION_BATCHES)))
            return validate(engine, data)


class ByTable(Evaluator):
    """What a table says; only the genotypes that it holds can be evaluated.

    Raises:
        GenotypeError: a table of another model or space, or a file that is none.
    """

    def __init__(self, path: str, sites: Mapping[str, AggConv]) -> None:
        table = GenotypeTable.load(path)
        self.name, self.maximise = Path(path).name, table.maximise
        self._values = {bound(genotype, sites, path): value for genotype, value in table.values.items()}

    def value(self, genotype: Genotype) -> float:
        return self._values[genotype]

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        return Listed(tuple(self._values), GenotypeSpace.of(sites), kernels_apart)


def load_evaluator(name: str, run: Run, supernet: nn.Module) -> Evaluator:
    """The evaluator of that name, other than "supernet", which needs trained weights.

    Raises:
        DashfxError: no evaluator of that name, or a table that does not fit the model.
    """
    if name == ByTraining.name:
        return ByTraining(run.inputs, run.session.accelerator)
    if name.endswith(TABLES):
        return ByTable(name, sites_of(supernet))
    return ByProxy(run.inputs, load_proxy(name, run.config.seed), run.session.accelerator.device)


def specialised_by(inputs: Inputs, genotype: Genotype, use: str) -> nn.Module:
    """The genotype's model without a supernet, from the checkpoint's kernels or from fresh weights.

    Args:
        use: what the weights are for; fresh ones are drawn by the run's seed and this word.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(inputs.config.seed, use))
        model, example = inputs.start_model(), inputs.example
        return specialise(model, example, genotype, "fresh" if inputs.starts_fresh else "grow")


def proxy_batch(data: Data, rows: int, seed: int) -> tuple[Tensor, ...]:
    """The rows of the train part that a proxy sees: inputs, and their labels where they are classes."""
    x, y = next(iter(data.loader("train", rows, seed=seed)))
    return (x, y) if data.kind == "classes" else (x,)


def one_hot(sites: Mapping[str, AggConv], genotype: Genotype) -> dict[str, Tensor]:
    """Coefficients (n_candidates,) a site: one for the genotype's choice."""
    coefficients = {}
    for name, site in sites.items():
        coefficients[name] = torch.zeros_like(site.alpha.detach())
        coefficients[name][site.candidates.index(genotype[name])] = 1
    return coefficients


def bound(genotype: Genotype, sites: Mapping[str, AggConv], path: str) -> Genotype:
    """The genotype with as many axes a choice as the model's sites have.

    Raises:
        GenotypeError: other sites, or a choice that is no candidate.
    """
    if set(genotype) != set(sites):
        other = sorted(set(genotype) ^ set(sites))[0]
        raise GenotypeError(f"table {path!r}: its genotypes are of another model or selection of sites ({other!r})")
    choices = {name: genotype[name].for_ndim(site.ndim) for name, site in sites.items()}
    for name, site in sites.items():
        if choices[name] not in site.candidates:
            raise GenotypeError(
                f"table {path!r}: {choices[name]} is not a candidate of site {name!r}; search in the table's own space"
            )
    return Genotype(choices)
