"""All algorithms equal `mixed_results` in value and in every gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.algorithms.base import CONVS
from dashfx.ops.checks import PADDING_MODES
from dashfx.ops.fourier import axis_by_axis, buffers, products, two_step
from dashfx.ops.fourier import plan as plans
from dashfx.ops.fourier.matrices import for_threads
from dashfx.ops.fourier.transforms import DirectTransform, FftTransform
from dashfx.ops.fourier.two_step import TwoStepTransform
from dashfx.ops.geometry import ConvSpec
from dashfx.space import Candidate, candidate_padding

FAST = [name for name in ALGORITHMS if name != "mixed_results"]


@st.composite
def cases(draw):
    """A spec, an input size and (batch, in, out channels) for which every term has an output."""
    ndim = draw(st.integers(1, 3))
    longest = (9, 9, 5)[ndim - 1]

    def axes(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(ndim))

    groups, inside, outside = draw(st.sampled_from([(1, 2, 3), (1, 1, 1), (2, 4, 2), (3, 3, 3), (2, 2, 4)]))
    original, size = Candidate(axes(1, 4), axes(1, 2)), axes(1, longest)
    # at least one output, by padding where the input is shorter than the conv
    padding = tuple(
        (left, max(right, span - n - left))
        for left, right, span, n in zip(axes(0, 4), axes(0, 4), original.span, size, strict=True)
    )
    choices = [Candidate(axes(1, 5 if ndim < 3 else 3), axes(1, 6)) for _ in range(draw(st.integers(1, 4)))]
    causal = draw(st.booleans())
    paddings = tuple(candidate_padding(padding, original, choice, causal) for choice in choices)
    spec = ConvSpec(tuple(choices), paddings, axes(1, 3), groups, draw(st.sampled_from(PADDING_MODES)))
    short = {"reflect": 1, "circular": 0}.get(spec.padding_mode)
    if short is not None and any(max(m) > n - short for n, m in zip(size, spec.margins(), strict=True)):
        spec = ConvSpec(spec.candidates, spec.paddings, spec.stride, groups, "replicate")
    return spec, size, (draw(st.integers(1, 2)), inside, outside)


def tensors(spec, size, channels, dtype=torch.float64):
    batch, inside, outside = channels
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    weights = [draw(outside, inside // spec.groups, *choice.kernel) for choice in spec.candidates]
    return draw(batch, inside, *size), draw(len(weights)), draw(outside), weights


def value_and_gradients(name, spec, x, coef, bias, weights):
    y = ALGORITHMS[name](x, weights, coef, spec, bias)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return [y, *torch.autograd.grad(y, [x, coef, bias, *weights], grad)]


def assert_same(found, expected, tolerance=1e-10):
    for got, want in zip(found, expected, strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        scale = max(1.0, float(want.detach().abs().max()))
        assert float((got - want).detach().abs().max()) <= tolerance * scale


@given(cases())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_algorithm_equals_the_reference(case):
    spec, size, channels = case
    inputs = tensors(spec, size, channels)
    expected = value_and_gradients("mixed_results", spec, *inputs)
    assert tuple(expected[0].shape[2:]) == spec.output_size(size)
    for name in FAST:
        assert_same(value_and_gradients(name, spec, *inputs), expected)


# Ways through the Fourier path that small inputs do not take by themselves.
WAYS = {
    "by FFT": {"LONGEST_MATRIX": 0, "LONGEST_STEP": 0, "LONGEST_STEPS": 0},
    "in two steps": {"LONGEST_STEP": 3},
    "in windows": {"WINDOW": 2, "REACHES": 0},
    "in windows and two steps": {"WINDOW": 3, "REACHES": 0, "LONGEST_STEP": 3},
    "in two steps and strips": {"LONGEST_STEP": 3, "STRIP": 2},
    "in small slices": {"SLICE_CPU": 0, "LEAST": 1},
    "in chunks of rows": {"SLICE_CPU": 0, "LEAST": 1, "FEW_ROWS": 1},
    "as of many images": {"MANY": 0},
    "as of few images": {"MANY": 1 << 20},
    "with nothing kept": {"MOST_KEPT": 0},
}


# Which modules read a threshold: each holds its own name for it, also where another module defines it.
MODULES = (plans, products, buffers, axis_by_axis, two_step)
READERS = {name: [m for m in MODULES if hasattr(m, name)] for way in WAYS.values() for name in way}


def take(way, patch):
    """The thresholds of a way, in every module that reads them."""
    for name, value in WAYS[way].items():
        for module in READERS[name]:
            patch.setattr(module, name, value)
    plans.plan_for.cache_clear()


@pytest.mark.parametrize("way", WAYS)
@given(case=cases())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_way_of_the_fourier_path_equals_the_reference(way, case):
    spec, size, channels = case
    inputs = tensors(spec, size, channels)
    expected = value_and_gradients("mixed_results", spec, *inputs)
    with pytest.MonkeyPatch.context() as patch:
        take(way, patch)
        found = value_and_gradients("fourier", spec, *inputs)
    plans.plan_for.cache_clear()
    assert_same(found, expected)


# Of each way what it does with a short conv on (40,) or on (9, 9), by the plan, the buffer pool and the chunks of rows;
# without its thresholds none of them holds.
TAKEN = {
    "by FFT": lambda plan, pool, chunks: kinds(plan) == {FftTransform},
    "in two steps": lambda plan, pool, chunks: TwoStepTransform in kinds(plan) and not plan.windows,
    "in windows": lambda plan, pool, chunks: plan.windows and TwoStepTransform not in kinds(plan),
    "in windows and two steps": lambda plan, pool, chunks: plan.windows and TwoStepTransform in kinds(plan),
    "in two steps and strips": lambda plan, pool, chunks: plan.outputs.block > 1 and two_step.STRIP < 40,
    "in small slices": lambda plan, pool, chunks: len(pool.slices) > 1,
    "in chunks of rows": lambda plan, pool, chunks: chunks > 1,
    "as of many images": lambda plan, pool, chunks: products_of(pool) == {products.ManyImages},
    "as of few images": lambda plan, pool, chunks: products_of(pool) == {products.Stacked},
    "with nothing kept": lambda plan, pool, chunks: not len(pool.storage),
}
PLANES = ("by FFT", "in small slices", "in chunks of rows", "as of many images", "as of few images")


def products_of(pool):
    return {type(work.product) for work in pool.slices}


def carried_out(size, batch):
    """The plan, the pool and the most chunks of rows of a forward pass."""
    buffers.release()
    plans.plan_for.cache_clear()
    found, chunks_of = [1], axis_by_axis.chunks
    spec = same([Candidate(3), Candidate(3, 2)], stride=(1,) * len(size))
    x, coef, bias, weights = tensors(spec, size, (batch, 2, 3))
    with pytest.MonkeyPatch.context() as patch:
        spy = lambda *facts: found.append(len(list(chunks_of(*facts)))) or chunks_of(*facts)  # noqa: E731
        patch.setattr(axis_by_axis, "chunks", spy)
        ALGORITHMS["fourier"](x, weights, coef, spec, bias)
    (pool,) = buffers._kept.pools.values()
    return plans.plan_for(spec, size), pool, max(found)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_taken_where_its_thresholds_say_so(way, monkeypatch):
    """Else the test above would compare the usual way with the reference, whatever its name."""
    size = (9, 9) if way in PLANES else (40,)
    batch = 150 if way == "as of few images" else 2  # so many that it is not the usual way
    usual = carried_out(size, batch)
    assert not TAKEN[way](*usual)
    take(way, monkeypatch)
    taken = carried_out(size, batch)
    assert TAKEN[way](*taken)
    plans.plan_for.cache_clear()
    buffers.release()


def test_threads_share_matrices_evenly_unless_that_takes_more_than_twice_as_many(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [for_threads(count) for count in (1, 2, 3, 4, 5)] == [1, 4, 4, 4, 8]


def same(choices, stride=(1,), groups=1, mode="zeros"):
    bound = tuple(choice.for_ndim(len(stride)) for choice in choices)
    point = Candidate((1,) * len(stride))
    paddings = tuple(candidate_padding(((0, 0),) * len(stride), point, choice) for choice in bound)
    return ConvSpec(bound, paddings, stride, groups, mode)


WIDE = [Candidate(k, d) for k in (3, 4, 7) for d in (1, 7, 15)]


def kinds(plan):
    return {type(side) for side in (plan.inputs, plan.outputs, *(phase.taps for phase in plan.phases))}


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(("size", "windows"), [(300, False), (1600, False), (2400, True)])
def test_long_axis(mode, size, windows):
    spec = same(WIDE, stride=(2,), mode=mode)
    plan = plans.plan_for(spec, (size,))
    assert bool(plan.windows) == windows and kinds(plan) == {TwoStepTransform, DirectTransform}
    inputs = tensors(spec, (size,), (2, 3, 2))
    expected = value_and_gradients("mixed_results", spec, *inputs)
    for name in FAST:
        assert_same(value_and_gradients(name, spec, *inputs), expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_taps_that_the_stride_keeps_off_the_input(name):
    spec = ConvSpec((Candidate(1),), (((1, 1),),), (2,))  # outputs read at -1 and 1, the input stands at 0
    inputs = tensors(spec, (1,), (2, 1, 2))
    assert_same(value_and_gradients(name, spec, *inputs), value_and_gradients("mixed_results", spec, *inputs))


def test_periods_beyond_matrices_take_the_fft():
    spec = same([Candidate(3, 4), Candidate(2, 3)], stride=(1, 2))
    assert kinds(plans.plan_for(spec, (3, 700))) == {FftTransform}
    inputs = tensors(spec, (3, 700), (1, 2, 1))
    expected = value_and_gradients("mixed_results", spec, *inputs)
    assert_same(value_and_gradients("fourier", spec, *inputs), expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_candidates_wider_than_the_input(name):
    spec = same(WIDE, stride=(1, 1))
    inputs = tensors(spec, (1, 3), (1, 2, 2))
    expected = value_and_gradients("mixed_results", spec, *inputs)
    assert_same(value_and_gradients(name, spec, *inputs), expected)


@pytest.mark.parametrize("name", ["mixed_weights", "grouped_dilation"])
def test_padding_is_never_left_to_a_native_conv_whose_taps_overrun_the_input(name, monkeypatch):
    spec = same([Candidate((39, 1), (1, 1)), Candidate((9, 1), (5, 1))], stride=(1, 1))

    def safe(x, kernel, bias, stride, padding, dilation, groups):
        reach = [d * (k - 1) for k, d in zip(kernel.shape[2:], dilation, strict=True)]
        assert all(p == 0 or r < n for p, r, n in zip(padding, reach, x.shape[2:], strict=True))
        return conv2d(x, kernel, bias, stride, padding, dilation, groups)

    conv2d = CONVS[2]
    inputs = tensors(spec, (20, 1), (1, 2, 2))
    expected = value_and_gradients("mixed_results", spec, *inputs)
    monkeypatch.setitem(CONVS, 2, safe)
    assert_same(value_and_gradients(name, spec, *inputs), expected)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("layout", ["channels_last", "strided", "expanded"])
def test_input_and_gradient_of_any_layout(name, layout):
    spec = same([Candidate(3, 1), Candidate(3, 3)], stride=(1, 1))
    x, coef, bias, weights = tensors(spec, (6, 5), (2, 4, 3))
    with torch.no_grad():
        if layout == "channels_last":
            x = x.to(memory_format=torch.channels_last)
        elif layout == "strided":
            x = x.transpose(2, 3).contiguous().transpose(2, 3)
        else:
            x = x[:, :1].expand(-1, 4, -1, -1)
    x = x.detach().requires_grad_()

    def run(algorithm):
        y = ALGORITHMS[algorithm](x, weights, coef, spec, bias)
        return [y, *torch.autograd.grad(y.sum(), [x, coef, bias, *weights])]  # an expanded gradient

    assert_same(run(name), run("mixed_results"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_follows_may_work_in_place(name):
    """`nn.ReLU(inplace=True)` behind a conv without bias."""
    spec = ConvSpec((Candidate(3), Candidate(5, 2)), (((1, 1),), ((4, 4),)), (1,), 1, "zeros")
    x, coef, _, weights = tensors(spec, (12,), (2, 3, 4))
    y = ALGORITHMS[name](x, weights, coef, spec, None)
    expected = torch.autograd.grad(y.relu().square().sum(), [x, *weights])
    y = ALGORITHMS[name](x, weights, coef, spec, None)
    assert_same(torch.autograd.grad(y.relu_().square().sum(), [x, *weights]), expected)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradcheck(name, groups):
    spec = same([Candidate(3, 1), Candidate(2, 2)], stride=(2, 1), groups=groups)
    x, coef, bias, weights = tensors(spec, (4, 3), (2, 4, 4))
    run = ALGORITHMS[name]
    assert torch.autograd.gradcheck(lambda x, c, b, *w: run(x, list(w), c, spec, b), (x, coef, bias, *weights))


@pytest.mark.parametrize("name", FAST)
def test_gradients_only_where_asked(name):
    spec = same([Candidate(3, 1), Candidate(3, 2)])
    x, coef, bias, weights = tensors(spec, (6,), (2, 2, 2))
    full = value_and_gradients(name, spec, x, coef, bias, weights)
    y = ALGORITHMS[name](x.detach(), [weights[0].detach(), weights[1]], coef.detach(), spec, None)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    (only,) = torch.autograd.grad(y, [weights[1]], grad)
    assert_same([only], [full[-1]])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("stride", [(1,), (2,), (1, 1), (2, 1), (1, 1, 1)])
def test_an_empty_batch(name, stride):
    spec = same([Candidate(3, 1), Candidate(5, 3)], stride=stride)
    inputs = tensors(spec, (9,) * len(stride), (0, 3, 4))
    (y, to_x, *others), (expected, *_) = (value_and_gradients(each, spec, *inputs) for each in (name, "mixed_results"))
    assert y.shape == expected.shape and to_x.shape == inputs[0].shape
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in others)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("size", [(40,), (300,), (9, 9)], ids=["direct", "two steps", "staged"])
def test_the_graph_may_be_gone_through_twice(name, size):
    """`retain_graph=True`: a first backward pass may write over what the forward pass kept."""
    spec = same([Candidate(3, 1), Candidate(5, 3)], stride=(1,) * len(size))
    x, coef, bias, weights = tensors(spec, size, (2, 3, 3))
    y = ALGORITHMS[name](x, weights, coef, spec, bias)
    first, second = (torch.autograd.grad(y.square().sum(), [x, coef, *weights], retain_graph=True) for _ in range(2))
    assert_same(second, first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fourier_keeps_half_precision_outside_and_float32_inside(dtype):
    spec = same([Candidate(3, 1), Candidate(5, 3)], stride=(1, 1))
    x, coef, bias, weights = (t.detach().to(dtype) if isinstance(t, torch.Tensor) else [w.detach().to(dtype) for w in t]
                              for t in tensors(spec, (9, 9), (2, 3, 3)))  # fmt: skip
    y = ALGORITHMS["fourier"](x, weights, coef, spec, bias)
    exact = ALGORITHMS["fourier"](x.float(), [w.float() for w in weights], coef.float(), spec, bias.float())
    assert y.dtype == dtype and torch.equal(y, exact.to(dtype))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_autocast(name):
    spec = same([Candidate(3, 1), Candidate(5, 3)], stride=(1, 1))
    x, coef, bias, weights = tensors(spec, (9, 9), (2, 3, 3), torch.float32)
    exact = ALGORITHMS["mixed_results"](x, weights, coef, spec, bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ALGORITHMS[name](x, weights, coef, spec, bias)
    assert y.dtype == torch.bfloat16
    assert (y - exact).abs().max() < 0.03 * exact.abs().max()
    y.float().sum().backward()
    assert weights[0].grad.dtype == coef.grad.dtype == torch.float32


def test_a_fast_length_is_even_and_smooth():
    assert [plans._fast_length(n) for n in (1, 63, 64, 127, 181, 1001)] == [2, 64, 64, 128, 192, 1024]
