"""Totals of networks: what a cost says of a genotype is what is counted on the model that the genotype makes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

import dashfx
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.cost.base import TotalCost
from dashfx.cost.counts import flops_of, parameters_of
from dashfx.cost.latency import Latency, Place, written
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.latency.table import LatencyTable, latency_file, layer_of
from dashfx.cost.macs import Macs
from dashfx.cost.memory import Memory, lifetimes, peak
from dashfx.cost.named import TOTALS
from dashfx.cost.parameters import Parameters
from dashfx.cost.size import Size, weight_bytes
from dashfx.errors import ConfigError
from dashfx.ops import sites_of
from dashfx.plugins import find


class Net(nn.Module):
    """A conv that is called twice, groups, a stride, a residual, norms and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.down = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 6, 5, stride=2, padding=2))
        self.point, self.head = nn.Conv2d(6, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.twice(self.twice(x)) + x)
        return self.head(torch.relu(self.point(self.down(x))).mean((2, 3)))


X = torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
CHOICES = SearchSpace.product([3, 5, 7], [1, 2])


@pytest.fixture(scope="module")
def specialised() -> list[tuple[Genotype, nn.Module]]:
    draw, sites = random.Random(0), sites_of(dashfx.rewrite(Net(), X, CHOICES))
    drawn = [Genotype({name: draw.choice(site.candidates) for name, site in sites.items()}) for _ in range(2)]
    return [(genotype, dashfx.specialise(Net(), X, genotype, "fresh")) for genotype in drawn]


def file_bytes(model: nn.Module) -> int:
    with written(model, X[:1]) as path:
        return weight_bytes(path)


@pytest.mark.parametrize(
    ("cost", "counted"),
    [(Parameters(), parameters_of), (Macs(), lambda model: flops_of(model, X[:1]) / 2), (Size(), file_bytes)],
    ids=["params", "macs", "size"],
)
def test_totals_are_those_of_the_specialised_model(
    cost: TotalCost, counted: Callable[[nn.Module], float], specialised: list[tuple[Genotype, nn.Module]]
) -> None:
    program = dashfx.trace(Net(), X)
    for genotype, plain in specialised:
        assert cost.total(program, genotype) == counted(plain)
    assert cost.total(program, Genotype()) == cost.whole(program) == counted(Net())
    assert 0 < cost.rest(program) < cost.whole(program)


def test_no_choice_changes_the_peak_of_memory(specialised: list[tuple[Genotype, nn.Module]]) -> None:
    program = dashfx.trace(Net(), X)
    before = Memory().total(program, Genotype())
    for genotype, plain in specialised:
        assert Memory().total(program, genotype) == before == Memory().whole(dashfx.trace(plain, X))
    # what `twice` reads and writes, and the residual: three maps of 8 x 12 x 10
    assert before == 3 * 4 * 8 * 12 * 10


def random_graph(seed: int) -> fx.GraphModule:
    """Sums, views, writes in place, joins, pairs and dead ends over earlier results."""
    draw, graph = random.Random(seed), fx.Graph()
    known = [graph.placeholder("x"), graph.placeholder("y")]
    for _ in range(draw.randint(3, 25)):
        a, b = draw.choice(known), draw.choice(known)
        kind = draw.choice(["add", "view", "inplace", "cat", "chunk", "mean"])
        if kind == "add":
            known.append(graph.call_function(torch.add, (graph.call_method("sum", (a,)), b)))
        elif kind == "view":
            known.append(graph.call_method("view", (a, -1)))
        elif kind == "inplace":
            known.append(graph.call_method("relu_", (a,)))
        elif kind == "cat":
            known.append(graph.call_function(torch.cat, ([graph.call_method("flatten", (n,)) for n in (a, b)],)))
        elif kind == "chunk":
            pair = graph.call_function(torch.chunk, (graph.call_method("flatten", (a,)), 2))
            known += [graph.call_function(lambda parts, i: parts[i], (pair, i)) for i in (0, -1)]
        else:
            known.append(graph.call_method("mean", (a,)))
    graph.output((draw.choice(known), known[-1]))
    return fx.GraphModule(nn.Module(), graph)


