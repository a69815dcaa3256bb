"""Candidates, spaces and the padding that keeps the output size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.errors import SpaceError
from dashfx.ops.algorithms.base import pad
from dashfx.space import PRESETS, Candidate, SearchSpace, candidate_padding


@given(
    original=st.builds(Candidate, st.integers(1, 6), st.integers(1, 4)),
    choice=st.builds(Candidate, st.integers(1, 9), st.integers(1, 7)),
    size=st.integers(1, 30),
    stride=st.integers(1, 4),
    left=st.integers(0, 5),
    right=st.integers(0, 5),
    causal=st.booleans(),
)
@settings(deadline=None, derandomize=True)
def test_shape_contract(original, choice, size, stride, left, right, causal):
    right = max(right, original.span[0] - size - left)
    padding = candidate_padding(((left, right),), original, choice, causal)

    def outputs(candidate, sides):
        weight = torch.zeros(1, 1, *candidate.kernel)
        return torch.conv1d(pad(torch.zeros(1, 1, size), sides), weight, None, stride, 0, candidate.dilation).shape

    assert outputs(choice, padding) == outputs(original, ((left, right),))
    if causal:
        assert padding[0][1] == right


def test_growth_is_centred_and_a_smaller_candidate_crops():
    assert candidate_padding(((1, 1),), Candidate(3), Candidate(7, 3)) == ((9, 9),)
    assert candidate_padding(((1, 1),), Candidate(3), Candidate(4)) == ((1, 2),)
    assert candidate_padding(((0, 0),), Candidate(5), Candidate(3)) == ((-1, -1),)
    assert candidate_padding(((1, 1),), Candidate(3), Candidate(2)) == ((0, 1),)
    assert candidate_padding(((2, 0),), Candidate(3), Candidate(5, 2), causal=True) == ((8, 0),)
    assert candidate_padding(((0, 0), (3, 3)), Candidate((1, 7)), Candidate((1, 3))) == ((0, 0), (1, 1))


def test_candidate_facts():
    choice = Candidate((3, 5), 2)
    assert (choice.kernel, choice.dilation) == ((3, 5), (2, 2))
    assert (choice.extent, choice.span, choice.taps, choice.ndim) == ((4, 8), (5, 9), 15, 2)
    assert (str(choice), str(Candidate((1, 3), (1, 2)))) == ("k3x5 d2", "k1x3 d1x2")
    assert Candidate(3, 2).for_ndim(3) == Candidate((3, 3, 3), (2, 2, 2))
    assert Candidate.from_dict(choice.to_dict()) == choice and hash(Candidate(3)) == hash(Candidate([3]))


@pytest.mark.parametrize("sizes", [(0,), (3, 0), ((2.5,),), (True,), ((3, 3), (1, 1, 1)), ((),)])
def test_candidates_that_cannot_be(sizes):
    with pytest.raises(SpaceError) as raised:
        Candidate(*sizes)
    assert "\n" not in str(raised.value)


def test_a_candidate_keeps_its_own_axes():
    with pytest.raises(SpaceError, match="has 2 axes, the conv has 1"):
        Candidate((3, 3)).for_ndim(1)


def test_product_and_presets():
    space = SearchSpace.product([3, 5, 3], [1, 2])
    assert list(space) == [Candidate(3, 1), Candidate(3, 2), Candidate(5, 1), Candidate(5, 2)]
    sizes = {"dash2d": 16, "dash2d-small": 9, "dash1d": 20, "baby": 4}
    assert {name: len(SearchSpace.preset(name)) for name in PRESETS} == sizes
    with pytest.raises(SpaceError, match="did you mean 'dash2d'"):
        SearchSpace.preset("dash2")
    with pytest.raises(SpaceError, match="no candidates"):
        SearchSpace.product([], [1])
    with pytest.raises(SpaceError, match="no candidates"):
        SearchSpace.product([3], overrides={"layer1.*": []})


def test_choices_of_a_site():
    space = SearchSpace.product([3], overrides={"layer1.*": [Candidate(5)], "layer1.0": [Candidate(7)]})
    original = Candidate((3, 3))
    assert space.for_site("stem", original) == (Candidate((3, 3)),)
    assert space.for_site("layer1.1", original) == (Candidate((5, 5)),)
    assert space.for_site("layer1.0", original) == (Candidate((7, 7)),)  # the last glob that matches
    grown = space.with_original()
    assert grown.for_site("stem", Candidate((5, 5))) == (Candidate((3, 3)), Candidate((5, 5)))
    assert grown.for_site("stem", original) == (original,)  # no repeats


def test_an_axis_of_two_taps_is_wide():
    space = SearchSpace.product([3], [2])
    assert space.for_site("conv", Candidate((1, 2))) == (Candidate((1, 3), (1, 2)),)
    assert space.for_site("conv", Candidate((2, 2))) == (Candidate((3, 3), (2, 2)),)


def test_a_factorised_conv_stays_factorised():
    space = SearchSpace.product([3, 5], [1, 2])
    assert space.for_site("conv", Candidate((1, 7)))[-1] == Candidate((1, 5), (1, 2))
    with pytest.raises(SpaceError, match=r"site 'conv'.*override"):
        SearchSpace((Candidate((3, 3)),)).for_site("conv", Candidate(3))
