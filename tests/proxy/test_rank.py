"""Rankings: the same table for any order and any number of processes; correlations against scipy; bad lists refused."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, kendalltau, spearmanr
from torch import Tensor, nn

from dashfx.backbones import CifarResNet, WRN1d
from dashfx.errors import ProxyError
from dashfx.proxy import GenNAS, Proxy, Ranking, Row, correlate, load_proxy, rank, scoring

SERIES = torch.randn(4, 1, 64, generator=torch.Generator().manual_seed(0))


def nets() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {f"w{width}": WRN1d(3, 1, width) for width in (2, 4, 8)}


def proxies() -> list[Proxy]:
    return [GenNAS("combo", iterations=3), load_proxy("naswot")]


def scores(ranking: Ranking) -> dict[str, dict[str, float]]:
    return {row.name: dict(row.scores) for row in ranking.rows}


def test_order_and_number_of_processes_do_not_matter() -> None:
    models = nets()
    table = rank(models, SERIES, proxies())
    assert [row.name for row in table.rows] == list(models)
    assert table.proxies == ["params", "flops", "gennas-combo", "naswot"]
    assert scores(rank(dict(reversed(models.items())), SERIES, proxies())) == scores(table)
    assert scores(rank(models, SERIES, proxies(), workers=2)) == scores(table)


def test_models_that_are_built_here_start_alike() -> None:
    make = {name: (lambda width=width: WRN1d(3, 1, width)) for name, width in (("a", 2), ("b", 4), ("c", 2))}
    first = scores(rank(make, SERIES, proxies()))
    assert first["a"] == first["c"] != first["b"]
    torch.rand(3)
    assert scores(rank(dict(reversed(make.items())), SERIES, proxies())) == first


def test_a_list_is_named_by_its_places_and_rows_arrive_as_they_are_ready() -> None:
    seen: list[str] = []
    table = rank(list(nets().values()), SERIES, [load_proxy("naswot")], on_row=lambda row: seen.append(row.name))
    assert seen == [row.name for row in table.rows] == ["0", "1", "2"]


def test_the_threads_of_torch_come_back() -> None:
    before = torch.get_num_threads()
    rank(nets(), SERIES, [])
    assert torch.get_num_threads() == before


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x[:, 0])


def test_one_model_that_cannot_be_scored_does_not_cost_the_others() -> None:
    table = rank({"flat": Flat(), **nets()}, SERIES, [GenNAS("single", iterations=2)])
    assert table.order("gennas-single")[-1] == "flat" and table.failed("gennas-single") == 1
    assert "no spatial stage" in table.rows[0].note and not any(row.note for row in table.rows[1:])


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ArithmeticError("no luck\nat all")


def refuse() -> nn.Module:
    raise KeyError("width")


def stop() -> nn.Module:
    raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_model_raises_is_a_note(workers: int) -> None:
    table = rank({"refused": refuse, "broken": Broken(), **nets()}, SERIES, [load_proxy("naswot")], workers)
    refused, broken, *others = table.rows
    assert refused.note == "it cannot be built: KeyError: 'width'" and refused.scores["params"] == -math.inf
    assert "no luck" in broken.note and "at all" not in broken.note and broken.scores["params"] == 0
    assert broken.note.startswith("flops: ")  # on one row, and the others on all
    two = rank([Broken()], SERIES[:1], [load_proxy("naswot"), load_proxy("synflow")])
    assert two.rows[0].note.count("no luck") == 1
    assert others and not any(row.note for row in others)


def test_ctrl_c_ends_a_ranking() -> None:
    with pytest.raises(KeyboardInterrupt):
        rank({"stop": stop}, SERIES, [])


def made_up(**columns: list[float]) -> Ranking:
    rows = [
        Row(f"m{i}", {"params": 1.0, "flops": float(-i), **dict(zip(columns, values, strict=True))}, 0.5)
        for i, values in enumerate(zip(*columns.values(), strict=True))
    ]
    return Ranking(tuple(rows), {"params": True, "flops": True, **{name: name != "loss" for name in columns}})


def test_the_best_stands_first_and_what_failed_last() -> None:
    table = made_up(loss=[0.5, math.inf, 0.1, 0.5], gain=[1.0, 3.0, -math.inf, 1.0])
    assert table.order("loss") == ["m2", "m0", "m3", "m1"]
    assert table.order("gain") == ["m1", "m0", "m3", "m2"]
    assert table.failed("loss") == table.failed("gain") == 1


def test_a_vote_is_the_mean_rank() -> None:
    table = made_up(loss=[0.1, 0.2, math.inf], gain=[3.0, 1.0, 1.0]).voted()
    assert [row.scores["vote"] for row in table.rows] == [1.0, (2 + 2.5) / 2, (3 + 2.5) / 2]
    assert table.order("vote") == ["m0", "m1", "m2"] and not table.maximise["vote"]


def test_csv_holds_every_column() -> None:
    table = made_up(loss=[0.1, math.inf], gain=[3.0, 1.0])
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert list(rows[0]) == ["name", "params", "flops", "loss", "gain", "seconds", "note"]
    assert [float(row["loss"]) for row in rows] == [0.1, math.inf]


def test_correlation_is_signed_towards_better() -> None:
    table = made_up(loss=[0.4, 0.3, 0.2, math.inf], gain=[1.0, 2.0, 3.0, 0.0])
    found = table.correlation({"m0": 70.0, "m1": 80.0, "m2": 90.0, "m3": 10.0, "unknown": 5.0})
    assert found["loss"].rho == found["loss"].tau == found["gain"].rho == 1 and found["loss"].n == 4
    assert found["loss"].rho_interval == (1, 1)
    assert math.isnan(found["params"].rho)  # all the same
    errors = table.correlation({"m0": 3.0, "m1": 2.0, "m2": 1.0}, maximise=False)
    assert errors["loss"].rho == 1 and errors["loss"].n == 3


def test_correlation_and_interval_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    x = np.round(truth + rng.normal(size=40), 1)  # with ties
    found = correlate(list(x), list(truth), resamples=4000)
    for mine, interval, theirs in (
        (found.rho, found.rho_interval, spearmanr),
        (found.tau, found.tau_interval, kendalltau),
    ):
        assert mine == pytest.approx(theirs(x, truth).statistic)
        expected = bootstrap(
            (x, truth),
            lambda a, b, theirs=theirs: theirs(a, b).statistic,
            paired=True,
            vectorized=False,
            n_resamples=1000,
            method="percentile",
            random_state=1,
        ).confidence_interval
        assert interval == pytest.approx((expected.low, expected.high), abs=0.03)


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ({"m0": 1.0, "m1": 2.0}, "2 of 4 ranked models have a known result: give 3 or more"),
        ({"m0": 1.0, "m1": 1.0, "m2": 1.0}, "nothing can be ranked"),
        ({"m0": 1.0, "m1": math.nan, "m2": 1.0}, "not finite"),
    ],
)
def test_results_that_cannot_be_ranked_against_are_refused(truth: dict[str, float], why: str) -> None:
    with pytest.raises(ProxyError, match=why):
        made_up(loss=[0.4, 0.3, 0.2, 0.1]).correlation(truth)


def test_bad_lists_are_refused() -> None:
    with pytest.raises(ProxyError, match="at least one of each"):
        rank({}, SERIES)
    with pytest.raises(ProxyError, match="two proxies of one name"):
        rank(nets(), SERIES, [GenNAS("combo"), GenNAS("combo", seed=1)])
    with pytest.raises(ProxyError, match="did you mean 'gain'"):
        made_up(gain=[1.0, 2.0]).order("gian")


def test_models_that_no_other_process_can_import_need_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring.multiprocessing, "get_all_start_methods", lambda: ["spawn"])

    class Local(CifarResNet):
        pass

    with pytest.raises(ProxyError, match="workers=1"):
        rank([Local(8), Local(8)], torch.rand(2, 3, 32, 32), [], workers=2)


@pytest.mark.slow
def test_spawned_processes_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert scores(rank(nets(), SERIES, proxies(), workers=2)) == scores(rank(nets(), SERIES, proxies()))
