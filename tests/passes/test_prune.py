"""Prune: candidates that compute the same, or cannot run, at a site's sizes leave; the others keep what they have."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from dashfx.errors import SpaceError
from dashfx.frontend.tracing import Program, trace
from dashfx.passes import Prune, Substitute
from dashfx.passes.prune import survivors
from dashfx.site import Site
from dashfx.space import Candidate, SearchSpace


def site(size: int, mode: str = "zeros", stride: int = 1, padding: int = 1, kernel: int = 3) -> Site:
    return Site("conv", 1, 1, Candidate(kernel), (stride,), ((padding, padding),), 1, False, mode, ((size,),))


def kept(candidates: list[Candidate], *args: object, **facts: object) -> list[Candidate]:
    return survivors(site(*args, **facts), tuple(candidates))[0]


def test_taps_that_never_meet_the_input_do_not_count() -> None:
    same = [Candidate(3), Candidate(3, 9), Candidate(1), Candidate(5, 8)]
    assert kept(same, 8) == [Candidate(3), Candidate(1)]
    assert kept(same, 9) == [Candidate(3), Candidate(1), Candidate(5, 8)]
    assert kept(same, 10) == [Candidate(3), Candidate(1), Candidate(3, 9), Candidate(5, 8)]


def test_a_tap_counts_that_meets_the_input_at_any_of_the_sizes_seen() -> None:
    both = replace(site(4), input_sizes=((4,), (20,)))
    assert survivors(both, (Candidate(3), Candidate(3, 9)))[0] == [Candidate(3), Candidate(3, 9)]


def test_the_original_represents_what_coincides_with_it() -> None:
    keep, why = survivors(site(1), (Candidate(1), Candidate(5), Candidate(3)))
    assert keep == [Candidate(3)]
    assert why == {Candidate(1): "coincides with k3 d1 here", Candidate(5): "coincides with k3 d1 here"}


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("reflect", 4, [3, 5, 7]),
        ("reflect", 3, [3, 5]),
        ("circular", 3, [3, 5, 7]),
        ("circular", 2, [3, 5]),
        ("replicate", 2, [3, 5, 7]),
    ],
)
def test_padding_that_a_mode_cannot_give(mode: str, size: int, expected: list[int]) -> None:
    assert kept([Candidate(k) for k in (3, 5, 7)], size, mode) == [Candidate(k) for k in expected]


def distinct_outputs(candidates: tuple[Candidate, ...], facts: Site) -> list[Candidate]:
    """By brute force: candidates whose Jacobians differ in their supports, the original first, then few taps."""
    found: dict[frozenset[tuple[int, ...]], Candidate] = {}
    (size,) = facts.input_sizes[0]
    for candidate in sorted(candidates, key=lambda c: (c != facts.original, c.taps, c.span)):
        (left, _), k, d = facts.padding_of(candidate)[0], candidate.kernel[0], candidate.dilation[0]
        (outputs,) = facts.output_size((size,))
        reach = {
            t * d - left
            for t, m in itertools.product(range(k), range(outputs))
            if 0 <= m * facts.stride[0] + t * d - left < size
        }
        if reach:
            found.setdefault(frozenset(reach), candidate)
    return list(found.values())


@pytest.mark.parametrize("size", [1, 2, 5, 6, 11])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_survivors_are_those_of_a_brute_force_count(size: int, stride: int, padding: int) -> None:
    candidates = tuple(Candidate(k, d) for k in (1, 2, 3, 5, 7) for d in (1, 2, 4, 7))
    facts = site(size, stride=stride, padding=padding, kernel=min(3, size + 2 * padding))
    assert survivors(facts, candidates)[0] == distinct_outputs(candidates, facts)


def substituted(space: SearchSpace, size: int, **options: object) -> Program:
    program = trace(nn.Sequential(nn.Conv1d(2, 2, 3, padding=1, **options)), torch.zeros(1, 2, size))
    Substitute(space)(program.graph_module)
    return program


def test_what_stays_keeps_its_weights_and_logits() -> None:
    program = substituted(SearchSpace.product([1, 3, 5], [1, 4]), 4)
    aggconv = program.model[0]
    before = dict(zip(aggconv.candidates, zip(aggconv.weights, range(6), strict=True), strict=True))
    aggconv.alpha.data.copy_(torch.arange(6.0))
    result = Prune()(program.graph_module)
    assert aggconv.candidates == (Candidate(1), Candidate(3), Candidate(5))
    for candidate, weight, alpha in zip(aggconv.candidates, aggconv.weights, aggconv.alpha.detach(), strict=True):
        assert torch.equal(weight, before[candidate][0]) and float(alpha) == before[candidate][1]
    assert [edit.what for edit in result.edits] == [
        "k1 d4 dropped: coincides with k1 d1 here",
        "k3 d4 dropped: coincides with k1 d1 here",
        "k5 d4 dropped: coincides with k1 d1 here",
    ]


def test_the_smallest_and_the_largest_of_several_inputs_count() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect")
            self.other = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum(f(part).mean() for f in (self.conv, self.other) for part in (x, x[..., ::4]))

    program = trace(Pyramid(), torch.zeros(1, 2, 16))
    Substitute(SearchSpace.product([3, 7, 9], [1, 4]))(program.graph_module)
    Prune()(program.graph_module)
    assert program.model.conv.candidates == (Candidate(3), Candidate(7))  # 9 needs 4 < 4 on the small input
    assert Candidate(7, 4) in program.model.other.candidates  # differs on the large one


def test_a_site_where_nothing_fits() -> None:
    program = substituted(SearchSpace.product([9, 11], [1]), 3, padding_mode="reflect")
    with pytest.raises(
        SpaceError, match=r"Site '0': none of its 2 candidates fits an input of 3 \(reflect padding of 4"
    ) as it:
        Prune()(program.graph_module)
    assert "\n" not in str(it.value)
