"""Table of genotypes that were evaluated before, JSON, CSV or a run's own JSONL: a value for each of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from dashfx.blackbox.base import row_of
from dashfx.blackbox.front import fittest_first
from dashfx.errors import GenotypeError, SpaceError
from dashfx.genotype import Genotype
from dashfx.options.base import read
from dashfx.space import Candidate

COLUMN = "valid"
_CHOICE = re.compile(r"k?(\d+(?:x\d+)*)[\s,]+d?(\d+(?:x\d+)*)")


@dataclass(frozen=True)
class GenotypeTable:
    """What genotypes were worth.

    Attributes:
        values: genotype -> the mean of its rows.
        maximise: whether larger values are better.
    """

    values: Mapping[Genotype, float]
    maximise: bool = True

    @classmethod
    def load(cls, path: str | Path, column: str = COLUMN) -> GenotypeTable:
        """Read a table.

        JSON is `{"maximise": true, "rows": [{"genotype": {site: choice, ...}, "valid": 0.9}, ...]}`, where further keys
        are left alone; a CSV has a column a site and one of values. A choice is written `3,1` or `k3 d1`, per axis as
        `3x7,1x1`, or in JSON as in a genotype file. A JSONL is the `evaluations.jsonl` of a run, of which whole
        evaluations count. Rows of equal genotypes, such as of several seeds, are averaged.

        Args:
            column: the key of the values.

        Raises:
            GenotypeError: a file that cannot be read, or rows that hold something else.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            facts = READ.get(path.suffix, _of_json)(text, column)
            values = _means((_genotype(row["genotype"]), float(row[column])) for row in facts["rows"])
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise GenotypeError(f"table {str(path)!r} cannot be read: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GenotypeError(
                f"table {str(path)!r}: {error!r}; its rows need a 'genotype' and a number {column!r}"
            ) from None
        if not values:
            raise GenotypeError(f"table {str(path)!r}: it has no row with a finite {column!r}")
        return cls(values, bool(facts.get("maximise", True)))


def best_first(path: str | Path) -> list[Genotype]:
    """The genotypes of a table, the best first; of a run with several objectives, front after front.

    Raises:
        GenotypeError: a file that is no table.
    """
    path, table = Path(path), GenotypeTable.load(path)
    if path.suffix == ".jsonl":
        lines = _lines(path.read_text(encoding="utf-8"))
        rows = fittest_first([row_of(line, genotype_in(line["genome"])) for line in lines])
        return list(dict.fromkeys(row.genome for row in rows if row.fidelity == 1))
    sign = -1 if table.maximise else 1
    return sorted(table.values, key=lambda genotype: sign * table.values[genotype])


def genotype_in(genome: Any) -> Genotype:
    """The genotype of a line of `evaluations.jsonl`; beside it may stand the recipe of its training."""
    return _genotype(_network(genome))


def bound_to(genotype: Genotype, ndims: Mapping[str, int]) -> Genotype | None:
    """The genotype with as many axes a choice as each site has; None where it is of other sites or axes."""
    if genotype.keys() != ndims.keys():
        return None
    try:
        return Genotype({name: genotype[name].for_ndim(ndim) for name, ndim in ndims.items()})
    except SpaceError:
        return None


def read_choice(text: str) -> Candidate:
    """A candidate as a table writes it.

    >>> str(read_choice("3,7")), str(read_choice("k3x5 d1"))
    ('k3 d7', 'k3x5 d1')

    Raises:
        ValueError: another form.
    """
    found = _CHOICE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"choice {text!r}: write kernel and dilation as 3,1")
    kernel, dilation = ([int(axis) for axis in sizes.split("x")] for sizes in found.groups())
    return Candidate(kernel if len(kernel) > 1 else kernel[0], dilation if len(dilation) > 1 else dilation[0])


def _of_csv(text: str, column: str) -> dict[str, Any]:
    rows = list(csv.DictReader(io.StringIO(text)))
    sites = [name for name in (rows[0] if rows else {}) if _CHOICE.fullmatch((rows[0][name] or "").strip())]
    return {"rows": [{"genotype": {site: row[site] for site in sites}, column: row[column]} for row in rows]}


def _lines(text: str) -> list[dict[str, Any]]:
    """Of a run's history, without half a line that a killed run may have left at the end."""
    whole = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
    return [json.loads(line) for line in whole]


def _of_jsonl(text: str, column: str) -> dict[str, Any]:
    whole = [line for line in _lines(text) if line["value"] is not None and line.get("fidelity", 1) == 1]
    rows = [{"genotype": _network(line["genome"]), column: line["value"]} for line in whole]
    return {"rows": rows, "maximise": all(line["fitness"] == line["value"] for line in whole)}


def _of_json(text: str, column: str) -> Any:
    return json.loads(text)


READ = {".csv": _of_csv, ".jsonl": _of_jsonl}


def _network(genome: Any) -> Any:
    return genome[0] if isinstance(genome, list) else genome


def _genotype(choices: Mapping[str, Any]) -> Genotype:
    others = {n: read(c) for n, c in choices.items() if isinstance(c, Mapping) and "kind" in c}
    own = {n: c for n, c in choices.items() if n not in others}
    kernels = {n: read_choice(c) if isinstance(c, str) else Candidate.from_dict(c) for n, c in own.items()}
    return Genotype(kernels, others=others)


def _means(pairs: Iterable[tuple[Genotype, float]]) -> dict[Genotype, float]:
    found: dict[Genotype, list[float]] = {}
    for genotype, value in pairs:
        if math.isfinite(value):
            found.setdefault(genotype, []).append(value)
    return {genotype: mean(values) for genotype, values in found.items()}
