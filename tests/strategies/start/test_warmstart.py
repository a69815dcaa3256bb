"""What mixtures start from: a conv's own kernel ahead of the others, and a model that computes what it did."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Literal, cast

import pytest
import torch
from toys import SIZE, ToyNet

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.blackbox.base import Row
from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.ops import sites_of
from dashfx.strategies.base import Context
from dashfx.strategies.gradient import favour
from dashfx.strategies.start.warmstart import favour_original, leading_logits, marginal_logits

CHOICES = SearchSpace.product([3, 5], [1, 2]).candidates


def test_the_own_kernel_has_its_share_and_the_others_are_even() -> None:
    coef = leading_logits(CHOICES, Candidate(5, 1), 0.7).softmax(0)
    assert coef.tolist() == pytest.approx([0.1, 0.1, 0.7, 0.1])


@pytest.mark.parametrize(("original", "share"), [(Candidate(7, 1), 0.7), (Candidate(5, 1), 0.25), (Candidate(5, 1), 0)])
def test_without_a_lead_to_give_the_mixture_is_even(original: Candidate, share: float) -> None:
    assert not leading_logits(CHOICES, original, share).any()


def test_a_lead_leaves_what_a_grown_model_computes() -> None:
    torch.manual_seed(0)
    x, model = torch.randn(2, 2, SIZE), ToyNet(dropout=0.0).eval()
    supernet = dashfx.rewrite(model, x, SearchSpace.product([3, 5], [1, 2])).eval()
    favour_original(supernet.sites, 0.9)
    tops = [site.coefficients().max().item() for site in sites_of(supernet).values()]
    assert tops == pytest.approx([0.9] * 2)
    torch.testing.assert_close(supernet(x), model(x))


@pytest.mark.parametrize("init", ["grow", "fresh"])
def test_only_a_grown_conv_leads(init: Literal["grow", "fresh"]) -> None:
    supernet = dashfx.rewrite(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2]), init)
    config = RunConfig(search=SearchConfig.parse({"init": init, "lead": 0.7}))
    favour(cast(Context, SimpleNamespace(config=config, sites=supernet.sites)))
    assert all(bool(site.alpha.any()) == (init == "grow") for site in supernet.sites.values())


def test_logits_are_half_the_z_scores_of_ranks() -> None:
    genomes = [Genotype({"conv": choice}) for choice in CHOICES[:2]]
    rows = [
        Row(i, genome, value, value, None, 0.0)
        for i, (genome, value) in enumerate(zip(genomes, (7.0, 9.0), strict=True))
    ]
    expected = math.sqrt(3) / 4  # of one draw each, ranks -1/2 and 1/2
    assert marginal_logits(rows, "conv", CHOICES).tolist() == pytest.approx([-expected, expected, 0, 0])
