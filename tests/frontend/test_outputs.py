"""What a model gives is checked before it is trained: one tensor, alike in both modes, with a gradient, scores."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dashfx
from dashfx.cli.main import run
from dashfx.errors import ModelError
from dashfx.frontend.outputs import check_training, probability_warning, require_tensor

X = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A conv and a head, with something done to the result."""

    def __init__(self, after: Any = lambda net, y: y) -> None:
        super().__init__()
        self.conv, self.norm, self.after = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), after

    def forward(self, x: Tensor) -> Any:
        return self.after(self, self.norm(self.conv(x).mean(2)))


class ModelOutput(OrderedDict):
    """As transformers has it: fields by name and by attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (ModelOutput(logits=X), r"Net gives a ModelOutput, .* whose forward returns model\(x\)\.logits"),
        ({"logits": X, "loss": X}, r"returns model\(x\)\['logits'\]"),
        ({"features": X, "out": X}, "returns one of features, out"),
        ((X, X), "gives a tuple, and a run needs one tensor: return one tensor"),
        (None, "gives a NoneType"),
    ],
)
def test_other_than_one_tensor(output: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        require_tensor(Net(), output)
    assert "\n" not in str(raised.value)


def test_a_tensor_is_taken() -> None:
    require_tensor(Net(), X)


@torch.no_grad()
def without_gradient(net: Net, y: Tensor) -> Tensor:
    return y * 2


@torch.inference_mode()
def inferred(net: Net, y: Tensor) -> Tensor:
    return y * 2


def failing(net: Net, y: Tensor) -> Tensor:
    if net.training:
        raise ValueError("no targets")
    return y


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            lambda net, y: (y, y) if net.training else y,
            r"gives tuple of \[2x4, 2x4\] in training mode and Tensor",
        ),
        (lambda net, y: {"out": y} if net.training else y, r"gives dict of \{out: 2x4\} in training mode"),
        (lambda net, y: y[:, :2] if net.training else y, "gives Tensor of 2x2 in training mode and Tensor of 2x4"),
        (without_gradient, "output has no gradient, so it cannot be trained: take torch.no_grad"),
        (inferred, "no gradient"),
        (lambda net, y: y.detach(), "no gradient"),
        (failing, "fails in training mode: no targets"),
    ],
)
def test_models_that_cannot_be_trained(after: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        check_training(Net(after), X)
    assert "\n" not in str(raised.value)


def test_batch_norm_on_batches_of_one_row() -> None:
    with pytest.raises(ModelError, match="in training mode with batches of one row: set a larger batch_size: Expected"):
        check_training(Net(), X[:1])


def test_a_model_that_can_be_trained_stays_as_it_was() -> None:
    model = Net(lambda net, y: F.dropout(y, 0.5, net.training)).eval()
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    check_training(model, X)
    assert not model.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    partly = Net(lambda net, y: y.detach())
    partly.conv.requires_grad_(False)
    with pytest.raises(ModelError, match="no gradient"):
        check_training(partly, X)
    check_training(model.requires_grad_(False), X)  # what is frozen has no gradient by its owner's wish


@pytest.mark.parametrize(
    ("after", "task", "words"),
    [
        (lambda net, y: F.softmax(y, 1), "classify", "Net ends in softmax"),
        (lambda net, y: y.softmax(1), "dense-classify", "Net ends in softmax"),
        (lambda net, y: nn.Softmax(1)(y), "classify", "Net ends in softmax"),
        (lambda net, y: torch.softmax(y, 1).clone(), "classify", "rows that sum to one"),
        (lambda net, y: nn.Sigmoid()(y), "classify", "Net ends in sigmoid"),
        (lambda net, y: y.sigmoid(), "multilabel", "Net ends in sigmoid"),
        (lambda net, y: y.sigmoid_(), "multilabel", "Net ends in sigmoid"),
    ],
)
def test_shares_where_scores_are_wanted(after: Any, task: str, words: str) -> None:
    warning = probability_warning(Net(after), X, task)
    assert warning is not None and words in warning and f"the loss of task {task}" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("after", "task"),
    [
        (lambda net, y: y, "classify"),
        (lambda net, y: y * y.sigmoid(), "classify"),
        (lambda net, y: y.log_softmax(1), "classify"),  # cross-entropy of it is the same
        (lambda net, y: y.abs(), "classify"),
        (lambda net, y: y.softmax(1), "regress"),
        (lambda net, y: y.sigmoid(), "a task of one's own"),
        (lambda net, y: (y.softmax(1), y), "classify"),
        (lambda net, y: 0 * y[:, :1] + 1, "classify"),  # one column says nothing
    ],
)
def test_scores_are_not_warned_about(after: Any, task: str) -> None:
    assert probability_warning(Net(after), X, task) is None


MODELS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, outputs=4):
        super().__init__()
        self.conv, self.head = nn.Conv1d(3, 4, 3, padding=1), nn.Linear(4, outputs)

    def forward(self, x):
        return self.head(self.conv(x).mean(2))


class Shares(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Frozen(Net):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Two(Net):
    def forward(self, x):
        y = super().forward(x)
        return (y, y) if self.training else y


class Named(Net):
    def forward(self, x):
        return {"logits": super().forward(x)}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with models and data."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MODELS)
    x = np.random.default_rng(0).normal(size=(40, 3, 8)).astype(np.float32)
    np.savez("data.npz", x=x, y=np.arange(40) % 4)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("verb", ["check", "search"])
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (["net.py:Net", "--model-args", "outputs=7"], "gives 7 outputs, the data has 4 classes"),
        (["net.py:Net", "--model-args", "outputs=abc"], "net.py:Net raises at net.py:9 when it is built: TypeError"),
        (["net.py:Frozen"], "output has no gradient"),
        (["net.py:Two"], "gives tuple of [2x4, 2x4] in training mode"),
        (["net.py:Named"], "returns model(x)['logits']"),
    ],
)
def test_check_and_search_refuse(verb: str, model: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", "out"] if verb == "search" else []
    assert run([verb, *model, "--data", "data.npz", *out]) == 2
    *_, line = (each for each in capsys.readouterr().err.splitlines() if each)
    assert line.startswith("error: ") and words in line
    assert not Path("out").exists()


@pytest.mark.usefixtures("place")
def test_check_warns_of_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "net.py:Shares", "--data", "data.npz"]) == 0
    assert "warning: Shares ends in softmax" in capsys.readouterr().err
    assert run(["check", "net.py:Net", "--data", "data.npz"]) == 0
    assert "warning" not in capsys.readouterr().err


class PerRow(nn.Module):
    """Its batch norm sees one value per row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv1d(3, 4, 3, padding=1), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x).mean(2)))


def test_one_row_left_over_for_a_batch_norm() -> None:
    x, y = np.random.default_rng(0).normal(size=(25, 3, 8)).astype(np.float32), np.arange(25) % 2
    parts = {"train": slice(0, 9), "valid": slice(9, 17), "test": slice(17, 25)}
    data = {f"{axis}_{part}": rows[each] for part, each in parts.items() for axis, rows in (("x", x), ("y", y))}
    options = {"epochs": 1, "batch_size": 8, "autotune": False}
    config = {"device": "cpu", "control": False, "search": options, "retrain": options}
    space = {"kernels": [3, 5], "dilations": [1]}
    assert dashfx.search(PerRow(), data, config={**config, "space": space}).valid >= 0
