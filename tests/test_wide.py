"""Wide networks: a ceiling acts, branches stand beside own kernels, and every stage works with them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cnns import Layer, Network, cnns
from hypothesis import given, settings
from hypothesis.strategies import integers
from test_laws import choose, relative, rewritten, with_noise
from torch import Tensor, nn

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.errors import ConfigError
from dashfx.frontend.shared import SharedConv
from dashfx.ops import BesideConv, sites_of
from dashfx.pipeline import retrain_genotype
from dashfx.run.result import Result
from dashfx.stages.reopen import lowered_of, model_of
from dashfx.train.progress import Epoch, Observer

BRANCHES = SearchSpace.product([2, 3, 5], [1, 2], families=["beside"], keep_original=True)


# Laws


@given(network=cnns())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_one_hot_law(network: Network) -> None:
    supernet, x = rewritten(network, BRANCHES, "fresh"), network.example()
    for turn in range(max(len(site.candidates) for site in sites_of(supernet).values())):
        genotype = choose(supernet, turn)
        plain = dashfx.lower(supernet, genotype)
        assert relative(supernet(x), plain(x)) <= 1e-10
        assert torch.equal(dashfx.lower(supernet, genotype, weights="own")(x), plain(x))


@given(network=cnns(), seed=integers(0, 99))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_growth_law(network: Network, seed: int) -> None:
    model, x = network.model(), network.example()
    supernet = rewritten(network, BRANCHES, "grow")
    assert relative(supernet(x), model(x)) <= 1e-10
    assert relative(with_noise(supernet, seed)(x), model.train()(x)) <= 1e-9


def test_both_laws_in_float32() -> None:
    layers = Layer(3, norm=True), Layer(3, stride=2, padding=1, groups=2), Layer(5, residual=True, norm=True)
    network = Network(layers, 2, (17, 16))
    model, x = network.model(torch.float32), network.example(torch.float32)
    grown = dashfx.rewrite(model, x, BRANCHES, init="grow")
    assert relative(grown.eval()(x), model(x)) <= 1e-5
    supernet = dashfx.rewrite(model, x, BRANCHES, init="fresh").eval()
    plain = dashfx.lower(supernet, choose(supernet, 1))
    assert relative(supernet(x), plain(x)) <= 1e-5


# The pipeline


class Wide(nn.Module):
    """Two wide convs behind a narrow one, whose channels have no common divisor."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.fc = nn.Linear(2 * width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv1(torch.relu(self.stem(x)))))
        return self.fc(torch.relu(self.conv2(x)).mean((-2, -1)))


CONFIG: dict[str, Any] = {
    # The stem alone would have 27 times its weights, but few.
    "space": {"kernels": [3, 5], "dilations": [1, 2], "ceiling_from": 1000, "exclude": ["stem"]},
    "search": {"epochs": 3, "batch_size": 8, "lr": 0.05, "strategy": "dash"},
    "retrain": {"epochs": 1, "batch_size": 8},
    "device": "cpu",
    "control": False,
    "finalists": {"longer": False},
}
CHOICES = Genotype({"conv1": Candidate((5, 5), (2, 2), "beside"), "conv2": Candidate((3, 3))})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the model, and one of the data."""
    folder = tmp_path_factory.mktemp("wide")
    lines = Path(__file__).read_text(encoding="utf-8").split("\n\n\n")
    source = next(part for part in lines if part.startswith("class Wide("))
    (folder / "net.py").write_text(f"import torch\nfrom torch import Tensor, nn\n\n\n{source}\n", encoding="utf-8")
    rng, y = np.random.default_rng(0), np.arange(40) % 2
    x = rng.normal(size=(40, 1, 7, 7)).astype(np.float32) + y[:, None, None, None]
    np.savez(folder / "data.npz", x=x, y=y)
    return folder


def search(place: Path, out: str, **options: Any) -> Result:
    config = {**CONFIG, **options.pop("config", {})}
    return dashfx.search(f"{place / 'net.py'}:Wide", str(place / "data.npz"), config=config, out=place / out, **options)


@pytest.fixture(scope="module")
def finished(place: Path) -> Result:
    return search(place, "straight")


def test_the_ceiling_acts_and_the_report_says_so(finished: Result) -> None:
    (note,) = [each for each in finished.notes if "space.ceiling" in each]
    assert "at 2 of 2 convs kernels stand beside the own one" in note
    assert finished.folder is not None and note in json.loads((finished.folder / "result.json").read_text())["notes"]
    families = {c.family for c in finished.chosen.values()}
    assert families <= {"dense", "beside"}
    assert Genotype.from_json((finished.folder / "genotype.json").read_text()) == finished.genotype


def test_what_was_found_is_exported_and_opened_again(finished: Result, place: Path) -> None:
    assert finished.folder is not None and finished.exported is not None
    session = onnxruntime.InferenceSession(finished.folder / "model.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(3, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    _, model, genotype = model_of(finished.folder)
    assert genotype == finished.genotype and lowered_of(finished.folder)[1] == genotype
    (name,) = (each.name for each in session.get_inputs())
    (answer,) = session.run(None, {name: x.numpy()})
    assert answer.shape == (3, 2) and all(type(m).__module__ != "dashfx.ops.beside" for m in model.modules())


def test_an_interrupted_search_ends_as_if_nothing_had_happened(finished: Result, place: Path) -> None:
    class Interrupt(Observer):
        def epoch(self, facts: Epoch) -> None:
            if (facts.stage, facts.epoch) == ("search", 1):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(place, "stopped", observer=Interrupt())
    resumed = search(place, "stopped", resume=True)
    assert resumed.genotype == finished.genotype
    for own, other in zip(resumed.model.state_dict().values(), finished.model.state_dict().values(), strict=True):
        assert torch.equal(own, other)


def test_a_branch_is_retrained_exported_and_rebuilt_without_dashfx(place: Path) -> None:
    result = retrain_genotype(
        f"{place / 'net.py'}:Wide", str(place / "data.npz"), CHOICES, config=CONFIG, out=place / "chosen"
    )
    conv = result.model.get_submodule("conv1")
    assert isinstance(conv, SharedConv) and [part.groups for part in conv.parts] == [1, 16]
    assert type(result.model.get_submodule("conv2")) is nn.Conv2d
    assert result.folder is not None and result.exported is not None
    rebuilt = runpy.run_path(str(result.folder / "load_model.py"))["load"]()
    x = torch.randn(3, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rebuilt.eval()(x), result.model(x))


def test_the_ladder_takes_branches_for_rungs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    result = search(place, "ladder", config={"search": {**CONFIG["search"], "strategy": "ladder:most=1"}})
    assert dict(result.chosen) == {name: Candidate((5, 5), (1, 1), "beside") for name in ("conv1", "conv2")}


def test_without_the_ceiling_options_are_dense(place: Path) -> None:
    model, x = Wide(), torch.randn(2, 1, 7, 7)
    supernet = dashfx.rewrite(model, x, SearchSpace.product([3, 5], [1, 2]))
    assert not any(isinstance(site, BesideConv) for site in sites_of(supernet).values())


def test_a_probe_needs_dense_options(place: Path) -> None:
    space = {**CONFIG["space"], "sites": "auto"}
    config = {"space": space, "search": {**CONFIG["search"], "init": "grow"}}
    with pytest.raises(ConfigError, match=r"space\.sites=auto asks .* --ceiling none"):
        search(place, "probe", config=config)
