"""Shape types: the verdict of fake tensors is what running the module shows, and refusals name site and mismatch."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

import dashfx
from dashfx.errors import DashfxError, SpaceError
from dashfx.ops.families import FAMILIES, conv_of
from dashfx.ops.families.separable import Separable
from dashfx.ops.families.typed import mismatch, type_of, type_of_site
from dashfx.site import Site
from dashfx.space import Candidate


class Shifted(Separable):
    """Forgets stride and padding."""

    def module(self, site: Any, candidate: Any, device: Any, dtype: Any) -> nn.Module:
        return nn.Conv1d(site.in_channels, site.out_channels, candidate.kernel, device=device, dtype=dtype)


class Narrow(Separable):
    """Gives one channel."""

    def module(self, site: Any, candidate: Any, device: Any, dtype: Any) -> nn.Module:
        module = super().module(site, candidate, device, dtype)
        return nn.Sequential(module, nn.Conv1d(site.out_channels, 1, 1, device=device, dtype=dtype))


BROKEN: dict[str, Any] = {"shifted": Shifted, "narrow": Narrow}


@pytest.fixture(autouse=True)
def with_broken_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, family in BROKEN.items():
        monkeypatch.setitem(FAMILIES, name, family)


def drawn(rng: random.Random) -> tuple[Site, Candidate]:
    kernel, dilation = rng.choice((2, 3, 5)), rng.choice((1, 2))
    own, channels, groups = Candidate(kernel, dilation), rng.choice((2, 4)), rng.choice((1, 1, 2))
    padding, mode = rng.randrange(0, 4), rng.choice(("zeros", "zeros", "reflect", "circular"))
    size, stride = own.extent[0] + rng.randrange(1, 8), rng.choice((1, 1, 2))
    out = rng.choice((channels, 4))
    site = Site(
        "conv", channels, out, own, (stride,), ((padding, padding),), groups, True, mode, ((size,), (size + 3,))
    )
    family = rng.choice([name for name in FAMILIES if name not in ("dense", "nested")])
    return site, Candidate(rng.choice((1, 3, 5)), rng.choice((1, 2)), family)


def runs(site: Site, candidate: Candidate) -> bool:
    """Whether the module itself gives what the conv does."""
    try:
        module = conv_of(site, candidate, torch.device("cpu"), torch.float32)
        given = [tuple(module(torch.zeros(2, *read)).shape[1:]) for read, _ in type_of_site(site).pairs]
    except (RuntimeError, DashfxError):
        return False
    return given == [wanted for _, wanted in type_of_site(site).pairs]


def test_the_verdict_is_that_of_running_the_module() -> None:
    rng = random.Random(0)
    pairs = [drawn(rng) for _ in range(300)]
    verdicts = [mismatch(site, candidate) for site, candidate in pairs]
    assert [verdict is None for verdict in verdicts] == [runs(*pair) for pair in pairs]
    fine = sum(verdict is None for verdict in verdicts)
    assert 60 < fine < 240 and {"shifted", "narrow"} <= {
        c.family for (_, c), v in zip(pairs, verdicts, strict=True) if v
    }


def test_a_mismatch_says_what_is_given_and_what_is_wanted() -> None:
    site = Site("conv", 2, 4, Candidate(3), (2,), ((1, 1),), 1, True, "zeros", ((9,),))
    assert type_of(site, Candidate(5, 1, "separable")) == type_of_site(site)
    assert mismatch(site, Candidate(3, 1, "shifted")) == "it gives 4x7 for 2x9, the conv gives 4x5"
    assert mismatch(site, Candidate(3, 1, "narrow")) == "it gives 1x5 for 2x9, the conv gives 4x5"
    assert "input size" in str(mismatch(site, Candidate(11, 1, "shifted")))


def test_a_choice_of_another_type_is_refused_at_its_site_before_training() -> None:
    model, x = nn.Sequential(nn.Conv1d(2, 4, 3, 2, 1)), torch.zeros(2, 2, 9)
    with pytest.raises(SpaceError, match=r"Site '0': none of its 1 .* 9 \(it gives 4x7 for 2x9, the conv"):
        dashfx.rewrite(model, x, dashfx.SearchSpace((Candidate(3, 1, "shifted"),)), "fresh")
    both = dashfx.SearchSpace((Candidate(3, 1, "shifted"), Candidate(3)))
    assert dashfx.rewrite(model, x, both, "fresh").sites["0"].candidates == (Candidate(3),)
