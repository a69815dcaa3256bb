"""Deployments: every combination once, few threads first; as settings of a session; by name."""

from __future__ import annotations

import onnxruntime
import pytest

from dashfx.deploy.sessions import Deployment
from dashfx.deploy.sessions.options import LEVELS
from dashfx.errors import ConfigError
from dashfx.plugins import find


def test_few_threads_and_float_come_first() -> None:
    found = find("deployment", "sessions:threads=[4,1,1],levels=[all,basic]").options()
    assert len(found) == len(set(found)) == 8 and found[0] == Deployment(1, "all", "float32")
    assert [each.threads for each in found] == [1] * 4 + [4] * 4
    assert [each.precision for each in found[:4]] == ["float32", "float32", "int8", "int8"]
    assert str(found[-1]) == "int8 on 4 threads, graph level basic"


def test_settings_are_those_of_onnx_runtime() -> None:
    options = onnxruntime.SessionOptions()
    for level in LEVELS:
        told = Deployment(3, level).session_options
        assert told["intra_op_num_threads"] == 3 and hasattr(options, "intra_op_num_threads")
        assert hasattr(onnxruntime.GraphOptimizationLevel, told["graph_optimization_level"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("session", "no deployment 'session', did you mean 'sessions'"),
        ("sessions:threads=[0]", "argument 'threads'"),
        ("sessions:precisions=[int4]", "argument 'precisions'"),
        ("sessions:levels=[]", "levels is an empty list"),
    ],
)
def test_others_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find("deployment", text)
    assert said.split(",")[0] in str(caught.value)
