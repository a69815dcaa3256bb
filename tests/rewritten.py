"""A model's ONNX file and a rewriting go in; both graphs come out, once ONNX Runtime answered alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.divergence import relative_error
from dashfx.deploy.exporters import Attempt, write
from dashfx.deploy.runtime import OnnxModel, load_proto

SAME = 1e-5  # of the largest value; rounding is a hundred times smaller

Rewrite = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, int]]


class Of(nn.Module):
    """A model of some layers and of how they are called."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.call = nn.ModuleList(layers), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, *self.layers)


def written(model: nn.Module, path: Path, x: Tensor, exporter: str = "torchscript") -> onnx.ModelProto:
    """The file with a free batch, batch norms as after a training."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
    return write(model.eval(), Attempt(exporter, (x,), ({0: "batch"},), 18), path, {})


def rewritten(
    rewrite: Rewrite, model: nn.Module, x: Tensor, folder: Path, exporter: str = "torchscript"
) -> tuple[Counter[str], onnx.ModelProto, int]:
    """Operators before, the graph after, and how many places were rewritten; answers are the same, of one row too."""
    path, draft = folder / "model.onnx", folder / "rewritten.onnx"
    before = written(model, path, x, exporter)
    given = before.SerializeToString()
    after, count = rewrite(before)
    assert before.SerializeToString() == given  # it is a copy that is edited
    assert (after is before) == (count == 0)
    onnx.save(after, str(draft))
    onnx.checker.check_model(str(draft), full_check=True)
    files = OnnxModel(path), OnnxModel(draft)
    for rows in (x, x[:1], 0.1 + torch.zeros_like(x)):
        (expected,), (actual,) = (file.run(rows).values() for file in files)
        assert relative_error(actual, expected) < SAME
    again, more = rewrite(after)
    assert more == 0 and again is after
    return ops(load_proto(path)), after, count


def ops(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)
