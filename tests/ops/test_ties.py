"""Tied mixtures: whose logits are shared, what their gradients come to, and who chooses alike."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import SIZE, ToyNet

import dashfx
from dashfx import AggConv, Candidate, SearchSpace
from dashfx.errors import ConfigError
from dashfx.ops import decisions_of, tie
from dashfx.ops.ties import alike, logits_of

SPACE = SearchSpace.product([3, 5], [1, 2])


class Strided(nn.Module):
    """Four convs of two output sizes and three shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(2, 4, 3, padding=1)
        self.b = nn.Conv1d(4, 4, 3, padding=1)
        self.c = nn.Conv1d(4, 4, 3, padding=1, stride=2)
        self.d = nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.c(self.b(self.a(x)).relu()).relu()).mean(-1)


def supernet(model: nn.Module | None = None, by: Any = "all") -> Any:
    """In float64, with even mixtures of four candidates a site."""
    torch.manual_seed(0)
    made = dashfx.rewrite((model or ToyNet(dropout=0.0)).double(), torch.zeros(2, 2, SIZE).double(), SPACE, "fresh")
    made.tie(by)
    return made.eval()


def pair(*lists: tuple[int, ...]) -> dict[str, AggConv]:
    """Sites by hand, a list of kernel sizes each."""
    sites = {str(i): AggConv(1, 1, map(Candidate, kernels)) for i, kernels in enumerate(lists)}
    for number, site in enumerate(sites.values()):
        site.alpha.data.copy_(torch.randn(len(site.candidates), generator=torch.Generator().manual_seed(number)))
    return sites


def set_logits(made: Any, seed: int = 3) -> None:
    """The same logits at every site."""
    value = torch.randn(4, generator=torch.Generator().manual_seed(seed)).double()
    for site in made.sites.values():
        site.alpha.data.copy_(value)


def test_the_gradient_of_a_tied_logit_is_the_mean_of_the_sites_and_that_of_finite_differences() -> None:
    made = supernet()
    set_logits(made)
    x = torch.randn(4, 2, SIZE, generator=torch.Generator().manual_seed(1)).double()

    def loss() -> Tensor:
        return made(x).square().sum()

    alphas = made.arch_parameters()
    tied = torch.autograd.grad(loss(), alphas)
    made.tie("none")
    apart = torch.autograd.grad(loss(), alphas)
    made.tie("all")
    assert not torch.allclose(apart[0], apart[1])
    for found in tied:
        torch.testing.assert_close(found, (apart[0] + apart[1]) / 2, rtol=1e-12, atol=1e-12)
    step = 1e-6
    for index in range(4):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                alphas[0][index] += sign * step
                values.append(float(loss()))
                alphas[0][index] -= sign * step
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(float(tied[0][index]), rel=1e-5, abs=1e-8)


def test_equal_candidates_of_different_lists_share_a_logit() -> None:
    sites = pair((3, 5), (5, 7), (3,))
    (a3, a5), (b5, b7), (c3,) = (site.alpha.tolist() for site in sites.values())
    tie(sites, "all")
    found = [logits.tolist() for logits in logits_of(sites)]
    assert found[0] == pytest.approx([a3, (a5 + b5) / 2]) and found[1] == pytest.approx([(a5 + b5) / 2, b7])
    assert found[2] == [c3]  # one without a choice left counts no more
    assert found[0][1] == found[1][0] and [s.logits.tolist() for s in sites.values()] == found
    assert decisions_of(sites) == [["0"], ["1"], ["2"]]


def test_sites_whose_lists_differ_still_agree_where_each_has_the_others_best() -> None:
    sites = pair((3, 5, 9), (5, 7, 9))
    tie(sites, "all")
    sites["0"].alpha.data.copy_(torch.tensor([1.0, 3.0, 0.0]))
    sites["1"].alpha.data.copy_(torch.tensor([0.0, 1.4, 2.9]))
    best = [site.candidates[int(site.coefficients().argmax())] for site in sites.values()]
    assert best == [Candidate(5), Candidate(5)]  # alone the second would take 9


def test_untied_sites_are_as_they_were() -> None:
    sites = pair((3, 5), (3, 5))
    tie(sites, "none")
    assert all(site.tie is None and site.logits is site.alpha for site in sites.values())
    assert all(a is site.alpha for a, site in zip(logits_of(sites), sites.values(), strict=True))
    tie(sites, "all")
    assert all(site.tie is not None for site in sites.values())
    tie(sites, "none")
    assert all(site.logits is site.alpha for site in sites.values()) and decisions_of(sites) == [["0"], ["1"]]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("none", [["a"], ["b"], ["c"], ["d"]]),
        ("all", [["a", "b", "c", "d"]]),
        ("stage", [["a", "b"], ["c", "d"]]),
        ("shape", [["a"], ["b", "d"], ["c"]]),
    ],
)
def test_who_is_tied_to_whom(by: str, groups: list[list[str]]) -> None:
    made = supernet(Strided(), by)
    assert decisions_of(made.sites) == groups
    assert alike(made.sites, "d") == groups[-1] if by != "shape" else ["b", "d"]


def test_a_site_with_another_candidate_alive_decides_for_itself() -> None:
    made = supernet(Strided())
    made.sites["b"].fix(1)
    assert decisions_of(made.sites) == [["a", "c", "d"], ["b"]]
    made.sites["c"].keep([0, 1])
    assert decisions_of(made.sites) == [["a", "d"], ["b"], ["c"]]
    assert [len(each) for each in logits_of(made.sites)] == [4, 4, 2, 4]  # the tables follow the candidates


def test_coefficients_of_a_decision_are_the_same_bits() -> None:
    made = supernet(Strided())
    for number, site in enumerate(made.sites.values()):
        site.alpha.data.copy_(torch.randn(4, generator=torch.Generator().manual_seed(number)))
    first, *others = (site.coefficients() for site in made.sites.values())
    assert all(torch.equal(first, each) for each in others)


def test_copies_are_tied_among_themselves() -> None:
    made = supernet()
    twin = copy.deepcopy(made)
    sites = twin.sites
    assert sites["conv1"].tie is sites["conv2"].tie and set(map(id, sites["conv1"].tie.sites)) == {
        id(site) for site in sites.values()
    }
    sites["conv1"].alpha.data[0] = 1.0
    assert float(sites["conv2"].logits[0].detach()) == 0.5 and float(made.sites["conv2"].logits[0].detach()) == 0


def test_a_single_candidate_is_taken_out_of_its_tie_and_the_site_stays_in() -> None:
    made = supernet()
    alone = made.sites["conv1"].only(2)
    assert alone.tie is None and made.sites["conv1"].tie is made.sites["conv2"].tie is not None


def test_a_tied_supernet_lowers_as_any() -> None:
    made = supernet()
    genotype = made.genotype()
    x = torch.randn(3, 2, SIZE).double()
    for site in made.sites.values():
        site.fix(site.candidates.index(genotype[site.name]))
    torch.testing.assert_close(made(x), dashfx.lower(made, genotype)(x), rtol=1e-10, atol=1e-10)


def test_what_cannot_be_tied_is_one_line() -> None:
    with pytest.raises(ConfigError, match="there are none, all, stage, shape"):
        tie(pair((3, 5)), "al")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="built by hand"):
        tie(pair((3, 5), (3, 5)), "stage")
