"""The ceiling on supernets: what mixtures cost, which options leave or become branches, what never fits a budget."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

import dashfx
from dashfx.backbones import FNO, TCN, WRN, ResNet18, WRN1d
from dashfx.config.ceiling import Ceiling, read_ceiling
from dashfx.config.space import SpaceConfig
from dashfx.cost.budgets import Limits, limits_of, read_budgets
from dashfx.cost.ceiling.never import never_held
from dashfx.cost.ceiling.rule import Held, held
from dashfx.cost.ceiling.supernet import Plain, mixture_macs, mixture_weights
from dashfx.cost.counts import conv_macs, flops_of, parameters_of
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import trace
from dashfx.ops import AggConv, BesideConv, decisions_of, sites_of
from dashfx.site import Site
from dashfx.space import Candidate, SearchSpace
from dashfx.stages.finalists.work import mixture_work


def under(model: nn.Module, *size: int, rows: int = 8, **options: Any) -> Held:
    program, space = trace(model.eval(), torch.randn(2, *size)), SpaceConfig.parse(options)
    plain = Plain(parameters_of(model), lambda: flops_of(model, torch.randn(1, *size)) / 2)
    return held(space.build(program.ndim), space, program.sites, plain, rows)


def built(found: Held, model: nn.Module, *size: int) -> nn.Module:
    supernet: nn.Module = dashfx.rewrite(model, torch.randn(2, *size), found.space, "fresh")
    return supernet


def net(*channels: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)))


def wide(**options: Any) -> Held:
    return under(net(3, 16, 16, 32), 3, 9, 9, ceiling_from=0, **options)


SMALL = {
    "WRN-16-4": (lambda: WRN(16, 4), (3, 32, 32)),
    "WRN-16-1": (lambda: WRN(16, 1), (3, 32, 32)),
    "1-D WRN": (WRN1d, (1, 200)),
    "TCN": (TCN, (1, 200)),
    "FNO": (FNO, (1, 32, 32)),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_keep_the_whole_space(name: str) -> None:
    build, size = SMALL[name]
    found = under(build(), *size)
    assert not found.acts and found.space == SpaceConfig().build(len(size) - 1)


def test_resnet18_has_few_parameters_more_than_its_model() -> None:
    model = ResNet18(num_classes=1000)
    found = under(model, 3, 224, 224)
    assert found.acts and found.params < 1.2 * found.plain.params and found.steps < 2
    whole = under(model, 3, 224, 224, ceiling="none")
    assert not whole.acts and whole.params == pytest.approx(325.5e6, rel=0.001)
    assert "16 of 17 convs" in found.sentence()


def test_parameters_are_those_of_the_supernet() -> None:
    for found in (wide(), wide(ceiling="none"), wide(families=["beside"])):
        supernet = built(found, net(3, 16, 16, 32), 3, 9, 9)
        logits = sum(site.alpha.numel() for site in sites_of(supernet).values())
        assert found.params == parameters_of(supernet) - logits


def test_multiply_adds_are_those_that_trainings_are_compared_by() -> None:
    for found in (wide(), wide(ceiling="none")):
        supernet = built(found, net(3, 16, 16, 32), 3, 9, 9)
        for name, site in sites_of(supernet).items():
            assert mixture_macs(found.offers[name].site, found.offers[name].now, 1) == mixture_work(site)


def test_a_conv_whose_channels_cannot_be_divided_keeps_dense_kernels() -> None:
    found = wide(ceiling="params=40x")
    assert not found.acts
    found = wide()
    kinds = {name: type(site) for name, site in sites_of(built(found, net(3, 16, 16, 32), 3, 9, 9)).items()}
    assert kinds == {"0": AggConv, "1": BesideConv, "2": BesideConv}
    assert found.params <= 4 * found.plain.params
    assert not found.offers["1"].why.endswith("leaves") and {c.family for c in found.offers["1"].now} == {
        "dense",
        "beside",
    }


def test_where_nothing_can_be_a_branch_options_leave_from_the_largest() -> None:
    model = net(7, 11, 13)
    found = under(model, 7, 9, 9, ceiling_from=0, ceiling="params=4x")
    assert found.params <= 4 * found.plain.params and all(offer.why for offer in found.offers.values())
    for offer in found.offers.values():
        gone = set(offer.space) - set(offer.now)
        assert offer.site.original in offer.now and {c.family for c in offer.now} == {"dense"}
        assert max(c.taps for c in gone) == max(c.taps for c in offer.space)
    assert set(built(found, model, 7, 9, 9)[0].candidates) == set(found.offers["0"].now)  # type: ignore[index]
    assert "options leave" in found.sentence()


def test_what_cannot_be_held_is_said() -> None:
    found = under(net(7, 11), 7, 9, 9, ceiling_from=0, ceiling="params=1x", overrides={"0": {"kernels": [5]}})
    assert not found.acts
    found = under(net(7, 11, 13), 7, 9, 9, ceiling_from=0, ceiling="params=1x", overrides={"0": {"kernels": [5]}})
    assert found.acts and "above the ceiling still" in found.sentence()
    assert [offer.why != "" for offer in found.offers.values()] == [False, True]


@pytest.mark.parametrize("options", [{"families": ["dense"]}, {"candidates": [{"kernel": [5, 5], "dilation": [1, 1]}]}])
def test_families_and_candidates_that_are_named_stay(options: dict[str, Any]) -> None:
    found = wide(**options)
    assert not found.acts and found.space == SpaceConfig.parse(options).build(2)


def test_convs_that_are_left_alone_do_not_count() -> None:
    found = wide(exclude=["1", "2"])
    assert set(found.offers) == {"0"}


def test_multiply_adds_have_a_ceiling_too() -> None:
    free, tight = wide(ceiling="params=4x"), wide(ceiling="params=4x,macs=1.2x")
    assert free.steps > 1.2 and tight.steps < free.steps
    assert sum(len(o.now) for o in tight.offers.values()) < sum(len(o.now) for o in free.offers.values())


def test_ceilings_are_read() -> None:
    assert read_ceiling("macs=3x") == Ceiling(math.inf, 3.0)
    for text in ("4x", "params=4", "params=0.5x", "weights=4x", "params=4x,params=5x", ""):
        with pytest.raises(ConfigError, match=r"option 'ceiling': write params=4x,macs=5x, one of the two, or none"):
            SpaceConfig.parse({"ceiling": text})


def test_branches_count_their_own_kernel_once() -> None:
    site = Site("a", 8, 8, Candidate((3, 3)), (1, 1), ((1, 1), (1, 1)), 1, True, "zeros", ((9, 9),))
    branches = [Candidate((5, 5), 1, "beside"), Candidate((3, 3), (2, 2), "beside")]
    assert mixture_weights(site, [site.original, *branches]) == 8 * 8 * 9 + 8 * 25 + 8 * 9
    assert mixture_macs(site, [site.original, *branches], 2) > 2 * conv_macs(site, site.original)


# Budgets


def limited(model: nn.Module, *budgets: str) -> tuple[Limits, dict[str, list[Candidate]], list[list[str]]]:
    space = SearchSpace.product([3, 5, 7], keep_original=True)
    supernet = dashfx.rewrite(model, torch.randn(2, 3, 9, 9), space, "fresh")
    choices = {name: list(site.candidates) for name, site in sites_of(supernet).items()}
    program = trace(model, torch.randn(2, 3, 9, 9))
    return limits_of(read_budgets(budgets), program, choices), choices, decisions_of(sites_of(supernet))


def brute(limits: Limits, choices: dict[str, list[Candidate]]) -> dict[str, set[Candidate]]:
    """By trying all genotypes of two sites."""
    fits = [{"0": a, "1": b} for a in choices["0"] for b in choices["1"] if limits.hold({"0": a, "1": b})]
    gone = {name: set(row) - {each[name] for each in fits} for name, row in choices.items()}
    return {name: found for name, found in gone.items() if found}


@pytest.mark.parametrize("budget", ["params=1.5x", "macs=2.5x", "params=3x", "params=1.01x", "macs=9x"])
def test_what_never_fits_a_budget_is_what_no_genotype_has(budget: str) -> None:
    limits, choices, alike = limited(net(3, 4, 4), budget)
    assert never_held(limits, choices, alike) == brute(limits, choices)


def test_tied_sites_lose_an_option_together() -> None:
    limits, choices, _ = limited(net(3, 3, 3), "params=2x")
    apart = never_held(limits, choices, [["0"], ["1"]])
    tied = never_held(limits, choices, [["0", "1"]])
    assert tied["0"] == tied["1"] == {Candidate((5, 5)), Candidate((7, 7))} > apart.get("0", set())
