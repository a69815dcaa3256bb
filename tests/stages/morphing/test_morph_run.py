"""A run that grows its network: steps in the genotype, weights from parent to child, files, resumes, and mistakes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from alike import assert_same
from toys import FAST, arrays

import dashfx
from dashfx.config.run import RunConfig
from dashfx.errors import DashfxError
from dashfx.genotype import Genotype
from dashfx.options.morph import Morph, placed, steps_of
from dashfx.run.preflight import check_search
from dashfx.run.result import Result
from dashfx.stages.reopen import model_of
from dashfx.strategies.morphing.growing import name_of
from dashfx.train.progress import Observer

KINDS = ["widen", "deepen", "branch", "enlarge"]


def config(**more: Any) -> dict[str, Any]:
    rest = {name: value for name, value in FAST.items() if name not in ("space", "search")}
    blackbox = {"evaluations": 4, "population": 2, "tournament": 1, "epochs": 1}
    space = {"morph": KINDS, "morphs": 2}
    return {**rest, "retrain": {"epochs": 1, "batch_size": 16}, "blackbox": blackbox, "space": space, **more}


def search(out: Path, **more: Any) -> Result:
    """Of files, so that the folder can be opened again."""
    observer, resume = more.pop("observer", Observer()), more.pop("resume", False)
    data = out.parent / "data.npz"
    np.savez(data, **arrays())
    model = f"{Path(toys.__file__).resolve()}:ToyNet"
    return dashfx.search(model, str(data), config=config(**more), out=out, observer=observer, resume=resume)


class Kill(Observer):
    """As a signal would, after the third evaluation."""

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if done == 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("morph") / "run"
    return out, search(out)


def test_the_winner_is_a_grown_network_with_files_that_rebuild_it(straight: tuple[Path, Result]) -> None:
    out, result = straight
    best = result.finalist("searched")
    assert best is not None and best.genotype.others and result.changed and len(result.evaluations) == 4
    text = (out / "searched.json" if result.kept is not best else out / "genotype.json").read_text()
    assert Genotype.from_json(text) == best.genotype and '"kind": "morph"' in text
    assert json.loads(text)["dashfx_genotype"] == best.genotype.version > 1
    run, model, genotype = model_of(out)
    x = run.inputs.example
    rebuilt = runpy.run_path(str(out / "load_model.py"))["load"]()
    torch.testing.assert_close(rebuilt(x), model(x))
    torch.testing.assert_close(rebuilt(x), result.model(x))
    assert genotype == result.genotype and result.onnx_valid == pytest.approx(result.valid, abs=0.05)


def test_a_killed_run_goes_on_bit_for_bit(straight: tuple[Path, Result], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", observer=Kill())
    again = search(tmp_path / "run", resume=True)
    assert [(row.genome, row.value) for row in again.evaluations] == [
        (row.genome, row.value) for row in straight[1].evaluations
    ]
    assert_same(tmp_path / "run", straight[0])


MISTAKES = {
    r"no morphism 'widenn' \(did you mean 'widen'\?\)": {"space": {"morph": ["widenn"]}},
    "which strategy dash does not: take --strategy evolution, random-search or local": {"search": {"strategy": "dash"}},
    "which strategy tpe does not": {"search": {"strategy": "tpe"}},
    "evaluator supernet knows the kernels of one network alone": {"blackbox": {"evaluator": "supernet"}},
    "does not go with --kernels": {"space": {"morph": ["widen"], "kernels": [3, 5]}},
    "does not go with --max": {"search": {"strategy": "local", "budgets": ["params=1M"]}},
    "does not go with --random-control: the control is --strategy random-search": {"random_control": True},
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_one_line_before_anything_is_read(text: str) -> None:
    with pytest.raises(DashfxError, match=text):
        check_search(RunConfig.parse(config(**MISTAKES[text])))


def test_morphs_alone_choose_evolution_by_training() -> None:
    parsed = RunConfig.parse({"space": {"morph": ["widen"]}})
    assert parsed.search.strategy == "evolution" and parsed.blackbox.evaluator == "train"


def test_names_tell_networks_apart() -> None:
    one, two = (Morph("widen", "a", (("to", to),)) for to in (8, 16))
    assert len({name_of(steps) for steps in [(), (one,), (two,), (one, two), (two, one)]}) == 5
    assert steps_of(placed((one, two))) == (one, two)
