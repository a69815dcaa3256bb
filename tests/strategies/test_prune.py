"""The edit that prunes by importance: harmful candidates leave, what must stay stays, other rows are refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from toys import SIZE, ToyNet

import dashfx
from dashfx import Candidate, SearchSpace
from dashfx.blackbox.genotype_table import GenotypeTable, best_first
from dashfx.errors import ConfigError
from dashfx.ops import sites_of, tie
from dashfx.strategies.edits import PruneByImportance

CHOICES = SearchSpace.product([3, 5], [1, 2]).candidates
HARM = {"k3 d1": -3.0, "k5 d2": -2.0}  # k3 d1 is each conv's own kernel


def rows(path: Path, sign: int = 1, names: tuple[str, str] = ("conv1", "conv2")) -> str:
    """What a search left behind: every pair of choices, the second conv's harm counted half."""
    lines = []
    for number, pair in enumerate(product(CHOICES, CHOICES)):
        value = sign * sum(HARM.get(str(c), 0.0) * part for c, part in zip(pair, (1.0, 0.5), strict=True))
        genome = {name: choice.to_dict() for name, choice in zip(names, pair, strict=True)}
        facts = {"number": number, "genome": genome, "value": value, "fitness": sign * value, "parent": None}
        lines.append(json.dumps({**facts, "seconds": 0.0}))
    path.write_text("\n".join(lines) + '\n{"number": 99, "gen')  # half a line of a killed run
    return str(path)


def supernet() -> torch.nn.Module:
    return dashfx.rewrite(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2]))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_most_harmful_leave_and_a_convs_own_kernel_stays(sign: int, tmp_path: Path) -> None:
    sites = sites_of(supernet())
    said = PruneByImportance(rows(tmp_path / "e.jsonl", sign), drop=2, predictor="ridge").apply(sites)
    assert said == "prune-by-importance: conv1 k5 d2, conv2 k5 d2 leave"
    assert all(Candidate(5, 2) not in site.candidates and len(site.candidates) == 3 for site in sites.values())


def test_tied_sites_need_rows_in_which_they_are_alike(tmp_path: Path) -> None:
    sites = sites_of(supernet())
    tie(sites, "all")
    alike = [json.loads(line) for line in Path(rows(tmp_path / "e.jsonl")).read_text().splitlines()[:-1]]
    kept = [each for each in alike if each["genome"]["conv1"] == each["genome"]["conv2"]] * 2
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(each) + "\n" for each in kept))
    with pytest.raises(ConfigError, match="has 4 genotypes of these sites and candidates, and effects take 8"):
        PruneByImportance(str(tmp_path / "t.jsonl")).apply(sites)


def test_rows_of_another_model_are_refused(tmp_path: Path) -> None:
    other = rows(tmp_path / "e.jsonl", names=("stem", "head"))
    with pytest.raises(ConfigError, match="has 0 genotypes of these sites"):
        PruneByImportance(other).apply(sites_of(supernet()))


def test_a_runs_rows_are_a_table_and_the_best_come_first(tmp_path: Path) -> None:
    path = rows(tmp_path / "e.jsonl", sign=-1)
    table = GenotypeTable.load(path)
    assert len(table.values) == 16 and not table.maximise
    order = [table.values[genotype] for genotype in best_first(path)]
    assert order == sorted(order) and order[0] == 0 and len(order) == 16
