"""ONNX files as text: a graph by hand, names that do not matter, and files that a predictor can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dashfx.deploy.texts.onnx_text import features, ngrams, onnx_text

EXPECTED = """\
1<0: Conv(dilations=1,pads=1x1) w4x2x3 -> 1x4x8 | Relu -> 1x4x8
2<1: Conv w4x4x1 -> 1x4x8
3<2,1: Add -> 1x4x8"""


def saved(path: Path, prefix: str = "", kernel: int = 3) -> Path:
    """A conv, an activation, and a residual branch with a 1x1 conv."""

    def name(text: str) -> str:
        return prefix + text

    nodes = [
        helper.make_node("Conv", [name("x"), name("w")], [name("a")], dilations=[1], pads=[kernel // 2] * 2),
        helper.make_node("Relu", [name("a")], [name("b")], name=name("act")),
        helper.make_node("Conv", [name("b"), name("v")], [name("c")]),
        helper.make_node("Add", [name("c"), name("b")], [name("y")]),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((4, 2, kernel), np.float32), name("w")),
        numpy_helper.from_array(np.zeros((4, 4, 1), np.float32), name("v")),
    ]
    ends = [helper.make_tensor_value_info(name(each), TensorProto.FLOAT, [1, n, 8]) for each, n in (("x", 2), ("y", 4))]
    onnx.save(helper.make_model(helper.make_graph(nodes, prefix or "g", ends[:1], ends[1:], weights)), path)
    return path


def test_a_graph_by_hand(tmp_path: Path) -> None:
    assert onnx_text(saved(tmp_path / "a.onnx")) == EXPECTED


def test_names_do_not_matter_and_sizes_do(tmp_path: Path) -> None:
    first, renamed, wider = (
        onnx_text(saved(tmp_path / f"{i}.onnx", prefix, kernel))
        for i, (prefix, kernel) in enumerate((("", 3), ("other.", 3), ("", 5)))
    )
    assert first == renamed != wider and "w4x2x5" in wider
    rows = features([tmp_path / "0.onnx", tmp_path / "1.onnx", tmp_path / "2.onnx"])
    assert rows.shape == (3, 512) and np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])


def test_words_are_counted_in_runs() -> None:
    found = ngrams("1<0: a b a b\n2<1: a", length=2, size=4096)
    assert np.sort(np.round(np.expm1(found[found > 0]))).tolist() == [1, 2, 2, 3]  # b a, b, a b, a
    assert np.array_equal(found, ngrams("7<3: a\n9<4: a b a b", length=2, size=4096))
