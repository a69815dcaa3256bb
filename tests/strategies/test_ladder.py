"""The ladder: which rungs follow from a space and an input, what stands in where none fits, what budgets leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import CLASSES, FAST, ToyNet, arrays

import dashfx
from dashfx import Candidate, Genotype, Ladder, SearchSpace, Shared
from dashfx.backbones import TCN, CifarResNet, WRN1d
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.ops import sites_of
from dashfx.run.preflight import check_search
from dashfx.strategies.ladder import Steps
from dashfx.strategies.named import strategy_of

SERIES = SearchSpace.preset("dash1d").with_original()
IMAGES = SearchSpace.preset("dash2d").with_original()


def steps(
    model: nn.Module, size: tuple[int, ...], space: SearchSpace, init: Any = "fresh", multiscale: bool = False
) -> Steps:
    dtype = next(model.parameters()).dtype
    supernet = dashfx.rewrite(model, torch.zeros(1, *size, dtype=dtype), space, init)
    return Steps(sites_of(supernet), init == "grow", multiscale)


def texts(found: Steps) -> list[str]:
    return [str(rung) for rung in found.rungs]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (46, ["k19 d1", "k11 d1", "k7 d3"]),
        (150, ["k19 d1", "k11 d1", "k7 d3"]),
        (283, ["k19 d1", "k11 d1", "k7 d3"]),
        (284, ["k19 d1", "k11 d1", "k7 d3", "k11 d7"]),  # spans 71: three times 19, a quarter of 284
        (1084, ["k19 d1", "k11 d1", "k7 d3", "k11 d7", "k19 d15"]),
    ],
)
def test_series_have_two_dense_rungs_and_dilated_ones_as_far_as_their_length_allows(
    length: int, expected: list[str]
) -> None:
    assert texts(steps(WRN1d(5, 1), (1, length), SERIES)) == expected


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        (CifarResNet(), (3, 32, 32), ["k7 d1", "k5 d1", "k3 d3"]),  # 81 taps would be nine times the own kernel's
        (nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU()), (1, 8, 8, 8), ["k5 d1", "k3 d3"]),
    ],
)
def test_more_axes_make_smaller_rungs(model: nn.Module, size: tuple[int, ...], expected: list[str]) -> None:
    assert texts(steps(model, size, IMAGES)) == expected


def test_a_rung_has_as_many_taps_as_the_rule_allows() -> None:
    """Seven times the own kernel's taps, and 5/3 of the next rung's: k21 and k13 hold, k22 and k12 to k13 do not."""
    net, size = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.ReLU()), (1, 64)
    assert texts(steps(net, size, SearchSpace.product([12, 13, 21, 23], [1]).with_original())) == ["k21 d1", "k12 d1"]
    assert texts(steps(net, size, SearchSpace.product([3, 9, 15], [1]))) == ["k15 d1", "k9 d1"]
    assert texts(steps(net, size, SearchSpace.product([3, 10, 15], [1]))) == ["k15 d1"]


def test_of_equal_spans_the_dilated_rung_has_the_most_taps() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.ReLU())
    space = SearchSpace((Candidate(13), Candidate(3, 6), Candidate(5, 3), Candidate(4, 4)), keep_original=True)
    assert texts(steps(net, (1, 64), space)) == ["k13 d1", "k5 d3"]


def test_every_site_has_the_rung_and_factorised_convs_stay_so() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, (1, 7), padding=(0, 3)), nn.Conv2d(2, 2, (7, 1), padding=(3, 0)))
    (first, *_) = steps(net, (1, 64, 64), SERIES).genotypes("network")
    assert dict(first) == {"0": Candidate((1, 19), (1, 1)), "1": Candidate((19, 1), (1, 1))}
    assert first.rule == "ladder: k19 d1"


class Narrowing(nn.Module):
    """Three convs, at inputs of 32, of 32 and of 8 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1, stride=4)
        self.c = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))


