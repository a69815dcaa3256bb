"""Scores of searches: an oracle has tau 1, shuffled scores hold 0, mixtures score what they would choose highest."""

from __future__ import annotations

import math

import numpy as np
import torch
from toys import SIZE, ToyNet

from dashfx import SearchSpace, rewrite
from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.space import Candidate
from dashfx.study.scores import distinct, likelihood, rank_correlation

TABLE = {Genotype({"conv": Candidate(2 * i + 1)}): 0.5 + 0.01 * i for i in range(40)}


def test_an_oracle_has_tau_one() -> None:
    assert rank_correlation(TABLE.__getitem__, TABLE).tau == 1.0
    assert rank_correlation(lambda genotype: -TABLE[genotype], TABLE).tau == -1.0
    assert rank_correlation(lambda genotype: -TABLE[genotype], TABLE, maximise=False).tau == 1.0  # of errors


def test_shuffled_scores_hold_zero() -> None:
    held = 0
    for seed in range(20):
        values = np.random.default_rng(seed).permutation(list(TABLE.values()))
        scores = dict(zip(TABLE, values.tolist(), strict=True))
        low, high = rank_correlation(scores.__getitem__, TABLE).tau_interval
        held += low <= 0 <= high
    assert held >= 18


def test_the_likeliest_genotype_scores_highest() -> None:
    supernet = rewrite(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2]), init="fresh")
    sites = sites_of(supernet)
    generator = torch.Generator().manual_seed(0)
    for site in sites.values():
        with torch.no_grad():
            site.alpha.copy_(torch.randn(len(site.candidates), generator=generator))
    score, space = likelihood(sites), GenotypeSpace.of(sites)
    best = Genotype({name: site.candidates[int(site.alpha.argmax())] for name, site in sites.items()})
    drawn = [space.sample(generator) for _ in range(20)]
    assert max(map(score, drawn)) <= score(best)
    by_hand = [math.log(s.coefficients()[s.candidates.index(best[n])].item()) for n, s in sites.items()]
    assert math.isclose(score(best), sum(by_hand) / len(by_hand), rel_tol=1e-6)
    assert score(Genotype({**best, "conv1": Candidate(99)})) == -math.inf  # what has left


def test_results_of_one_genotype_are_averaged() -> None:
    a, b = list(TABLE)[:2]
    assert distinct([(a, 1.0), (b, 2.0), (a, 3.0)]) == {a: 2.0, b: 2.0}
