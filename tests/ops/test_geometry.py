"""Lattices hold every reachable tap once, and no other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.ops.geometry import ConvSpec, dense_lattice, dilated_lattices, lattice_on
from dashfx.space import Candidate, candidate_padding


def spec_of(*choices, padding=((1, 1),), original=None, stride=(1,)):
    original = original or Candidate(3)
    return ConvSpec(choices, tuple(candidate_padding(padding, original, c) for c in choices), stride)


def taps_of(lattices):
    """(term, tap) -> offset, as the slots say; a repeated tap fails."""
    found = {}
    for lattice in lattices:
        for slot in lattice.slots:
            taps = range(10**6)[slot.taps[0]]
            for tap, place in zip(taps, lattice.points[0][slot.place[0]], strict=True):
                assert (slot.term, tap) not in found
                found[slot.term, tap] = place
    return found


def reachable_by_hand(spec, size):
    (outputs,), found = spec.outputs((size,)), {}
    for term in range(len(spec.candidates)):
        for tap, offset in enumerate(spec.offsets(term)[0]):
            if any(0 <= p + offset < size for p in outputs):
                found[term, tap] = offset
    return found


@given(
    st.lists(st.builds(Candidate, st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(0, 5),
)
@settings(deadline=None, derandomize=True)
def test_lattices_hold_the_reachable_taps(choices, size, pad):
    spec = spec_of(*choices, padding=((pad, max(pad, 3 - size)),))
    expected = reachable_by_hand(spec, size)
    assert taps_of(dilated_lattices(spec, (size,))) == expected
    assert taps_of([dense_lattice(spec, (size,))]) == expected


def test_kernels_of_one_dilation_share_a_grid_and_even_ones_stand_apart():
    spec = spec_of(Candidate(3, 3), Candidate(5, 3), Candidate(4, 3), Candidate(3, 1))
    sets = [{slot.term for slot in lattice.slots} for lattice in dilated_lattices(spec, (50,))]
    assert sets == [{0, 1}, {2}, {3}]


def test_a_dilation_beyond_the_map_costs_nothing():
    spec = spec_of(Candidate(3, 1), Candidate(3, 15), Candidate(5, 15))
    (lattice,) = dilated_lattices(spec, (8,))
    assert lattice.points == (range(-1, 2),)
    assert {slot.term for slot in lattice.slots} == {0, 1, 2}


def test_cropped_to_the_reach():
    spec = spec_of(Candidate(9, 15))
    assert dense_lattice(spec).points == (range(-60, 61),)
    assert dense_lattice(spec, (32,)).points == (range(-31, 32),)


def test_no_reachable_tap_leaves_the_zero_kernel():
    spec = ConvSpec((Candidate(2, 5),), (((3, 3),),), (1,))  # taps at -3 and 2, an input of 1
    assert dilated_lattices(spec, (1,))[0].slots == dense_lattice(spec, (1,)).slots == ()


def test_lattice_on_reads_common_offsets_only():
    spec = spec_of(Candidate(3, 1), Candidate(3, 2))  # offsets -1 0 1 and -2 0 2
    assert taps_of([lattice_on(spec.offsets(0), spec)]) == {(0, 0): -1, (0, 1): 0, (0, 2): 1, (1, 1): 0}