def test_what_spans_more_than_the_input_gives_way_to_the_widest_that_fits() -> None:
    space = SearchSpace.product([5, 9, 15], [1]).with_original()
    found = steps(Narrowing(), (1, 32), space)
    assert texts(found) == ["k15 d1", "k9 d1", "k5 d1"]
    rows = {each.rule: [each[name].span[0] for name in "abc"] for each in found.genotypes("network")}
    assert rows == {"ladder: k15 d1": [15, 15, 5], "ladder: k9 d1": [9, 9, 5], "ladder: k5 d1": [5, 5, 5]}
    (first, *_) = steps(Narrowing(), (1, 32), SearchSpace.product([4, 7, 15], [1])).genotypes("network")
    assert [first[name].span[0] for name in "abc"] == [15, 15, 7]
    without = steps(Narrowing(), (1, 32), SearchSpace.product([9, 15], [1]))
    assert [each["c"] for each in without.genotypes("network")] == [Candidate(3)] * 2  # its own


def test_a_rung_that_stands_nowhere_is_none() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.ReLU())
    space = SearchSpace.product([5, 13], [1]).with_original()
    # All thirteen taps meet an input of 8 steps, but it is no wider than that.
    assert [each.rule for each in steps(net, (1, 8), space).genotypes("network")] == ["ladder: k5 d1"]


def test_by_stage_each_rung_changes_one_resolution_at_a_time() -> None:
    found = list(steps(Narrowing(), (1, 32), SearchSpace.product([5, 7], [1]).with_original()).genotypes("stage"))
    rows = [(each.rule.removeprefix("ladder: "), [each[name].kernel[0] for name in "abc"]) for each in found]
    assert rows == [("k7 d1", [7, 7, 7]), ("k7 d1 in stage 1", [7, 7, 3]), ("k7 d1 in stage 2", [3, 3, 7])]
    same = steps(WRN1d(5, 1), (1, 64), SERIES)
    assert len(list(same.genotypes("stage"))) == len(same.rungs)  # one resolution is one stage


@pytest.mark.parametrize(
    ("model", "size", "space", "expected"),
    [
        (WRN1d(5, 1), (1, 64), SERIES, ["own | k11 d1 | k19 d1 by channels", "k19 d1", "k11 d1", "own + k7 d3"]),
        (CifarResNet(), (3, 16, 16), IMAGES, ["own | k5 d1 | k7 d1 by channels", "k7 d1", "k5 d1", "own + k3 d3"]),
        (
            TCN(5, 2, channels=(4, 4)),
            (2, 40),
            SERIES,
            ["own | k11 d1 | k19 d1 by channels", "k19 d1", "k11 d1", "own + k7 d3"],
        ),
    ],
)
def test_rungs_that_grow_hold_the_own_kernels_and_start_with_the_model_s_output(
    model: nn.Module, size: tuple[int, ...], space: SearchSpace, expected: list[str]
) -> None:
    model = model.double().eval()
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = steps(model, size, space, "grow", multiscale=True)
    proposed = list(found.genotypes("network"))
    assert [each.rule.removeprefix("ladder: ") for each in proposed] == expected
    for genotype in proposed:
        grown = dashfx.specialise(model, x, genotype, "grow").eval()
        torch.testing.assert_close(grown(x), model(x), rtol=1e-9, atol=1e-11)


class Given:
    """What a ladder uses of a run."""

    def __init__(self, supernet: nn.Module, **options: Any) -> None:
        self.sites, self.limits, self.config, self.notes = sites_of(supernet), None, RunConfig.parse(options), []

    def note(self, text: str) -> None:
        self.notes.append(text)


def proposals(model: nn.Module, space: SearchSpace, by: Any = "network", multiscale: bool = False) -> list[str]:
    given: Any = Given(dashfx.rewrite(model, torch.zeros(1, 1, 32), space, "fresh"))
    ladder = Ladder(by, multiscale)
    found = ladder.proposals(given)
    names = [each.rule.removeprefix("ladder: ") for each in found]
    rungs = "1 rung" if len(names) == 1 else f"{len(names)} rungs"
    assert given.notes == [f"ladder: {rungs}: {', '.join(names)}"] and ladder.search(given) == found[0]
    return names


def test_what_repeats_is_proposed_once() -> None:
    """At eight steps neither fits, so that everywhere is the same as in the first stage alone."""
    assert proposals(Narrowing(), SearchSpace.product([9, 15], [1]), "stage") == ["k15 d1", "k9 d1"]
    assert len(proposals(Narrowing(), SearchSpace.product([5, 7], [1]), "stage")) == 3


