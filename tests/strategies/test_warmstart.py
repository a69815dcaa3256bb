"""What mixtures start from: a conv's own kernel ahead of the others, and a model that computes what it did."""

from __future__ import annotations

import pytest
import torch
from toys import SIZE, ToyNet

import dashfx
from dashfx import Candidate, SearchSpace
from dashfx.ops import sites_of
from dashfx.strategies.warmstart import favour_original, leading_logits

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
