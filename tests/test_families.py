"""Options beyond kernels in whole networks: the laws of a rewrite, what is lowered, what it costs, and whole runs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import proposing
import pytest
import torch
from cnns import Network, cnns
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from
from test_laws import choose, relative, rewritten, with_noise
from test_shared import One, noise
from torch import nn

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.cli.main import run
from dashfx.cost.macs import Macs
from dashfx.cost.parameters import Parameters
from dashfx.cost.size import Size
from dashfx.deploy.loader import save_weights, write_loader
from dashfx.errors import GenotypeError, SpaceError
from dashfx.ops import sites_of
from dashfx.ops.families import FAMILIES
from dashfx.report.network import network_of
from dashfx.supernet import rewriting_passes

NAMES = [name for name in FAMILIES if name not in ("nested", "beside")]
K3, K5 = Candidate(3), Candidate(5)
SEPARABLE, SKIP, POOL, ZERO = (Candidate(3, 1, name) for name in ("separable", "skip", "pool", "zero"))
DEPTHWISE, GROUPED = Candidate(3, 2, "depthwise"), Candidate(3, 1, "grouped:groups=2")
ALL = SearchSpace((K3, K5, SEPARABLE, SKIP, POOL, ZERO, DEPTHWISE, GROUPED), keep_original=True)


# Laws


def space_of(families: list[str], nested: bool) -> SearchSpace:
    dense = "nested" if nested else "dense"
    return SearchSpace.product([2, 3], families=[dense, *families], keep_original=True)


BEYOND = [name for name in NAMES if name != "dense"]
OTHERS = lists(sampled_from(BEYOND), min_size=1, max_size=2, unique=True)
PAIRS = [BEYOND[i : i + 2] for i in range(0, len(BEYOND), 2)]  # each family is in some networks


@pytest.mark.parametrize("others", PAIRS, ids="-".join)
@given(network=cnns(), nested=integers(0, 1))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_one_hot_law(others: list[str], network: Network, nested: int) -> None:
    supernet, x = rewritten(network, space_of(others, bool(nested)), "fresh"), network.example()
    for turn in range(max(len(aggconv.candidates) for aggconv in sites_of(supernet).values())):
        genotype = choose(supernet, turn)
        plain = dashfx.lower(supernet, genotype)
        assert relative(supernet(x), plain(x)) <= 1e-9
        assert all(type(m).__module__.startswith(("torch.", "cnns")) for m in plain.modules())


@given(network=cnns(), others=OTHERS, nested=integers(0, 1), seed=integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_growth_law(network: Network, others: list[str], nested: int, seed: int) -> None:
    model, x = network.model(), network.example()
    supernet = rewritten(network, space_of(others, bool(nested)), "grow")
    assert relative(supernet(x), model(x)) <= 1e-9
    noisy, expected = with_noise(supernet, seed)(x), model.train()(x)
    assert relative(noisy, expected) <= 1e-8


# What is lowered


def lowered(model: nn.Module, x: torch.Tensor, choice: Candidate, init: str = "fresh") -> Any:
    return dashfx.specialise(model.to(x.dtype), x, Genotype({"conv": choice.for_ndim(x.dim() - 2)}), init).eval()


KEYS = {
    SEPARABLE: ["conv.0.weight", "conv.1.weight", "conv.1.bias"],
    DEPTHWISE: ["conv.weight", "conv.bias"],
    GROUPED: ["conv.weight", "conv.bias"],
    SKIP: [],
    POOL: [],
    ZERO: ["conv.weight"],
}


@pytest.mark.parametrize("choice", KEYS, ids=str)
def test_keys_modules_and_costs(choice: Candidate) -> None:
    model, x = One(channels=(6, 6), padding=1).float().eval(), noise(1, 6, 20).float()
    plain, program = lowered(model, x, choice), dashfx.trace(model, x)
    assert [key for key in plain.state_dict() if key.startswith("conv.")] == KEYS[choice]
    counted = dashfx.trace(plain, x)
    for cost in (Parameters(), Macs(), Size()):
        assert cost.total(program, Genotype({"conv": choice})) == cost.whole(counted), cost


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_what_a_trained_conv_leaves_to_a_separable_one_is_the_nearest(ndim: int, mode: str) -> None:
    model, x = One(ndim=ndim, channels=(6, 6), padding=1, padding_mode=mode).double(), noise(1, 6, *[7] * ndim)
    with torch.no_grad():  # a conv that is separable already
        model.conv.weight.copy_(torch.rand(6, 6, *[1] * ndim).double() * torch.rand(1, 6, *[3] * ndim).double())
    plain = lowered(model, x, SEPARABLE, "grow")
    assert isinstance(plain.conv, nn.Sequential) and relative(plain(x), model.eval()(x)) <= 1e-10


def test_members_weight_norms_and_frozen_weights() -> None:
    x, model = noise(1, 4, 20), One(channels=(4, 4), padding=1)
    model.conv = nn.utils.parametrizations.weight_norm(model.conv)
    plain = lowered(model, x, SEPARABLE)
    assert "conv.0.parametrizations.weight.original1" in plain.state_dict()
    model = One(channels=(4, 4), padding=1)
    model.conv.weight.requires_grad_(False)
    plain = lowered(model, x, DEPTHWISE)
    assert not plain.conv.weight.requires_grad and plain.conv.bias.requires_grad
    model.conv.scale = 2.0
    with pytest.raises(SpaceError, match=r"'conv': no family of its 1 candidates .*skip: the conv has members"):
        lowered(model, x, SKIP)
    supernet = dashfx.rewrite(model.double(), x, ALL)
    assert {c.family for c in supernet.sites["conv"].candidates} == {"dense"}


def test_a_skip_where_shapes_differ_is_one_clear_line() -> None:
    model, x = One(channels=(4, 6), padding=1).double(), noise(1, 4, 20)
    with pytest.raises(SpaceError, match="skip: a skip has as many output as input channels, the conv 4 -> 6"):
        lowered(model, x, SKIP)
    program = dashfx.trace(model, x)
    (result, *_) = [r for r in passes(program) if r.name == "substitute"]
    assert "conv: skip dropped: a skip has as many output as input channels, the conv 4 -> 6" in str(result)


def passes(program: Any) -> list[Any]:
    return [step(program.graph_module) for step in rewriting_passes(ALL, "fresh")]


@pytest.mark.parametrize("choice", [*KEYS, Candidate(4, 1, "pool")], ids=str)
@pytest.mark.parametrize("case", [{"ndim": 1, "padding": 1}, {"ndim": 2, "padding": 1, "padding_mode": "reflect"}])
def test_load_model_rebuilds_it_without_dashfx(case: dict[str, Any], choice: Candidate, tmp_path: Path) -> None:
    model = One(**case, channels=(4, 4)).float().eval()
    x = noise(1, 4, *[9] * case["ndim"]).float()
    plain = lowered(model, x, choice)
    save_weights(plain, tmp_path / "model.safetensors")
    write_loader(tmp_path / "load_model.py", plain, model, names=["conv"])
    rebuilt = runpy.run_path(str(tmp_path / "load_model.py"))["load"](One(**case, channels=(4, 4)).float())
    assert torch.equal(rebuilt(x), plain(x))


def test_how_far_the_network_sees_through_what_was_chosen() -> None:
    model, x = One(channels=(4, 4), padding=1).float(), noise(1, 4, 20).float()
    before = dashfx.trace(model, x)
    seen = {
        str(c): network_of(before, dashfx.trace(lowered(model, x, c), x)).after["conv"]
        for c in (SEPARABLE, Candidate(5, 1, "pool"), SKIP)
    }
    assert seen == {"separable k3 d1": (3.0,), "pool k5": (5.0,), "skip": (1.0,)}


# Genotypes and spaces


def test_genotypes_with_families_have_a_version_of_their_own() -> None:
    plain, other = Genotype({"a": K3}), Genotype({"a": K3, "b": SEPARABLE, "c": SKIP})
    assert plain.to_json() == (
        '{\n  "dashfx_genotype": 1,\n  "rule": "",\n  "sites": {\n    "a": {"kernel": [3], "dilation": [1]}\n  }\n}\n'
    )
    facts = json.loads(other.to_json())
    assert facts["dashfx_genotype"] == 3
    assert facts["sites"]["b"] == {"kernel": [3], "dilation": [1], "family": "separable"}
    assert Genotype.from_json(other.to_json()) == other and str(other["c"]) == "skip"
    with pytest.raises(GenotypeError, match=r"broken genotype: family 3: it is a name"):
        Genotype.from_json(other.to_json().replace('"separable"', "3"))


def test_a_candidate_reads_what_its_family_has() -> None:
    assert Candidate(7, 3, "skip") == Candidate(1, 1, "skip") and Candidate(5, 2, "pool") == Candidate(5, 1, "pool")
    assert repr(Candidate(3)) == "Candidate(kernel=(3,), dilation=(1,))"
    space = SearchSpace.product([3, 5], [1, 2], families=["dense", "pool", "skip"])
    assert list(map(str, space)) == ["k3 d1", "k3 d2", "k5 d1", "k5 d2", "pool k3", "pool k5", "skip"]
    with pytest.raises(SpaceError, match="nested convs are dense ones that share a kernel"):
        SearchSpace.product([3], families=["dense", "nested"])
    nested = SearchSpace.product([3, 5], families=["nested"], keep_original=True)
    assert len(nested.for_site("conv", K3)) == 2


def test_rules_choose_among_families() -> None:
    model, x = One(channels=(4, 4), padding=1).double(), noise(1, 4, 20)
    supernet = dashfx.rewrite(model, x, ALL, init="fresh")
    site = supernet.sites["conv"]
    for name, kernel in (("separable", SEPARABLE), ("skip", SKIP), ("grouped:groups=2", GROUPED)):
        index = site.candidates.index(kernel)
        site.alpha.data.zero_()[index] = 20.0
        for rule in ("argmax", "contribution", "energy"):
            chosen = supernet.genotype(rule)["conv"]
            assert chosen == kernel or (rule == "energy" and chosen.family in (name, "skip", "zero")), (rule, chosen)


# Whole runs


def test_a_run_ends_in_a_checked_file_that_holds_the_choices(tmp_path: Path) -> None:
    space = {**proposing.FAST["space"], "families": ["dense", "separable", "skip"]}
    more = {"space": space, "control": False, "retrain": {"epochs": 1, "batch_size": 16, "weights": "fresh"}}
    result = proposing.run((SEPARABLE, SKIP), out=tmp_path / "run", more=more)
    folder = tmp_path / "run"
    assert result.genotype["conv2"] == SKIP and isinstance(result.model.get_submodule("conv2"), nn.Identity)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    x = np.zeros((1, 2, 24), dtype=np.float32)
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    torch.testing.assert_close(torch.from_numpy(y), result.model(torch.from_numpy(x)), rtol=1e-4, atol=1e-5)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "separable k3 d1" in page and "k3 d1 → skip" in page
    assert json.loads((folder / "genotype.json").read_text())["dashfx_genotype"] == 3


def test_a_search_of_nested_kernels_grows_and_ends_in_dense_ones() -> None:
    config = {
        **proposing.FAST,
        "space": {"kernels": [3, 5], "dilations": [1, 2], "families": ["nested"]},
        "search": {**proposing.FAST["search"], "init": "grow", "autotune": False},
    }
    result = dashfx.search(proposing.ToyNet, proposing.DATA, config=config)
    assert all(choice.family == "dense" for choice in result.genotype.values())
    assert '"dashfx_genotype": 1' in result.genotype.to_json()


def test_the_ladder_says_that_it_leaves_families_out() -> None:
    notes = dashfx.search(
        proposing.ToyNet,
        proposing.DATA,
        config={
            **proposing.FAST,
            "space": {"kernels": [3, 5], "dilations": [1], "families": ["dense", "separable", "skip"]},
            "search": {"strategy": "ladder:most=1"},
        },
    ).notes
    assert any("ladder: its rungs are dense kernels; separable, skip are left out" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--families", "dense,seperable"], "no family 'seperable' (did you mean 'separable'?)"),
        (["--families", ","], "option 'space.families': no family is named"),
        (["--families", "dense,skip,dense"], "option 'space.families': 'dense' is named twice"),
        (
            ["--families", "skip", "--set", "space.keep_original=false"],
            "Site 'stem': no family of its 1 candidates can stand there (skip: ",
        ),
        (["--families", "grouped:n=2"], "no argument 'n'"),
        (["--families", "dense,skip", "--sites", "auto", "--init", "grow"], "space.sites=auto asks"),
        (["--families", "dense,nested"], "nested convs are dense ones that share a kernel"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_trained(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["search", "examples/my_model.py:Net", "--data", "digits", "--out", str(tmp_path / "r"), *options]
    assert run(arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said and "Traceback" not in said
