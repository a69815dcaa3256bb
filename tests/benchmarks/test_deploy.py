"""The deploying benchmark: its tasks repeat, its models answer in the form of their task, its table is arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.deploy.files import NNCF, ORT, OURS, OURS_INT8, PLAIN
from benchmarks.deploy.models import MODELS
from benchmarks.deploy.table import drop, ratios, table
from benchmarks.deploy.tasks import ROWS, Task, measured, motifs, outlines


def row(model: str, sequence: bool, ours: float, int8: float, lost: float = 0.0) -> dict[str, Any]:
    """A model whose plain file takes 8 and then 10 ms, others so many times less."""
    times = {PLAIN: [0.008, 0.01], OURS: [0.008 / ours, 0.01 / ours], OURS_INT8: [0.008 / int8, 0.01 / int8]}
    times[ORT] = [0.004, 0.005]
    metrics = {PLAIN: (0.9, 0.02), OURS: (0.9, 0.02), OURS_INT8: (0.9 - lost, 0.02), ORT: (0.88, 0.02)}
    made = {"machine": "a machine", "onnxruntime": "1", "torch": "2", "threads": 1, "said": {NNCF: "not installed"}}
    return {"model": model, "sequence": sequence, "times": times, "metrics": metrics, **made}


def test_ratios_are_within_a_repeat() -> None:
    assert ratios(row("a", True, 2.0, 4.0), OURS) == pytest.approx([2.0, 2.0])
    assert ratios(row("a", True, 2.0, 4.0), NNCF) == [] and drop(row("a", True, 2.0, 4.0), NNCF) is None
    assert drop(row("a", True, 2.0, 4.0, 0.01), OURS_INT8) == pytest.approx(0.01)


def test_the_table_has_means_and_what_misses_the_targets() -> None:
    lines = table([row("a", True, 2.0, 8.0), row("b", False, 0.5, 1.0, 0.03)]).splitlines()
    assert lines[2].startswith("| a | 9 | 2.00 (2.00-2.00) | 8.00 (8.00-8.00) | 2.00 (2.00-2.00) | - | - |")
    assert lines[4].startswith("| geometric mean |  | 1.00 | 2.83 | 2.00 | - | - |")
    assert lines[5].startswith("| of the 1-D ones |  | 2.00 | 8.00 |")
    assert "- slowest beside plain export: b, 0.50 times as fast" in lines
    assert "- drops of more than one standard error, ours int8: b" in lines
    assert "- slower than ONNX Runtime's recipe, ours int8: b" in lines
    assert f"- a, {NNCF}: not installed" in lines and lines[-1].startswith("a machine; ONNX Runtime 1, torch 2")


@pytest.mark.parametrize("make", [lambda: motifs(64), lambda: outlines(16)])
def test_tasks_repeat_and_are_normalised(make: Any) -> None:
    one, other = make(), make()
    for part in ROWS:
        (x, y), (same, also) = getattr(one, part), getattr(other, part)
        assert len(x) == len(y) == ROWS[part] and torch.equal(x, same) and torch.equal(y, also)
    assert abs(one.train[0].mean()) < 1e-5 and abs(one.train[0].std() - 1) < 1e-5


def test_a_metric_is_a_mean_of_rows_with_its_error() -> None:
    y = torch.tensor([0, 1, 1, 0])
    part = (torch.eye(2)[y], y)
    task = Task(part, part, part, torch.nn.functional.cross_entropy, lambda output, y: (output.argmax(1) == y).double())

    def wrong_once(x: Tensor) -> Tensor:
        return torch.cat([1 - x[:1], x[1:]])

    assert measured(lambda x: x, task, part) == (1.0, 0.0)
    assert measured(wrong_once, task, part) == (0.75, pytest.approx(0.25))


@pytest.mark.parametrize("name", MODELS)
def test_models_answer_in_the_form_of_their_task(name: str) -> None:
    model = MODELS[name]
    output = model.make().eval()(torch.zeros(1, *model.shape))
    assert output.shape == ((1, *model.shape) if name == "U-Net" else (1, 10))
