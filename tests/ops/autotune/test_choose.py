"""The choice of algorithms: the estimate's favourites, what `tune` measures and keeps, and what memory forbids."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dashfx.errors import SpaceError
from dashfx.ops import AggConv, TuningTable, tune
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune import choose as tuning
from dashfx.ops.autotune.choose import find_places, race
from dashfx.ops.autotune.estimate import choose, estimates
from dashfx.ops.autotune.memory import step_bytes
from dashfx.ops.autotune.table import Problem, cache_file
from dashfx.ops.autotune.timing import Step
from dashfx.ops.checks import PADDING_MODES
from dashfx.space import SearchSpace

SPACE = SearchSpace.product([3, 5], [1, 2])
CPU = torch.device("cpu")


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


class Net(nn.Module):
    """Two convs that pose one problem, one that poses another, and one whose algorithm is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first = AggConv(2, 4, SPACE)
        self.second, self.third = AggConv(4, 4, SPACE), AggConv(4, 4, SPACE)
        self.norm = nn.BatchNorm1d(4)
        self.last = AggConv(4, 2, SPACE, algorithm="mixed_results")

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.third(self.norm(self.second(self.first(x)))))


@pytest.fixture
def slow_fourier(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """Measurements by a table instead of a clock: `grouped_dilation` wins. The problems that were measured."""
    asked: list[Problem] = []

    def measured(site, problem, names, deadline):
        asked.append(problem)
        return {name: 1.0 if name == "grouped_dilation" else 2.0 for name in names}

    monkeypatch.setattr(tuning, "measure", measured)
    monkeypatch.setattr(tuning, "UNLIKELY", math.inf)
    return asked


X = torch.ones(3, 2, 20)


def test_equal_problems_are_measured_once_and_every_auto_site_gets_the_choice(slow_fourier: list[Problem]) -> None:
    net = Net()
    tuning = tune(net, X)
    assert sorted(sorted(place.sites) for place in tuning.places) == [["first"], ["second", "third"]]
    assert len(slow_fourier) == tuning.measured == 2 and tuning.estimated == 0
    for site in (net.first, net.second, net.third):
        assert list(site.choices.values()) == ["grouped_dilation"]
    assert net.last.choices == {}


def test_a_choice_is_used_for_its_size_and_dtype_only(
    slow_fourier: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = AggConv(2, 4, SPACE)
    tune(site, X)
    used = []
    for name, algorithm in list(ALGORITHMS.items()):
        monkeypatch.setitem(ALGORITHMS, name, lambda *args, n=name, a=algorithm: used.append(n) or a(*args))
    monkeypatch.setattr("dashfx.ops.aggconv.choose", lambda *_: "mixed_results")
    site(X), site(X[:1]), site(X[..., :9]), site.double()(X.double())
    assert used == ["grouped_dilation", "grouped_dilation", "mixed_results", "mixed_results"]
    site.float().keep([0, 1])
    site(X)
    assert used[-1] == "mixed_results"


def test_tuning_leaves_no_trace_but_the_choices() -> None:
    torch.manual_seed(0)
    net = Net().train()
    net.first.alpha.grad = torch.ones_like(net.first.alpha)
    state, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    tune(net, X)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and net.training and net.norm.training
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["first.alpha"]
    assert net.first.algorithm == "auto" and not net.first._forward_pre_hooks


@pytest.mark.parametrize("ndim", [1, 2])
def test_measuring_runs_forward_and_backward_of_every_likely_algorithm(ndim: int) -> None:
    site = AggConv(4, 4, SearchSpace.product([3, 5]), stride=(1,) * ndim)
    (place,) = tune(site, torch.ones(2, 4, *[12] * ndim)).places
    times = tuning.measure(site, place.problem, ALGORITHMS)
    assert set(times) == set(ALGORITHMS) and min(times.values()) > 0


def test_a_grown_conv_and_autocast_are_problems_of_their_own() -> None:
    site = AggConv(2, 4, SPACE, original=(7, 1))
    plain = find_places(site, X)[0].problem
    site.grow_from(torch.ones(4, 2, 7))
    grown = find_places(site, X)[0].problem
    with torch.autocast("cpu", torch.bfloat16):
        half = find_places(site, X)[0].problem
    assert len({plain.key, grown.key, half.key}) == 3 and half.autocast == "bfloat16" and half.itemsize == 2
    tune(site, X)
    site.residual = None
    assert len({site.use_of(X), *site.choices}) == 2


def test_a_saved_table_decides_whatever_would_be_measured_now(
    slow_fourier: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run" / "autotune.json"
    tune(Net(), X).table.save(file)
    net, entries = Net(), json.loads(file.read_text())
    assert {entry["choice"] for entry in entries.values()} == {"grouped_dilation"}
    slow_fourier.clear()
    monkeypatch.setattr(tuning, "free_bytes", lambda device: 0)
    assert tune(net, X, kept=TuningTable.load(file), budget=0).table.entries.keys() == entries.keys()
    assert slow_fourier == [] and list(net.first.choices.values()) == ["grouped_dilation"]


def test_the_cache_serves_other_runs_and_other_problems_are_added(slow_fourier: list[Problem], tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "autotune.json"
    tune(AggConv(2, 4, SPACE), X, cache=cache)
    assert tune(AggConv(2, 4, SPACE), X, cache=cache).measured == 0
    assert tune(AggConv(2, 4, SPACE), X[:2], cache=cache).measured == 1  # another batch size
    torch.set_num_threads((threads := torch.get_num_threads()) + 1)
    try:
        assert tune(AggConv(2, 4, SPACE), X, cache=cache).measured == 1
    finally:
        torch.set_num_threads(threads)
    assert len(slow_fourier) == len(TuningTable.load(cache).entries) == 3
    assert [path.name for path in cache.parent.iterdir()] == ["autotune.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": {"choice": 1}}', '{"a": 3}'])
def test_a_broken_cache_is_measured_again(text: str, slow_fourier: list[Problem], tmp_path: Path) -> None:
    cache = tmp_path / "autotune.json"
    cache.write_text(text)
    assert tune(AggConv(2, 4, SPACE), X, cache=cache).measured == 1
    assert tune(AggConv(2, 4, SPACE), X, cache=cache).measured == 0


@pytest.mark.parametrize(
    "damage", [None, 3, [], {}, {"seconds": None}, {"seconds": {"fourier": "soon"}}, {"choice": "no"}]
)
def test_an_entry_of_another_form_is_measured_again(damage: Any, slow_fourier: list[Problem], tmp_path: Path) -> None:
    cache = tmp_path / "autotune.json"
    tune(AggConv(2, 4, SPACE), X, cache=cache)
    measured, rows = len(slow_fourier), json.loads(cache.read_text())
    whole = {key: {**row, **damage} if isinstance(damage, dict) and damage else damage for key, row in rows.items()}
    cache.write_text(json.dumps(whole))
    tuned = tune(AggConv(2, 4, SPACE), X, kept=TuningTable.load(cache), cache=cache)
    assert tuned.measured == measured and json.loads(cache.read_text()).keys() == rows.keys()
    assert len(TuningTable.load(cache).entries) == len(rows)


def test_a_cache_that_cannot_be_written_does_no_harm(slow_fourier: list[Problem], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert tune(AggConv(2, 4, SPACE), X, cache=tmp_path / "file" / "autotune.json").measured == 1


def test_the_cache_stands_where_the_user_wants_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_file() == Path("/somewhere/dashfx/autotune.json")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_file() == Path.home() / ".cache/dashfx/autotune.json"


def test_without_a_budget_the_rule_decides(slow_fourier: list[Problem], tmp_path: Path) -> None:
    net, cache = Net(), tmp_path / "autotune.json"
    tuning = tune(net, X, cache=cache, budget=0)
    assert slow_fourier == [] and not cache.exists() and (tuning.measured, tuning.estimated) == (0, 2)
    assert list(net.first.choices.values()) == [choose(net.first.spec, tuple(X.shape), 4)]
    assert "2 by estimate" in str(tuning)


def test_hopeless_steps_run_once_and_steps_without_memory_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"good": 1.0, "near": 2.0, "bad": 4.0, "worse": 9.0}
    runs = dict.fromkeys([*cost, "huge"], 0)

    def step_of(name: str) -> Step:
        def step() -> float:
            runs[name] += 1
            if name == "huge":
                raise torch.OutOfMemoryError
            return cost[name]

        return step

    monkeypatch.setattr(tuning, "seconds", lambda step, device: step())
    steps = {name: step_of(name) for name in runs}
    assert race(steps, CPU) == cost
    assert runs == {"good": 6, "near": 6, "bad": 2, "worse": 1, "huge": 1}
    assert race({"good": steps["good"]}, CPU, deadline=0) == {"good": 1.0} and runs["good"] == 8
    with pytest.raises(torch.OutOfMemoryError):
        race({"huge": steps["huge"]}, CPU)


def free(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    monkeypatch.setattr(tuning, "free_bytes", lambda device: amount)


def test_the_next_choice_that_fits_is_taken(slow_fourier: list[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    site, x = AggConv(8, 8, SearchSpace.preset("dash1d"), stride=1), torch.ones(16, 8, 100)
    (place,) = (tuning := tune(site, x)).places
    peaks = {name: tuning.peak_bytes(place, name) for name, _ in estimates(site.spec, tuple(x.shape), 8)}
    assert list(site.choices.values()) == ["grouped_dilation"] and len(set(peaks.values())) == 3
    least = min(peaks, key=peaks.__getitem__)
    free(monkeypatch, peaks[least])
    tune(site, x)
    assert list(site.choices.values()) == [least]


def test_spectra_are_made_again_where_those_of_all_convs_would_take_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, x = nn.Sequential(*(AggConv(16, 16, SearchSpace.preset("dash1d")) for _ in range(8))), torch.ones(4, 16, 400)
    (place,) = tune(net, x, budget=0).places
    kept = 8 * step_bytes("fourier", place.problem.spec, place.problem.shape, 16).kept
    for amount, expected in ((2 * kept, "fourier"), (2 * kept - 1, "fourier_recompute")):
        free(monkeypatch, amount)
        tune(net, x, budget=0)
        assert {choice for site in net for choice in site.choices.values()} == {expected}


def test_what_the_convs_before_keep_is_not_free(slow_fourier: list[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(16, 4, 100)
    convs = [AggConv(4, 4, SPACE, padding_mode=mode) for mode in ("circular", "reflect")]
    tunings = [tune(conv, x) for conv in convs]
    peaks = [
        min(t.peak_bytes(t.places[0], name) for name, _ in estimates(t.places[0].problem.spec, tuple(x.shape), 4))
        for t in tunings
    ]
    free(monkeypatch, max(peaks))
    for conv in convs:
        tune(conv, x)
    with pytest.raises(SpaceError, match="is left beside the other convs"):
        tune(nn.Sequential(*convs), x)


def test_convs_of_one_problem_keep_each_their_own(slow_fourier: list[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(16, 4, 100)
    many = [AggConv(4, 4, SPACE, padding_mode="circular") for _ in range(6)]
    last = AggConv(4, 4, SPACE, padding_mode="reflect")
    found = [tune(net, x) for net in (nn.Sequential(*many), last)]
    work = [
        [
            step_bytes(name, place.problem.spec, tuple(x.shape), 4)
            for name, _ in estimates(place.problem.spec, tuple(x.shape), 4)
        ]
        for place in (each.places[0] for each in found)
    ]
    least = min(work[1], key=lambda each: each.peak).peak
    free(monkeypatch, least + 2 * min(each.kept for each in work[0]))
    tune(nn.Sequential(many[0], last), x)
    with pytest.raises(SpaceError, match="is left beside the other convs"):
        tune(nn.Sequential(*many, last), x)


def test_a_site_that_nothing_can_run_is_named_with_the_bytes_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10_000)
    with pytest.raises(SpaceError) as caught:
        tune(Net(), torch.ones(64, 2, 2000))
    said = str(caught.value)
    assert "'second'" in said and "10.0 kB is left" in said and "MB" in said
    assert "search.batch_size" in said and "\n" not in said
