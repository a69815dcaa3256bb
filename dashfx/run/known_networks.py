"""Known networks: what builds each model of a spec, table or folder of runs, and their results by name."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.errors import ModelError, ProxyError, RunFolderError, did_you_mean
from dashfx.frontend.model import ModelSource, build, load_model
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.proxy.gennas.task_search import KnownNetworks
from dashfx.run.folder import RunFolder, existing_folder, read_facts, reading
from dashfx.space import SearchSpace
from dashfx.supernet import rewrite, specialise

Build = Callable[[], nn.Module]
TIMM = "timm:"


def builder(spec: str, args: Mapping[str, Any] | None = None) -> Build:
    """What builds the model that `spec` names: `file.py:Class`, `package.module:Class` or `timm:name`, untrained.

    Raises:
        ModelError: no such model, or timm is asked for and not installed.
    """
    return _of_timm(spec.removeprefix(TIMM), args or {}) if spec.startswith(TIMM) else load_model(spec, args).build


def _of_timm(name: str, args: Mapping[str, Any]) -> Build:
    try:
        import timm
    except ImportError:
        raise ModelError(f"model {TIMM}{name}: timm is not installed here; pip install timm, or name a file") from None
    if not timm.is_model(name):
        raise ModelError(f"timm has no model {name!r}{did_you_mean(name, timm.list_models())}")
    return lambda: timm.create_model(name, pretrained=False, **args)


def variants(
    source: ModelSource, genotypes: Mapping[str, Genotype], example: Tensor, seed: int = 0
) -> dict[str, Build]:
    """What builds the model with each genotype's kernels, all weights drawn anew; one size stands for every axis."""

    def make(genotype: Genotype) -> Build:
        per_axis = Genotype({name: choice.for_ndim(example.ndim - 2) for name, choice in genotype.items()})
        return lambda: specialise(build(source, seed), example, per_axis, "fresh")

    return {name: make(genotype) for name, genotype in genotypes.items()}


def sampled(model: nn.Module, example: Tensor, space: SearchSpace, count: int, seed: int) -> dict[str, Genotype]:
    """The untouched model's genotype, and `count` random ones by number, all different where the space has so many.

    Raises:
        ModelError: there is nothing to search.
        SpaceError: no candidate fits a site.
    """
    sites = sites_of(rewrite(model, example, space, "fresh"))
    untouched = Genotype({name: site.original for name, site in sites.items()})
    drawn = RandomSearch().begin(GenotypeSpace.of(sites), torch.Generator().manual_seed(seed)).ask(count + 1)
    others = dict.fromkeys(proposal.genome for proposal in drawn if proposal.genome != untouched)
    return {"untouched": untouched, **{str(i + 1): genotype for i, genotype in enumerate([*others][:count])}}


def read_results(path: str | Path, column: str | None = None) -> dict[str, float]:
    """Results by the name in a CSV's first column; an empty cell is left out.

    Args:
        column: the header of the results; the last column where not given.

    Raises:
        ProxyError: a file that cannot be read, no such column, or a cell that is no number.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError) as error:
        raise ProxyError(f"results {str(path)!r} cannot be read: {error}") from None
    heads = list(rows[0]) if rows else []
    if len(heads) < 2:
        raise ProxyError(f"results {str(path)!r}: write a header and rows, names first, such as model,accuracy")
    wanted = column or heads[-1]
    if wanted not in heads:
        raise ProxyError(f"results {str(path)!r} have no column {wanted!r}{did_you_mean(wanted, heads)}")
    return {row[heads[0]]: _number(row[wanted], path, wanted) for row in rows if row[wanted].strip()}


def known_models(path: str | Path, example: Tensor, column: str | None = None, maximise: bool = True) -> KnownNetworks:
    """Networks of known quality: from a CSV whose first column names models, or from a folder of runs.

    Args:
        example: inputs (batch, channels, *size) that the models of runs take.
        maximise: whether larger results in the CSV are better; runs tell by themselves.

    Raises:
        DashfxError: a model that cannot be found, a result that is no number, or no runs in the folder.
    """
    if Path(path).is_dir():
        return _of_runs(Path(path), example)
    results = read_results(path, column)
    sign = 1 if maximise else -1
    return KnownNetworks(
        {name: builder(name) for name in results}, {name: sign * value for name, value in results.items()}
    )


def _of_runs(folder: Path, example: Tensor) -> KnownNetworks:
    models: dict[str, Build] = {}
    results: dict[str, float] = {}
    for run in map(RunFolder, sorted(folder.iterdir())):
        if not (run.result.is_file() and run.genotype.is_file()):
            continue
        _, config = existing_folder(run.root)
        if config.model is None:
            raise RunFolderError(f"{run.root}: its model came from Python objects; only models from files can be built")
        facts = read_facts(run.result, "continue that run with --resume, or take its folder away")
        source = load_model(config.model, config.model_args)
        models |= variants(source, {run.root.name: Genotype.load(run.genotype)}, example[:2], config.seed)
        with reading(run.result, "continue that run with --resume, or take its folder away"):
            results[run.root.name] = float(facts["valid"] if facts["maximise"] else -facts["valid"])
    if not models:
        raise RunFolderError(f"{folder} holds no finished runs: give the folder that their --out folders lie in")
    return KnownNetworks(models, results)


def _number(text: str, path: str | Path, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ProxyError(f"results {str(path)!r}: {text!r} in column {column!r} is no number")
    return value
