"""The pipeline's choices: strategies and controls, where weights come from, what is refused before training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import CLASSES, FAST, SIZE, ToyNet, arrays, toy_data

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.errors import (
    CheckpointError,
    ConfigError,
    DashfxError,
    DataError,
    GenotypeError,
    ModelError,
    RunFolderError,
    SpaceError,
    TaskError,
)
from dashfx.pipeline import retrain_genotype
from dashfx.run.prepare import prepare
from dashfx.run.result import Result
from dashfx.stages.compare import metric_of
from dashfx.stages.reopen import lowered_of
from dashfx.task import load_task
from dashfx.train.progress import Observer

DATA = toy_data()


def settings(**changes: Any) -> dict[str, Any]:
    """FAST with some options changed; blocks are merged."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in FAST.items()}
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def search(model: Any = ToyNet, data: Any = DATA, out: Path | None = None, **changes: Any) -> Result:
    return dashfx.search(model, data, config=settings(**changes), out=out)


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = search()
    assert not list(tmp_path.iterdir()) and result.folder is None and result.onnx_valid is None
    assert 0 <= result.valid <= 1 and 0 <= result.test <= 1 and "export" not in result.seconds


def test_an_instance_is_not_changed() -> None:
    model = ToyNet().train()
    before = parameters(model)
    result = search(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) and model.training
    assert type(result.model) is ToyNet and result.model is not model


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    first, second, other = search(), search(), search(seed=1)
    assert first.genotype == second.genotype and same(first.model, second.model)
    assert not same(first.model, other.model)


def test_a_better_than_chance_model_is_found() -> None:
    result = search(search={"epochs": 10}, retrain={"epochs": 25, "lr": 0.02})
    assert result.test > 1.5 / CLASSES


@pytest.mark.parametrize("alpha_on", ["train", "held-out"])
@pytest.mark.parametrize("init", ["fresh", "grow"])
def test_ways_to_search(init: str, alpha_on: str) -> None:
    result = search(search={"init": init, "alpha_on": alpha_on, "rule": "energy"})
    assert result.genotype.rule == "energy" and set(result.genotype) == {"conv1", "conv2"}
    assert [(e.stage, e.epoch) for e in result.history] == [
        *(("search", i) for i in range(3)),
        ("retrain", 0),
        ("retrain", 1),
    ]


def test_sites_can_be_decided_one_by_one() -> None:
    trap = Trap()
    options = settings(search={"discretise": "one-by-one", "recovery": 0.5, "epochs": 2})
    result = dashfx.search(ToyNet, DATA, config=options, observer=trap)
    assert [e.stage for e in result.history] == ["search"] * 2 + ["one-by-one"] * 2 + ["retrain"] * 2
    names = [name for name, _ in trap.stages]
    assert names[names.index("search") :] == ["search", "one-by-one", "discretise", "lower", "retrain", "compare"]
    last = result.history[3].mixtures
    assert {name: (1.0, str(choice)) for name, choice in result.genotype.items()} == last
    assert result.model.conv1.kernel_size == result.genotype["conv1"].kernel


def test_a_probe_leaves_sites_alone_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    auto = {"space": {"sites": "auto", "share": 0.5, "probe": 4}, "search": {"init": "grow"}}
    result = search(**auto, out=tmp_path / "run")
    (searched,), (alone,) = result.genotype, result.skips
    assert {searched, alone.name} == {"conv1", "conv2"} and alone.reason.startswith("the probe ranks it 2 of 2, gain ")
    assert result.model.get_submodule(alone.name).kernel_size == (3,) and "probe" in result.seconds
    assert result.notes[-1] == "the probe leaves 1 of 2 sites alone"
    monkeypatch.setattr("dashfx.stages.rewrite.gains", lambda *_: pytest.fail("it was probed before"))
    assert dashfx.search(ToyNet, DATA, config=settings(**auto), out=tmp_path / "run", resume=True).skips == (alone,)


