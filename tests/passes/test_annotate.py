"""Annotate: each node learns its site, receptive field and stage."""

from __future__ import annotations

import copy

import torch
from torch import nn

from dashfx.frontend.tracing import trace
from dashfx.passes import Annotate

MODEL = nn.Sequential(nn.Conv1d(1, 1, 3, stride=2), nn.ReLU(), nn.Conv1d(1, 1, 5), nn.Conv1d(1, 1, 1))


def test_facts_of_nodes() -> None:
    program = trace(MODEL, torch.zeros(1, 1, 31))
    result = Annotate()(program.graph_module)
    calls = [node.meta for node in program.graph_module.graph.nodes if node.op == "call_module"]
    assert [meta["receptive_field"] for meta in calls] == [(3,), (3,), (11,), (11,)]
    assert [meta["stage"] for meta in calls] == [1, 1, 2, 2]  # 0 is the input's size
    assert [meta.get("site") for meta in calls] == [program.sites["0"], None, program.sites["2"], None]
    assert [edit.what for edit in result.edits] == ["receptive field 3, stage 1", "receptive field 11, stage 2"]


def test_facts_survive_a_copy_of_the_graph() -> None:
    program = trace(MODEL, torch.zeros(1, 1, 31))
    Annotate()(program.graph_module)
    twin = copy.deepcopy(program.graph_module)
    assert [node.meta.get("receptive_field") for node in twin.graph.nodes][1] == (3,)


def test_facts_that_no_longer_hold_are_written_anew() -> None:
    program = trace(MODEL, torch.zeros(1, 1, 31))
    Annotate()(program.graph_module)
    (first, *_) = (node for node in program.graph_module.graph.nodes if node.op == "call_module")
    first.meta["stage"] = 7
    Annotate()(program.graph_module)
    assert first.meta["stage"] == 1
