"""Proxy-task search: tasks that are drawn can be used, the sign of the correlation counts, and a kill costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dashfx.errors import ProxyError
from dashfx.proxy import GenNAS, load_task
from dashfx.proxy.gennas.task_search import KnownNetworks, Options, TaskSpace, search_task

SPACE = TaskSpace()
BATCH = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TINY = Options(evaluations=5, population=3, tournament=2, held_out=0.5, iterations=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(width: int) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
    )


def known(count: int = 6, sign: int = 1) -> KnownNetworks:
    models = {f"net{width}": net(width) for width in range(2, 2 + count)}
    return KnownNetworks(models, {name: float(sign * place) for place, name in enumerate(models)})


def test_tasks_that_are_drawn_or_mutated_are_tasks() -> None:
    draw = generator()
    seen = [SPACE.sample(draw) for _ in range(60)]
    for task in seen:
        child = SPACE.mutate(task, draw)
        assert child != task and SPACE.decode(json.loads(json.dumps(SPACE.encode(child)))) == child
        assert [stage.weight for stage in task.stages] == [0.25, 0.5, 1.0]
    signals = [signal for task in seen for stage in task.stages for signal in stage.signals]
    assert {signal.kind for signal in signals} == {"sin1d", "sin2d", "dot", "gdot", "resize"}
    assert {task.noise.kind for task in seen} == {"none", "gaussian", "uniform"}
    assert 0.4 < len(signals) / (60 * 15) < 0.6
    assert {signal.share for signal in signals if signal.kind.startswith("sin")} == {1.0}


def test_a_mutation_regenerates_about_a_fifth_of_the_blocks() -> None:
    draw, kept, of = generator(), 0, 0
    for _ in range(100):
        task = SPACE.sample(draw)
        child = SPACE.mutate(task, draw)
        for old, new in zip(task.stages, child.stages, strict=True):
            before, after = ({s.kind: s for s in stage.signals} for stage in (old, new))
            kept += sum(before.get(kind) == after.get(kind) for kind in before.keys() | after.keys())
            of += len(before.keys() | after.keys())
    assert 0.67 < kept / of < 0.79  # 0.8 of those present stay, 0.4 in all, of the 0.55 present before or after


def test_the_found_task_is_saved_with_what_it_is_worth(tmp_path: Path) -> None:
    found = search_task(known(), BATCH, TINY)
    (tmp_path / "task.json").write_text(found.to_json())
    assert load_task(tmp_path / "task.json") == found.task
    facts = json.loads(found.to_json())["found"]
    assert facts["held_out"]["n"] == 3 and facts["evaluations"] == 5 and -1 <= facts["rho"] <= 1
    assert found.rho == max(row.value for row in found.rows if row.value is not None)
    assert GenNAS(str(tmp_path / "task.json"), iterations=1).score(net(2), BATCH) > 0


def test_the_sign_of_the_correlation_counts() -> None:
    forward = search_task(known(), BATCH, TINY).rows
    backward = search_task(known(sign=-1), BATCH, TINY).rows
    first = range(TINY.population)  # drawn, so the same tasks in both
    assert [backward[i].value for i in first] == pytest.approx([-(forward[i].value or 0) for i in first])


def test_a_search_goes_on_from_its_history_and_workers_change_nothing(tmp_path: Path) -> None:
    straight = search_task(known(), BATCH, TINY)
    search_task(known(), BATCH, Options(**{**vars(TINY), "evaluations": 3}), tmp_path / "task.jsonl")
    again = search_task(known(), BATCH, Options(**{**vars(TINY), "workers": 2}), tmp_path / "task.jsonl")
    assert again.task == straight.task and again.to_json() == straight.to_json()
    assert [row.seconds for row in again.rows[:3]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (known(5), "5 known results: give 6 or more"),
        (KnownNetworks(known().models, dict.fromkeys(known().models, 1.0)), "nothing can be ranked"),
    ],
)
def test_too_little_is_known(pairs: KnownNetworks, said: str) -> None:
    with pytest.raises(ProxyError, match=said):
        search_task(pairs, BATCH, TINY)
