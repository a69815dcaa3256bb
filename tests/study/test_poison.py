"""Poisoned spaces: as many useless candidates as asked for, and who falls for them."""

from __future__ import annotations

import torch
from toys import SIZE, ToyNet

import dashfx
from dashfx import Candidate, SearchSpace
from dashfx.ops import sites_of
from dashfx.strategies.rules import Contribution, RandomChoice
from dashfx.study.poison import is_poison, poisoned, poisoned_share

SPACE = SearchSpace((Candidate(3), Candidate(5)), (("conv2", (Candidate(5, 2),)),))


def test_every_site_has_the_copies_and_each_keeps_one_number() -> None:
    space = poisoned(SPACE, 6)
    assert [sum(map(is_poison, each)) for each in (space.candidates, space.overrides[0][1])] == [6, 6]
    assert space.candidates[:2] == SPACE.candidates and not any(map(is_poison, SPACE.candidates))
    assert not is_poison(Candidate(3, 1, "sparse:share=0.2")) and not is_poison(Candidate(3, 1, "sparse"))
    torch.manual_seed(0)
    supernet = dashfx.rewrite(ToyNet(dropout=0.0), torch.zeros(2, 2, SIZE), space)
    for site in sites_of(supernet).values():
        kernels = [k for k, c in zip(site.own_kernels(), site.candidates, strict=True) if is_poison(c)]
        assert [int((kernel != 0).sum()) for kernel in kernels] == [1] * 6


def test_draws_fall_for_it_and_a_rule_that_weighs_kernels_does_not() -> None:
    space = poisoned(SearchSpace((Candidate(3), Candidate(5))), 6)
    torch.manual_seed(0)
    supernet = dashfx.rewrite(ToyNet(dropout=0.0), torch.zeros(2, 2, SIZE), space)
    sites = sites_of(supernet)
    drawn = [poisoned_share(RandomChoice(seed).select(sites)) for seed in range(60)]
    assert 0.6 < sum(drawn) / 60 < 0.9  # six of eight candidates
    assert poisoned_share(Contribution().select(sites)) == 0
    assert poisoned_share({"a": space.candidates[0], "b": space.candidates[-1]}) == 0.5
