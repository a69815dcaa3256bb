"""Tables of trained genotypes: data and a genotype go in; the facts of a row, and a JSON file, come out."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dashfx import Candidate, Genotype
from dashfx.config.run import RetrainConfig
from dashfx.data import Data, load_data
from dashfx.supernet import specialise
from dashfx.task import load_task
from dashfx.train.fit import Supervised, derive_seed, fit, make_accelerator, validate

VALID_FRACTION = 0.25


def read(spec: str) -> Data:
    """The data with the one validation split that all rows share."""
    return load_data(spec, seed=0, valid_fraction=VALID_FRACTION)


def headed(data: Data, model: str, recipe: RetrainConfig, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What stands above the rows.

    Args:
        model: as `dashfx search` takes it, without the number of classes.
    """
    return {
        "task": data.name.removesuffix(".npz"),
        "model": f"{model} num_classes={data.n_outputs}",
        "metric": "accuracy",
        "parts": {part: len(data.part(part)) for part in ("train", "valid", "test")},
        "recipe": recipe.model_dump(mode="json"),
        "candidates": [text_of(choice) for choice in candidates],
        "seconds": "wall time, beside other work",
        "flops": "multiplications and additions of one row, counted apart",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
        "rows": [],
    }


def fresh(make: Callable[[], nn.Module], genotype: Genotype, data: Data, seed: int) -> nn.Module:
    """The genotype's network with fresh weights, drawn by the seed alone."""
    torch.manual_seed(derive_seed(seed, "weights"))
    return specialise(make(), torch.zeros(2, *data.input_shape), genotype, "fresh")


def trained(
    make: Callable[[Genotype, Data, int], nn.Module], genotype: Genotype, data: Data, seed: int, recipe: RetrainConfig
) -> dict[str, Any]:
    """A row's facts: the choices, size and work of the network, its metrics after the last epoch and its curve."""
    started, model = time.perf_counter(), make(genotype, data, seed)
    learner = Supervised(model, load_task(None, data), recipe, make_accelerator("cpu"))
    fitted = fit(learner, data, stage="kd", seed=seed)
    return {
        "genotype": {name: text_of(choice) for name, choice in genotype.items()},
        "params": sum(p.numel() for p in model.parameters()),
        "flops": flops(model, data),
        "valid": round(validate(learner, data, "valid"), 6),
        "test": round(validate(learner, data, "test"), 6),
        "train_loss": round(fitted.history[-1].loss, 6),
        "epochs": recipe.epochs,
        "seconds": round(time.perf_counter() - started, 1),
        "curve": [[round(e.loss, 5), round(e.metric, 5), round(e.valid_loss, 5)] for e in fitted.history],
    }


def text_of(choice: Candidate) -> str:
    return f"{choice.kernel[0]},{choice.dilation[0]}"


def flops(model: nn.Module, data: Data) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *data.input_shape))
    return counter.get_total_flops()


def write(table: Mapping[str, Any], out: Path) -> None:
    """JSON with a row a line, in place of the file at once."""
    facts = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in table.items() if key != "rows")
    rows: Sequence[str] = [json.dumps(row) for row in table["rows"]]
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(f'{{\n{facts} "rows": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n", encoding="utf-8")
    part.replace(out)