def simulated(graph_module: fx.GraphModule, inputs: list[Tensor]) -> int:
    """The graph run node by node: the bytes of all storages that a later node, or this one, still reads."""
    nodes, left, found = list(graph_module.graph.nodes), iter(inputs), {}
    runner = fx.Interpreter(graph_module)
    most, values = 0, dict[fx.Node, object]()
    values.update({node: next(left) for node in nodes if node.op == "placeholder"})
    for place, node in enumerate(nodes):
        if node.op == "output":
            continue
        if node.op != "placeholder":
            args = fx.node.map_arg(node.args, values.__getitem__)
            values[node] = getattr(runner, node.op)(node.target, args, {})
        needed = {source for later in nodes[place:] for source in later.all_input_nodes} | {node}
        alive = [tensor for each in needed & values.keys() for tensor in in_value(values[each])]
        found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
        most = max(most, sum(found.values()))
        values = {each: value for each, value in values.items() if each in needed}
    return most


def in_value(value: object) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)  # type: ignore[call-overload]


@pytest.mark.parametrize("seed", range(20))
def test_lifetimes_give_what_a_simulation_gives(seed: int) -> None:
    graph_module, inputs = random_graph(seed), [torch.ones(6), torch.ones(10)]
    with torch.no_grad():
        expected = simulated(graph_module, [x.clone() for x in inputs])
        assert peak(lifetimes(graph_module, [x.clone() for x in inputs])) == expected


def times(seconds: float) -> Latency:
    return Latency(seconds, seconds, seconds, 5, 1)


def test_latency_adds_up_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def timed(models: list[nn.Module], x: Tensor, place: Place, free: bool = True) -> list[Latency | None]:
        asked.append(len(models))
        return [times(sum(p.numel() for p in model.parameters())) for model in models]

    monkeypatch.setattr("dashfx.cost.latency.model.latencies", timed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cost, program = MeasuredLatency(), dashfx.trace(Net(), X)
    cost.prepare(program.sites, {name: [Candidate((5, 5))] for name in program.sites})
    assert asked == [2, 2, 1]  # each shape's candidates together; the last conv has that kernel already
    big = Genotype({"twice": Candidate((5, 5))})
    grown = 2 * (25 - 9) * 2 * 8  # of two calls
    assert cost.total(program, big) - cost.total(program, Genotype()) == pytest.approx(grown)
    assert cost.total(program, Genotype()) == parameters_of(Net())
    cost.prepare(program.sites, {name: [Candidate((5, 5))] for name in program.sites})
    assert asked == [2, 2, 1, 1]  # nothing is timed twice; the last is the whole model


def test_times_are_kept_for_later_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = dashfx.trace(nn.Sequential(nn.Conv1d(1, 2, 3, padding=1)), torch.zeros(2, 1, 8))
    (site,) = program.sites.values()
    first = MeasuredLatency().at(site, Candidate(5))
    assert first > 0 and MeasuredLatency().at(site, Candidate(5)) == first
    (entry, *_) = LatencyTable.load(latency_file()).entries.values()
    assert "CPUExecutionProvider, 1 thread" in entry.machine and "onnxruntime" in entry.machine
    layer = layer_of(site, Candidate(5), (8,))
    assert LatencyTable.load(latency_file()).seconds(layer) == first
    monkeypatch.setattr("dashfx.cost.latency.table.machine", lambda place: "another one")
    assert LatencyTable.load(latency_file()).seconds(layer) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1}', '{"a": {"layer": "x", "machine": "y", "time": {}}}', "\xff"]
)
def test_a_table_that_does_not_parse_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "latency.json").write_text(text, encoding="latin-1")
    assert LatencyTable.load(tmp_path / "latency.json").entries == {}


@pytest.mark.parametrize("name", TOTALS)
def test_a_loss_holds_shares_of_the_dearest_choice(name: str) -> None:
    sites = sites_of(dashfx.rewrite(nn.Sequential(nn.Conv1d(1, 2, 3, padding=1)), torch.zeros(2, 1, 8), CHOICES))
    (row,) = find("cost", name).in_loss(sites).values()
    assert float(row.max()) == pytest.approx(0 if name == "memory" else 1) and float(row.min()) >= 0


@pytest.mark.parametrize(
    ("cost", "text", "value"),
    [
        (Parameters(), "1M", 1e6),
        (Macs(), "2.5e3", 2500),
        (Memory(), "64KiB", 65536),
        (Size(), "500KB", 5e5),
        (MeasuredLatency(), "2 ms", 0.002),
    ],
)
def test_limits_have_units(cost: TotalCost, text: str, value: float) -> None:
    assert cost.read(text) == pytest.approx(value)
    assert cost.read(cost.say(value).replace(" ", "")) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("text", ["2", "2m", "ms", "-2ms", "0ms", "1e999ms", "2ms3", "nan", "٣ms"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no limit in seconds; write one such as 1s, 1ms, 1us, or 0\.7x"):
        MeasuredLatency().read(text)
