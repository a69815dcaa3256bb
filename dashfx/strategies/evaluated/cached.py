"""Cache of evaluations that runs share: a genotype that was evaluated under the same facts is not evaluated again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from torch import nn

from dashfx.blackbox.genomes import Space
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.strategies.base import Context, Evaluating, Evaluator
from dashfx.strategies.engine import Engine
from dashfx.train.processes import digest
from dashfx.train.progress import end_last_line, read_log

Key = tuple[str, float]  # of a genotype as JSON, and a fidelity


@dataclass(frozen=True)
class Cached(Evaluator):
    """Another evaluator, whose values stand in a JSONL file: first the facts that they hold for, then one a line.

    Args:
        path: the file; a new one is begun where there is none.
    """

    inner: Evaluator
    path: str

    paper: ClassVar[str] = (
        "Ouyang et al., Understanding Patterns of Deep Learning Model Evolution in Network Architecture Search, 2023"
    )
    row: ClassVar[str] = "110"

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def takes_fidelity(self) -> bool:  # type: ignore[override]
        return self.inner.takes_fidelity

    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        store = Store(Path(self.path), facts_of(self.inner, context), writes=context.accelerator.is_main_process)
        context.note(f"blackbox.cache: {self.path} holds {len(store.values)} evaluations of these facts")
        return _Remembering(self.inner.begin(context, engine), store)


class _Remembering(Evaluating):
    def __init__(self, inner: Evaluating, store: Store) -> None:
        self._inner, self._store, self.maximise = inner, store, inner.maximise

    def value(self, genotype: Genotype) -> float:
        return self.values([genotype])[0]

    def values(self, genotypes: Sequence[Genotype]) -> list[float]:
        return self._known(genotypes, 1.0)

    def values_at(self, genotypes: Sequence[Genotype], fidelity: float) -> list[float]:
        return self._known(genotypes, fidelity)

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        return self._inner.space(sites)

    def _known(self, genotypes: Sequence[Genotype], fidelity: float) -> list[float]:
        keys = [(_text(genotype), fidelity) for genotype in genotypes]
        new = {k: g for k, g in zip(keys, genotypes, strict=True) if k not in self._store.values}
        asked = list(new.values())
        if asked:
            found = self._inner.values(asked) if fidelity == 1 else self._inner.values_at(asked, fidelity)
            self._store.add(dict(zip(new, found, strict=True)))
        return [self._store.values[key] for key in keys]


class Store:
    """Values by genotype and fidelity, in a file of one set of facts.

    Raises:
        ConfigError: the file holds values of other facts, or is none of these files.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], writes: bool = True) -> None:
        self._path, self._facts, self._writes = path, json.loads(json.dumps(facts)), writes
        self.values: dict[Key, float] = self._read()

    def _read(self) -> dict[Key, float]:
        try:
            first, *lines = read_log(self._path) or [{"facts": self._facts}]
            self._check(first["facts"])
            return {(each["genotype"], each["fidelity"]): _number(each["value"]) for each in lines}
        except (KeyError, TypeError, OSError, ValueError) as error:
            raise ConfigError(f"blackbox.cache {self._path}: not a cache of evaluations ({error!r})") from None

    def _check(self, before: Mapping[str, Any]) -> None:
        if other := [name for name in self._facts if before.get(name) != self._facts[name]]:
            raise ConfigError(
                f"blackbox.cache {self._path}: its evaluations are of another {', '.join(other)}; name another file"
            )

    def add(self, found: Mapping[Key, float]) -> None:
        self.values.update(found)
        if not self._writes:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock"):  # of other runs
            end_last_line(self._path)
            begun = self._path.exists() and self._path.stat().st_size > 0
            lines = [] if begun else [{"facts": self._facts}]
            for (genotype, fidelity), value in found.items():
                known = value if math.isfinite(value) else None
                lines.append({"genotype": genotype, "fidelity": fidelity, "value": known})
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def facts_of(evaluator: Evaluator, context: Context) -> dict[str, Any]:
    """What a value depends on beside the genotype."""
    config, parts = context.config, ("train", "valid")
    untouched = Genotype({name: site.original for name, site in context.sites.items()})
    return {
        "evaluator": repr(evaluator),
        "model": _digest(context.model_of(untouched)),
        "data": [digest(context.data.part(name)) for name in parts],
        "recipe": config.retrain.model_dump(mode="json", exclude={"epochs", "max_epochs"}),
        "augmentation": config.augment,
        "task": f"{context.task.name}, {context.task.metric_name}",
        "seed": config.seed,
        "versions": {name: version(name) for name in ("dashfx", "torch")},
    }


def _digest(model: nn.Module) -> str:
    """Of its modules and all its weights, which are drawn by the run's seed or a checkpoint's."""
    found = hashlib.blake2b(repr(model).encode(), digest_size=16)
    for name, values in model.state_dict().items():
        found.update(name.encode())
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _text(genotype: Genotype) -> str:
    return json.dumps({name: choice.to_dict() for name, choice in genotype.items()}, sort_keys=True)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
