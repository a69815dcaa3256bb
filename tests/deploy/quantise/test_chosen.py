"""Int8 files at chosen convs hold exactly these in int8, and tell what each costs alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.quantise import choose
from dashfx.deploy.quantise.choose import Judge
from dashfx.deploy.quantise.chosen import UNCHOSEN, Drafts
from dashfx.deploy.quantise.qdq import METHODS, WEIGHTED, in_int8
from dashfx.deploy.runtime import OnnxModel


class Sum(nn.Module):
    """Two kernels in the place of one conv's."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv1d(8, 8, 3, padding=1), nn.Conv1d(8, 8, 5, padding=2)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.parts
        return first(x) + second(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.aa, self.b = nn.Conv1d(3, 8, 3, padding=1), nn.Conv1d(8, 8, 1), Sum()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(self.aa(torch.relu(self.a(x))))).mean(2))


def rows(count: int = 24) -> Tensor:
    return torch.randn(count, 3, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    write(Net().eval(), Attempt("torchscript", (rows(2),), ({0: "batch"},), 18), path, {})
    return path


@pytest.fixture(autouse=True)
def one_way_to_tell_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "METHODS", {"min-max": METHODS["min-max"]})


def qdq_nodes(path: Path) -> set[str]:
    proto = onnx.load(str(path))
    maker = {name: node.op_type for node in proto.graph.node for name in node.output}
    weighted = [node for node in proto.graph.node if node.op_type in WEIGHTED]
    return {n.name for n in weighted if {maker.get(name) for name in n.input[:2]} == {"DequantizeLinear"}}


def drafts_of(file: Path, folder: Path, metric: Callable[[set[str]], float], limit: float = 0.1) -> Drafts:
    judge = Judge(lambda path: metric(qdq_nodes(path)), 0.9, True, limit, "as the test says")
    return Drafts(file, folder, rows()[:18], rows()[18:], judge, lambda paths, *_: [1.0] * len(paths))


def test_exactly_the_chosen_convs_are_in_int8(file: Path, tmp_path: Path) -> None:
    drafts = drafts_of(file, tmp_path, lambda nodes: 0.9 - 0.04 * len(nodes))
    for names, nodes in {
        ("a",): {"a"},
        ("b",): {"b.parts.0", "b.parts.1"},
        ("aa", "head"): {"aa", "head"},
        ("a", "aa", "b", "head"): {"a", "aa", "b.parts.0", "b.parts.1", "head"},
    }.items():
        draft = drafts.draft(names)
        assert qdq_nodes(draft.path) == nodes and draft.names == names
        assert draft.metric == pytest.approx(0.9 - 0.04 * len(nodes)) and draft.allowed == (len(nodes) < 3)
    assert drafts.known(["a", "nothing", "b"]) == ("a", "b") and drafts.drop("b") == pytest.approx(0.08)


def test_each_conv_alone_moves_the_answers_by_its_own_error(file: Path, tmp_path: Path) -> None:
    drafts = drafts_of(file, tmp_path, lambda nodes: 0.9)
    x = rows()[18:]
    moved = (OnnxModel(drafts.draft(["aa"]).path).rows(x) - OnnxModel(file).rows(x)).norm()
    assert drafts.error("aa") == pytest.approx((moved / OnnxModel(file).rows(x).norm()).item(), rel=1e-4) != 0
    assert drafts.error("a") != drafts.error("aa")


def test_the_most_that_keeps_the_metric_without_the_most_sensitive(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = drafts_of(file, tmp_path, lambda nodes: 0.9 - 0.06 * len(nodes))
    monkeypatch.setattr(drafts, "error", {"a": 0.3, "aa": 0.1, "b": 0.2, "head": 0.4}.__getitem__)
    found = drafts.reverted(["a", "aa", "b"])
    assert found is not None and found.names == ("aa",)
    (tmp_path / "none").mkdir()
    none = drafts_of(file, tmp_path / "none", lambda nodes: 0.0)
    assert none.reverted(["a"]) is None


def test_a_kept_draft_tells_what_was_not_chosen(file: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "drafts", tmp_path / "out.onnx"
    folder.mkdir()
    drafts = drafts_of(file, folder, lambda nodes: 0.85)
    found = drafts.kept(drafts.draft(["aa", "b"]), out)
    assert found.path == out and qdq_nodes(out) == {"aa", "b.parts.0", "b.parts.1"}
    assert found.in_float == {"a": UNCHOSEN, "head": UNCHOSEN} and found.metric == 0.85 and found.sites == 5


def test_a_layer_of_its_own_is_wholly_in_int8(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.onnx"
    copy.write_bytes(file.read_bytes())
    assert qdq_nodes(in_int8(copy, rows(4))) == {"a", "aa", "b.parts.0", "b.parts.1", "head"}