def test_untouched_is_the_users_model_retrained() -> None:
    result = search(search={"strategy": "untouched"}, retrain={"weights": "fresh"})
    assert set(result.genotype.values()) == {Candidate(3)} and result.genotype.rule == "untouched"
    assert [e.stage for e in result.history] == ["retrain"] * 2
    assert parameters(result.model).keys() == parameters(ToyNet()).keys()


def test_random_draws_by_the_seed() -> None:
    drawn = [search(search={"strategy": "random"}, seed=seed).genotype for seed in range(5)]
    assert len(set(drawn)) > 1 and drawn[0] == search(search={"strategy": "random"}, seed=0).genotype
    assert drawn[0].rule == "random, seed 0"


def test_the_control_hands_back_the_better_model() -> None:
    result = search(control=True)
    searched, untouched = result.finalist("searched"), result.finalist("untouched")
    assert searched is not None and untouched is not None and result.kept in (searched, untouched)
    best = searched if searched.judged > untouched.judged else untouched
    assert result.kept is best and result.valid == best.valid
    assert any(note.startswith("control: ") for note in result.notes)
    assert [e.stage for e in result.history].count("control") == 2
    if result.kept.origin == "untouched":
        assert set(result.genotype.values()) == {Candidate(3)} and result.model.conv1.kernel_size == (3,)


def test_the_controls_are_trained_and_compared() -> None:
    result = search(control=True, random_control=True)
    assert list(result.models) == ["searched", "untouched", "random"] and "compare" in result.seconds
    untouched = result.finalist("untouched")
    assert result.kept is not None and untouched and result.models["untouched"].valid == untouched.valid
    assert result.models[result.kept.origin].test == result.test
    assert result.models["untouched"].parameters == sum(p.numel() for p in ToyNet().parameters())
    assert [e.stage for e in result.history].count("random") == 2
    assert list(search().models) == ["searched"]
    assert list(search(search={"strategy": "untouched"}, random_control=True).models) == ["untouched"]


