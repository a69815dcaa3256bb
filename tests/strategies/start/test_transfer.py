"""Transfer: choices of a shallow network apply to a deep one by group, and nothing is guessed beyond that."""

from __future__ import annotations

import pytest
import torch

import dashfx
from dashfx.backbones import CifarResNet
from dashfx.errors import GenotypeError
from dashfx.space import Candidate
from dashfx.strategies.start.transfer import matches, transfer

K = {n: Candidate((k, k)) for n, k in enumerate((3, 5, 7, 9))}


def test_a_deep_network_takes_the_choices_of_its_groups() -> None:
    x = torch.zeros(2, 3, 8, 8)
    shallow, deep = dashfx.trace(CifarResNet(8), x).sites, dashfx.trace(CifarResNet(20), x).sites
    assert len(shallow) < len(deep)
    chosen = dashfx.Genotype({name: K[i % 4] for i, name in enumerate(shallow)}, "argmax")
    found = transfer(chosen, CifarResNet(20), x)
    assert list(found) == list(deep) and found.rule == "argmax"
    for name, choice in found.items():
        parts = name.split(".")
        assert choice == chosen[name if name in chosen else f"{parts[0]}.0.{parts[-1]}"], name
    assert transfer(found, CifarResNet(20), x) == found
    assert transfer(found, CifarResNet(8), x) == chosen


def test_the_nearest_block_counts_the_outer_number_first() -> None:
    known = ["a.0.0.conv", "a.0.3.conv", "a.2.0.conv"]
    assert matches(["a.1.3.conv", "a.0.2.conv", "a.5.9.conv", "a.0.1.conv"], known) == {
        "a.1.3.conv": "a.0.3.conv",
        "a.0.2.conv": "a.0.3.conv",
        "a.5.9.conv": "a.2.0.conv",
        "a.0.1.conv": "a.0.0.conv",
    }


def test_another_network_is_refused() -> None:
    with pytest.raises(GenotypeError, match=r"a genotype of stem fits none of the model's convs \(conv1"):
        transfer(dashfx.Genotype({"stem": K[1]}), CifarResNet(8), torch.zeros(2, 3, 8, 8))
