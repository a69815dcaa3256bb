"""Random variants of a model: all different, and none of them the model as it is."""

from __future__ import annotations

import torch
from toys import SIZE, ToyNet

from dashfx import SearchSpace
from dashfx.run.known_networks import sampled


def test_variants_are_different_and_none_is_the_untouched_model() -> None:
    found = sampled(ToyNet(), torch.zeros(2, 2, SIZE), SearchSpace.product([3, 5], [1, 2]), 60, seed=0)
    assert found.keys() == {"untouched", *map(str, range(1, 16))}, "four candidates at two sites"
    assert len(set(found.values())) == 16