def test_what_changes_nothing_is_not_proposed() -> None:
    """The last conv could take nine taps, if they fitted its eight steps; the first has them already."""
    net = Narrowing()
    net.a = nn.Conv1d(1, 2, 9, padding=4)
    own = SearchSpace(
        (Candidate(3),), (("a", (Candidate(9), Candidate(5))), ("c", (Candidate(9),))), keep_original=True
    )
    assert proposals(net, own) == ["k5 d1"]  # not k9 d1, which a has and c cannot have


@pytest.mark.parametrize(
    ("options", "space"),
    [({}, {"kernels": [3], "dilations": [1]}), ({}, {"kernels": [25], "dilations": [1]})],
)
def test_no_rung_at_all_is_one_line_before_anything_is_written(
    options: dict[str, Any], space: dict[str, Any], tmp_path: Path
) -> None:
    config = {**FAST, **options, "space": space}
    with pytest.raises(ConfigError, match="a ladder without rungs that fit: no candidate of the space"):
        dashfx.search(ToyNet, arrays(), config=config, strategy="ladder", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_growing_without_a_rung_that_holds_the_own_kernels_says_so() -> None:
    config = {**FAST, "space": {"kernels": [3, 4], "dilations": [1, 2]}, "search": {"init": "grow"}}
    dashfx.search(ToyNet, arrays(), config=config, strategy="ladder")  # k4 d1 holds k3 d1
    config["space"] = {"kernels": [3], "dilations": [1, 2]}
    (choice,) = set(dashfx.search(ToyNet, arrays(), config=config, strategy="ladder").genotype.values())
    assert str(choice) == "k3 d1 + k3 d2"  # what is added may have other taps
    with pytest.raises(ConfigError, match="is wider than the own kernels, has all their taps and fits"):
        dashfx.search(ToyNet, arrays(), config=config, strategy="ladder:multiscale=false")


def params(genotype: Genotype) -> int:
    model = dashfx.specialise(ToyNet(), torch.zeros(1, 2, 24), genotype, "fresh")
    return sum(p.numel() for p in model.parameters())


def test_what_exceeds_a_budget_is_not_proposed(tmp_path: Path) -> None:
    space = {"kernels": [7, 13], "dilations": [1]}

    def searched(limit: int, **more: Any) -> Genotype:
        config = {**FAST, "space": space, "search": {**FAST["search"], "budgets": [f"params={limit}"]}}
        return dashfx.search(ToyNet, arrays(), config=config, strategy="ladder:multiscale=false", **more).genotype

    both = [Genotype({"conv1": Candidate(k), "conv2": Candidate(k)}) for k in (13, 7)]
    assert searched(params(both[0])) == both[0]
    assert searched(params(both[0]) - 1) == searched(params(both[1])) == both[1]
    with pytest.raises(ConfigError, match=r"none of k13 d1, k7 d1 holds params="):
        searched(params(both[1]) - 1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Rungs of several scales


def test_several_scales_come_first_by_channels_and_last_as_a_sum() -> None:
    rungs = ["own | k11 d1 | k19 d1 by channels", "k19 d1", "k11 d1", "k7 d3", "own + k7 d3"]
    found = list(steps(WRN1d(5, 1), (1, 64), SERIES, multiscale=True).genotypes("network"))
    assert [each.rule for each in found] == [f"ladder: {rung}" for rung in rungs]
    assert found[0]["block1.conv2"] == Shared((Candidate(5), Candidate(11), Candidate(19)))
    assert found[-1]["block1.conv3"] == Shared((Candidate(3), Candidate(7, 3)), "sum")
    assert [str(each["block1.conv2"]) for each in found[1:4]] == rungs[1:4]
    one = steps(WRN1d(5, 1), (1, 64), SearchSpace.product([9], [1]).with_original(), multiscale=True)
    assert [each.rule for each in one.genotypes("network")] == ["ladder: own | k9 d1 by channels", "ladder: k9 d1"]


def test_a_site_has_the_parts_that_fit_it() -> None:
    space = SearchSpace.product([5, 9, 15], [1]).with_original()
    (first, *_) = steps(Narrowing(), (1, 32), space, multiscale=True).genotypes("network")
    assert [str(first[name]) for name in "abc"] == ["k3 d1 | k15 d1 by channels"] * 2 + ["k3 d1"]  # of two channels
    wide = Narrowing()
    wide.a, wide.b, wide.c = (nn.Conv1d(n, 4, k, padding=k // 2) for n, k in ((1, 3), (4, 9), (4, 3)))
    wide.c.groups_of_its_own = 2  # type: ignore[assignment]
    (first, *_) = steps(wide, (1, 12), space, multiscale=True).genotypes("network")
    assert [str(first[name]) for name in "abc"] == ["k3 d1 | k9 d1 by channels", "k9 d1", "k3 d1"]


def test_grouped_convs_share_their_groups() -> None:
    net = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1, groups=2), nn.Conv1d(8, 1, 3, padding=1))
    space = SearchSpace.product([9, 15], [1, 2]).with_original()
    first, *_, last = steps(net, (4, 40), space, multiscale=True).genotypes("network")
    assert [str(first[name]) for name in "01"] == ["k3 d1 | k15 d1 by channels", "k3 d1"]
    assert [str(last[name]) for name in "01"] == ["k3 d1 + k9 d2"] * 2


def test_one_stage_alone_can_have_several_scales() -> None:
    found = proposals(Narrowing(), SearchSpace.product([5, 7], [1]).with_original(), "stage", multiscale=True)
    assert found[:2] == ["own | k7 d1 by channels", "k7 d1"]
    assert [each for each in found if each.startswith("own") and "stage" in each] == [
        "own | k7 d1 by channels in stage 1",
        "own | k7 d1 by channels in stage 2",
    ]


def test_budgets_know_what_several_scales_cost() -> None:
    space = {"kernels": [7, 13], "dilations": [1]}
    shared = Genotype({name: Shared((Candidate(3), Candidate(7), Candidate(13))) for name in ("conv1", "conv2")})

    def searched(limit: int) -> Genotype:
        config = {**FAST, "space": space, "search": {**FAST["search"], "budgets": [f"params={limit}", "macs=100M"]}}
        return dashfx.search(ToyNet, arrays(), config=config, strategy="ladder").genotype

    assert searched(params(shared)) == shared
    assert params(shared) < params(
        Genotype(dict.fromkeys(shared, Candidate(7)))
    )  # of four channels two have three taps
    with pytest.raises(ConfigError, match=r"none of own \| k7 d1 \| k13 d1 by channels, k13 d1, k7 d1 holds"):
        searched(params(shared) - 1)


def test_a_search_by_the_ladder_hands_back_one_of_its_rungs() -> None:
    config = {**FAST, "space": {"kernels": [3, 5, 7, 9, 11]}}
    result = dashfx.search(ToyNet, arrays(), config=config, strategy=Ladder(multiscale=False))
    assert set(result.genotype.values()) in [{Candidate(11)}, {Candidate(5)}]
    assert result.model(torch.zeros(1, 2, 24)).shape == (1, CLASSES)
    assert result.kept is not None and result.kept.origin == "searched"


def test_ties_of_mixtures_are_refused_by_a_ladder_that_has_none() -> None:
    with pytest.raises(ConfigError, match=r"search.tie=all ties mixtures, of which a ladder trains none: leave it out"):
        check_search(RunConfig.parse({"search": {"strategy": "ladder", "tie": "all"}}))
    check_search(RunConfig.parse({"search": {"strategy": "dash", "tie": "all"}}))


def test_the_ladder_is_known_by_its_name_and_argument() -> None:
    def named(text: str) -> Any:
        return strategy_of(RunConfig.parse({"search": {"strategy": text}}))

    assert named("ladder") == Ladder("network", True) and named("ladder:by=stage") == Ladder("stage")
    assert named("ladder:multiscale=false,by=stage") == Ladder("stage", multiscale=False)
    assert not named("ladder").is_control and named("ladder").training is None
    with pytest.raises(ConfigError, match="argument 'by'"):
        named("ladder:by=block")


def test_candidates_that_have_left_are_no_rungs() -> None:
    supernet = dashfx.rewrite(Narrowing(), torch.zeros(1, 1, 32), SearchSpace.product([5, 9, 15], [1]), "fresh")
    for site in sites_of(supernet).values():
        site.mask &= torch.tensor([candidate.kernel != (15,) for candidate in site.candidates])
    assert texts(Steps(sites_of(supernet))) == ["k9 d1", "k5 d1"]
