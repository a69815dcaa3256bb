"""The rule picks what was measured to be fastest by far, and always something that runs."""

import pytest

from dashfx.ops import AggConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune import choose
from dashfx.ops.checks import PADDING_MODES
from dashfx.space import SearchSpace


def picked(space, shape, channels=16, groups=1, **options):
    agg = AggConv(channels, channels, space, stride=(1,) * len(shape), groups=groups, **options)
    return choose(agg.spec, (64, channels, *shape), channels)


@pytest.mark.parametrize(("shape", "channels", "groups"), [((32, 32), 16, 1), ((1000,), 16, 1), ((28, 28), 96, 96)])
def test_many_candidates_take_the_fourier_path(shape, channels, groups):
    assert picked(SearchSpace.preset(f"dash{len(shape)}d"), shape, channels, groups) == "fourier"


@pytest.mark.parametrize(("shape", "channels", "groups"), [((32, 32), 16, 1), ((1000,), 16, 1), ((28, 28), 96, 96)])
def test_one_small_kernel_is_a_native_conv(shape, channels, groups):
    assert picked(SearchSpace.product([3]), shape, channels, groups) == "mixed_weights"
    assert picked(SearchSpace.product([3], [2]), shape, channels, groups) == "grouped_dilation"


def test_few_candidates_on_a_long_axis():
    assert picked(SearchSpace.preset("baby"), (1000,)) == "mixed_weights"
    assert picked(SearchSpace.product([3, 5], [1, 15]), (1000,)) == "grouped_dilation"


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("size", [(1,), (40,), (400,)])
def test_every_padding_mode_has_a_choice(mode, size):
    assert picked(SearchSpace.preset("dash1d"), size, padding_mode=mode) in ALGORITHMS
