"""Views of a graph: topology by position, receptive fields, stages by resolution."""

from __future__ import annotations

import math

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dashfx
from dashfx import SearchSpace
from dashfx.frontend.analysis import receptive_fields, same_topology, site_receptive_fields, stages, to_networkx
from dashfx.frontend.tracing import trace

X = torch.zeros(1, 2, 32, 24)


class Net(nn.Module):
    def __init__(self, name: str = "first") -> None:
        super().__init__()
        self.name = name
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, (3, 5), stride=2, padding=(2, 4), dilation=(2, 2))
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = self.pool(self.down(x))
        x = F.interpolate(self.last(x), scale_factor=2)
        return self.head(self.last(x).mean((2, 3)))


def sampled_field(model: nn.Module, size: int) -> int:
    """How many positions of a 1-D input reach the middle output, by gradients."""
    x = torch.zeros(1, 1, size, requires_grad=True)
    y = model(x)
    y[0, 0, y.shape[-1] // 2].backward()
    hit = x.grad[0, 0].nonzero()
    return int(hit.max() - hit.min()) + 1


@pytest.mark.parametrize("pool", [nn.AvgPool2d((1, 4)), nn.AvgPool2d(2)], ids=["tuple", "int"])
def test_axes_that_a_reshape_makes_have_no_known_field(pool: nn.Module) -> None:
    class Eeg(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Conv1d(4, 4, 5, padding=2)
            self.both = nn.Conv2d(1, 3, (3, 5), padding=(1, 2))
            self.pool = pool

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(self.both(self.time(x).unsqueeze(1)))

    program = trace(Eeg(), torch.zeros(2, 4, 32))
    assert site_receptive_fields(program.graph_module) == {"time": (5,), "both": None}


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_receptive_fields_are_what_gradients_reach(stride: int) -> None:
    model = nn.Sequential(
        nn.Conv1d(1, 1, 3, padding=1),
        nn.Conv1d(1, 1, 5, stride, 4, dilation=2),
        nn.AvgPool1d(2),
        nn.Conv1d(1, 1, 4, padding=2),
    )
    for conv in model.parameters():
        nn.init.ones_(conv)
    program = trace(model, torch.zeros(1, 1, 90))
    found = site_receptive_fields(program.graph_module)
    assert found["3"] == (sampled_field(model, 90),)
    assert found["0"] == (3,) and found["1"] == (11,)


def test_receptive_fields_per_axis_and_through_other_nodes() -> None:
    program = trace(Net(), X)
    fields = receptive_fields(program.graph_module)
    assert fields["x"] == (1, 1)
    assert fields["first"] == fields["relu"] == (3, 3)
    assert fields["down"] == (7, 11) and fields["pool"] == (9, 13)
    assert fields["last"] == (17, 21)  # jump 4
    assert fields["last_1"] == (21, 25)  # jump 2 after the upsampling
    assert fields["head"] in ((math.inf, math.inf), None)
    assert fields["mean"] == (math.inf, math.inf)


def test_an_opaque_module_has_no_known_field() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if float(x.sum()) < 1e9 else x

    program = trace(nn.Sequential(Odd(), nn.Conv2d(2, 2, 3)), X)
    assert site_receptive_fields(program.graph_module) == {"0.conv": None, "1": None}


def test_axes_that_the_model_makes_have_no_known_field() -> None:
    class Signal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, (5, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x[..., None])

    assert site_receptive_fields(trace(Signal(), torch.zeros(2, 1, 32)).graph_module) == {"conv": None}


def test_a_supernets_field_is_that_of_its_widest_candidates() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
    supernet = dashfx.rewrite(model, X, SearchSpace.product([3, 5], [1, 2]))
    assert site_receptive_fields(trace(supernet, X).graph_module) == {"0": (9, 9), "1": (17, 17)}


def test_stages() -> None:
    found = stages(trace(Net(), X).graph_module)
    assert list(found) == [(32, 24), (16, 12), (8, 6)]
    assert found[32, 24] == ["x", "first", "relu"] and found[16, 12] == ["down", "interpolate", "last_1"]


def test_networkx_view() -> None:
    graph = to_networkx(trace(Net(), X).graph_module)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.nodes["down"]["op"] == "call_module" and graph.nodes["down"]["shape"] == (1, 4, 16, 12)
    assert list(graph.successors("first")) == ["relu"]
    assert nx.shortest_path_length(graph, "x", "output") == len(graph) - 1


class Renamed(Net):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image)


def test_topology_is_about_what_happens_not_about_names() -> None:
    graph = trace(Net(), X).graph_module
    assert same_topology(graph, trace(Renamed(), X).graph_module)
    assert not same_topology(graph, trace(nn.Sequential(*Net().children())[:3], X).graph_module)
