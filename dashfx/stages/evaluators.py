"""Evaluators: what a genotype is worth to a proxy, a trained supernet, a short training or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dashfx.blackbox.genomes import GenotypeSpace, Listed, Space, kernels_apart
from dashfx.blackbox.genotype_table import GenotypeTable
from dashfx.data import Data
from dashfx.errors import GenotypeError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.options.morph import steps_of
from dashfx.passes.morphisms import morphed
from dashfx.plugins import Count
from dashfx.proxy import Proxy
from dashfx.proxy.named import PROXIES, load_proxy
from dashfx.proxy.peers.flatness import flatness
from dashfx.run.inputs import Inputs
from dashfx.strategies.base import Context, Evaluating, Evaluator
from dashfx.strategies.engine import Engine, mixing
from dashfx.strategies.gradient import Gradient
from dashfx.strategies.rules.base import one_hot
from dashfx.strategies.start.transfer import transferred
from dashfx.supernet import specialise
from dashfx.train.batchnorm import CALIBRATION_BATCHES, recalibrate
from dashfx.train.fit import derive_seed, validate, validate_with_loss


@dataclass(frozen=True)
class ByProxy(Evaluator):
    """What a proxy says of the untrained model with the genotype's kernels, each drawn by the same seed.

    Args:
        proxy: its name, or `file.py:Class`, or a Proxy; one that is named has the run's seed.
        batch_size: how many rows of the train part it sees.
    """

    proxy: Any = "gennas"
    batch_size: Count = 16

    @property
    def name(self) -> str:
        return self.proxy.name if isinstance(self.proxy, Proxy) else str(self.proxy)

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        proxy = load_proxy(self.proxy, context.config.seed)
        batch = proxy_batch(context.data, self.batch_size, context.config.seed)
        return _Scoring(context, proxy, batch)


class _Scoring(Evaluating):
    def __init__(self, context: Context, proxy: Proxy, batch: tuple[Tensor, ...]) -> None:
        self._context, self._proxy, self._batch, self.maximise = context, proxy, batch, proxy.maximise

    def value(self, genotype: Genotype) -> float:
        model = self._context.model_of(genotype).to(self._context.accelerator.device)
        return self._proxy.score(model, self._batch)


@dataclass(frozen=True)
class ByTraining(Evaluator):
    """The best metric on the validation part over a few epochs of the retraining's recipe."""

    epochs: Count = 3
    name: ClassVar[str] = "train"
    takes_fidelity: ClassVar[bool] = True

    @property
    def trains(self) -> int:  # type: ignore[override]
        return self.epochs

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        return _Training(context, self.epochs)


class _Training(Evaluating):
    def __init__(self, context: Context, epochs: int) -> None:
        self._context, self.maximise = context, context.task.maximise
        self._epochs, self._options = epochs, context.config.retrain

    def value(self, genotype: Genotype) -> float:
        return self.values([genotype])[0]

    def values(self, genotypes: Sequence[Genotype]) -> list[float]:
        return self.values_at(genotypes, 1.0)

    def values_at(self, genotypes: Sequence[Genotype], fidelity: float) -> list[float]:
        epochs = max(1, round(self._epochs * fidelity))
        return self._context.trained_values(genotypes, self._options.model_copy(update={"epochs": epochs}))


@dataclass(frozen=True)
class BySupernet(Evaluator):
    """The metric on the validation part with one candidate a site at coefficient one and the weights that all share.

    Batch-norm statistics are those of this genotype, from a few batches of the train part. With `metric=flatness` it is
    how flat the validation loss is around these weights (GeNAS, see `dashfx.proxy.peers.flatness`).

    Args:
        training: how the supernet is trained.
        metric: the task's own, or the flatness.
    """

    training: Gradient = field(default_factory=Gradient)
    metric: Literal["task", "flatness"] = "task"

    @property
    def name(self) -> str:
        return "supernet" if self.metric == "task" else "flatness of supernet"

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        assert engine is not None  # whoever asks this evaluator trains first
        return _Sharing(context, engine) if self.metric == "task" else _Flat(context, engine)


class _Sharing(Evaluating):
    def __init__(self, context: Context, engine: Engine) -> None:
        self._context, self._engine, self.maximise = context, engine, context.task.maximise

    def value(self, genotype: Genotype) -> float:
        data, engine = self._context.data, self._engine
        loader = data.loader("train", engine.config.batch_size, seed=self._context.config.seed, drop_last=True)
        device = engine.accelerator.device
        with mixing(engine.sites, one_hot(engine.sites, genotype)):
            recalibrate(engine.plain, (x.to(device) for x, _ in islice(loader, CALIBRATION_BATCHES)))
            return self._measure()

    def _measure(self) -> float:
        return validate(self._engine, self._context.data)


class _Flat(_Sharing):
    def __init__(self, context: Context, engine: Engine) -> None:
        super().__init__(context, engine)
        self.maximise = True

    def _measure(self) -> float:
        logits = {id(alpha) for alpha in self._engine.alphas}
        weights = [p for p in self._engine.plain.parameters() if id(p) not in logits]
        seed = derive_seed(self._context.config.seed, "flatness")
        return flatness(lambda: validate_with_loss(self._engine, self._context.data)[1], weights, seed)


@dataclass(frozen=True)
class ByTable(Evaluator):
    """What a table says, FILE.json, FILE.csv or another run's FILE.jsonl; of what it holds alone.

    Raises:
        GenotypeError: a file that is no table; when it begins, a table of another model or space.
    """

    path: str

    paper: ClassVar[str] = "Dong and Yang, NAS-Bench-201, ICLR 2020"
    row: ClassVar[str] = "42"

    def __post_init__(self) -> None:
        GenotypeTable.load(self.path)

    @property
    def name(self) -> str:
        return Path(self.path).name

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        return _Reading(GenotypeTable.load(self.path), context.sites, self.path)


class _Reading(Evaluating):
    def __init__(self, table: GenotypeTable, sites: Mapping[str, AggConv], path: str) -> None:
        self.maximise = table.maximise
        self._values = {bound(genotype, sites, path): value for genotype, value in table.values.items()}

    def value(self, genotype: Genotype) -> float:
        return self._values[genotype]

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        return Listed(tuple(self._values), GenotypeSpace.of(sites), kernels_apart)


EVALUATORS: dict[str, Any] = {
    "supernet": BySupernet,
    "train": ByTraining,
    "proxy": ByProxy,
    ".json": ByTable,
    ".csv": ByTable,
    ".jsonl": ByTable,
    **{name: partial(ByProxy, name) for name in PROXIES},
}


def specialised_by(inputs: Inputs, genotype: Genotype, use: str) -> nn.Module:
    """The genotype's model without a supernet, from the checkpoint's kernels or from fresh weights.

    Args:
        use: what the weights are for; fresh ones are drawn by the run's seed and this word.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(inputs.config.seed, use))
        model, example, fresh = inputs.start_model(), inputs.example, inputs.starts_fresh
        if inputs.config.retrain.transfer:
            genotype = transferred(genotype, trace(model, example).sites)
        model = specialise(model, example, genotype, "fresh" if fresh else "grow")
        return morphed(model, example, steps_of(genotype.others), fresh)


def proxy_batch(data: Data, rows: int, seed: int) -> tuple[Tensor, ...]:
    """The rows of the train part that a proxy sees: inputs, and their labels where they are classes."""
    x, y = next(iter(data.loader("train", rows, seed=seed)))
    return (x, y) if data.kind == "classes" else (x,)


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