class Trap(Observer):
    """Looks into a run at one of its stages."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append((name, detail))


@pytest.mark.parametrize("weights", ["inherit", "pretrained", "fresh"])
def test_where_retraining_starts(weights: str, tmp_path: Path) -> None:
    trained = ToyNet()
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    options = settings(checkpoint=str(tmp_path / "w.pt"), retrain={"weights": weights, "lr": 1e-12, "epochs": 1})
    trap = Trap()
    result = dashfx.search(ToyNet, DATA, config=options, observer=trap)
    kept = torch.allclose(result.model.fc.weight, trained.fc.weight, atol=1e-6)
    assert kept == (weights == "pretrained")
    details = [detail for name, detail in trap.stages if name == "lower"]
    assert details == {"inherit": [""], "pretrained": ["the checkpoint's weights"], "fresh": ["fresh weights"]}[weights]


def test_growing_keeps_what_the_checkpoint_knows(tmp_path: Path) -> None:
    trained = search(search={"strategy": "untouched"}, retrain={"epochs": 25, "lr": 0.02})
    torch.save(trained.model.state_dict(), tmp_path / "w.pt")
    nothing = {"epochs": 8, "fade": 1.0, "lr": 1e-12, "alpha_lr": 1e-12}
    result = search(checkpoint=str(tmp_path / "w.pt"), search={"init": "grow", **nothing})
    first = result.history[0]
    assert first.stage == "search" and first.metric >= trained.valid - 0.2 > 1 / CLASSES


def test_a_trained_model_that_retraining_spoils_is_handed_back_as_it_was(tmp_path: Path) -> None:
    trained = search(search={"strategy": "untouched"}, retrain={"epochs": 25, "lr": 0.02})
    torch.save(trained.model.state_dict(), tmp_path / "w.pt")
    spoils = {"weights": "pretrained", "lr": 0.5, "epochs": 1}
    result = search(checkpoint=str(tmp_path / "w.pt"), search={"strategy": "untouched"}, retrain=spoils)
    assert same(result.model, trained.model) and result.valid == trained.valid > result.history[-1].metric
    assert any(note.startswith("retrain: every epoch is worse") for note in result.notes)


def test_a_frozen_model_can_be_measured() -> None:
    run = prepare(ToyNet, DATA, config=settings())
    model = run.inputs.fresh_model().requires_grad_(False)
    assert 0 <= metric_of(run, model, "valid") <= 1 and not model.training


def test_a_search_says_that_it_trains_frozen_convs() -> None:
    model = ToyNet()
    model.conv1.weight.requires_grad_(False)
    result = dashfx.search(model, DATA, config=settings(space={"probe": 2}))
    (note,) = [note for note in result.notes if "frozen" in note]
    assert note.endswith(": conv1") and not result.model.conv1.weight.requires_grad
    assert result.model.conv2.weight.requires_grad
    left = dashfx.search(model, DATA, config=settings(space={"exclude": ["conv1"]}))
    assert torch.equal(left.model.conv1.weight, model.conv1.weight) and "frozen" not in " ".join(left.notes)


def test_a_checkpoint_of_other_classes_starts_a_new_head_and_says_so_once(tmp_path: Path) -> None:
    state = ToyNet().state_dict()
    head = list(state)[-2:]
    path = tmp_path / "w.pt"
    torch.save({**state, **{key: torch.cat([state[key]] * 2) for key in head}}, path)
    with pytest.raises(CheckpointError, match="--new-head"):
        search(checkpoint=str(path))
    notes = search(checkpoint=str(path), new_head=True).notes
    assert len([note for note in notes if "start anew" in note]) == 1


def test_growing_wants_the_own_kernel_in_the_space() -> None:
    with pytest.raises(SpaceError, match=r"site 'conv1': growing needs its own k3 d1 in the space"):
        search(search={"init": "grow"}, space={"kernels": [5, 7], "keep_original": False})


def test_a_space_and_a_strategy_beside_the_configuration() -> None:
    space = SearchSpace.product([5], [1])
    result = dashfx.search(ToyNet, DATA, space=space, strategy="random", config=settings())
    assert set(result.genotype.values()) == {Candidate(5)} and result.genotype.rule.startswith("random")


def test_retraining_a_known_genotype() -> None:
    genotype = Genotype({"conv2": Candidate(5, 2)})
    result = retrain_genotype(ToyNet, DATA, genotype, config=settings())
    assert (
        result.genotype == genotype
        and result.model.conv2.kernel_size == (5,)
        and result.model.conv1.kernel_size == (3,)
    )
    assert {e.stage for e in result.history} == {"retrain"} and 0 <= result.test <= 1
    with pytest.raises(GenotypeError, match="'conv3'"):
        retrain_genotype(ToyNet, DATA, Genotype({**genotype, "conv3": Candidate(3)}), config=settings())


WIDE = {"weights": "fresh", "model_args": {"width": 7}}


def test_a_wider_model_is_retrained_with_the_same_choices(tmp_path: Path) -> None:
    trained = tmp_path / "w.pt"
    torch.save(ToyNet().state_dict(), trained)  # of the narrow model, for the search
    result = search(retrain=WIDE, control=True, checkpoint=str(trained))
    assert result.model.conv1.out_channels == 7 and result.sites["conv2"].in_channels == 7
    assert {name: result.model.get_submodule(name).kernel_size for name in result.genotype} == {
        name: choice.kernel for name, choice in result.genotype.items()
    }
    assert retrain_genotype(ToyNet, DATA, result.genotype, config=settings(retrain=WIDE)).model.conv1.out_channels == 7


class Deeper(ToyNet):
    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        if depth > 2:
            self.conv2 = nn.Sequential(self.conv2, nn.Conv1d(4, 4, 3, padding=1))


def test_the_default_space_follows_the_models_axes() -> None:
    result = search(space={"kernels": None, "dilations": None, "preset": None}, search={"strategy": "random"})
    assert all(choice.kernel[0] in (3, 7, 11, 15, 19) for choice in result.genotype.values())


def test_a_task_of_ones_own() -> None:
    task = load_task("classify:f1", DATA)
    result = dashfx.search(ToyNet, DATA, task=task, config=settings())
    assert result.task is task


class Narrow(ToyNet):
    """One output too few."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, CLASSES - 1)


class NoConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2 * SIZE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


BAD: list[tuple[dict[str, Any], type[DashfxError], str]] = [
    ({"model": "nowhere.py:Net"}, ModelError, "no such file"),
    ({"model": lambda: ToyNet(width=0.5)}, ModelError, "when it is built: ValueError"),
    ({"model": nn.Bilinear(24, 24, 3)}, ModelError, "Bilinear.forward needs 'input2' beside x, .* see dashfx.rewrite"),
    ({"model": nn.Sequential(nn.Conv2d(2, 3, 3))}, ModelError, "the model does not take the data: .*batch of 2x2x24"),
    ({"model": NoConv}, ModelError, "no conv to search"),
    ({"model": Narrow}, TaskError, "the model gives 2 outputs, the data has 3 classes"),
    ({"data": "nowhere.npz"}, DataError, "nowhere.npz"),
    ({"data": (np.zeros((0, 2, 9)), np.zeros(0))}, DataError, ""),
    ({"task": "regress"}, TaskError, "regress"),
    ({"task": "clasify"}, TaskError, "did you mean 'classify'"),
    ({"seed": "x"}, ConfigError, "option 'seed'"),
    ({"checkpoint": "nowhere.pt"}, CheckpointError, "no such checkpoint"),
    ({"search": {"rule": "best"}}, ConfigError, "no rule 'best'"),
    ({"search": {"cost": "time"}}, ConfigError, "no cost 'time'"),
    ({"space": {"sites": "auto"}}, ConfigError, "space.sites=auto .* give --checkpoint, or --init grow"),
    ({"retrain": {"weights": "fresh", "model_args": {"widht": 8}}}, ModelError, "no argument 'widht' .*'width'"),
    ({"retrain": {"model_args": {"width": 8}}}, ConfigError, "set retrain.weights=fresh"),
    ({"model": ToyNet(), "retrain": WIDE}, ModelError, "need a class or a factory"),
    (
        {"model": Deeper, "retrain": {"weights": "fresh", "model_args": {"depth": 3}}},
        ModelError,
        "only the searched model has a site 'conv2'",
    ),
    ({"device": "tpu"}, ConfigError, "device 'tpu'"),
    ({"space": {"include": ["head*"]}}, ModelError, "not included by head"),
    ({"space": {"candidates": [{"kernel": [3, 3], "dilation": [1, 1]}]}}, SpaceError, "has 2 axes, the conv has 1"),
]


@pytest.mark.parametrize(
    ("changes", "kind", "words"), BAD, ids=[f"{i}-{next(iter(row[0]))}" for i, row in enumerate(BAD)]
)
def test_bad_input_is_refused_early_and_leaves_no_folder(
    changes: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("dashfx.stages.retrain.fit", no_training)
    with pytest.raises(kind, match=words) as raised:
        search(**changes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if issubclass(kind, DashfxError):
        assert "\n" not in str(raised.value)


def test_resuming_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="resume needs --out"):
        dashfx.search(ToyNet, DATA, resume=True)


def test_a_run_of_python_objects_cannot_be_opened_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    search(out=tmp_path / "run")
    with pytest.raises(RunFolderError, match="came from Python objects"):
        lowered_of(tmp_path / "run")


def test_the_data_part_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dashfx"):
        result = search(data=arrays())
    assert any(note.startswith("data: ") for note in result.notes)
    assert any("substitute: 2 edits" in record.getMessage() for record in caplog.records)
