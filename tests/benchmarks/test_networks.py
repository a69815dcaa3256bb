"""The networks of the NAS benchmarks have the published sizes, and computations their authors describe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gennas import macro, nb101, nb201

FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
CONVS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"

# Keys of NASLib's sample of NAS-Bench-101 by the parameters in millions that it states.
ROW = "0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1"
UNEVEN = f"({ROW}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 3, 3, 2, 1)"


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def multiplications(network: nn.Module) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(("arch", "count"), [(FIRST, 129_306), (CONVS, 1_531_546), (NOTHING, 73_306)])
def test_nas_bench_201_has_the_published_parameters(arch: str, count: int) -> None:
    assert parameters(nb201.network(arch)) == count


def test_nas_bench_201_has_the_published_flops() -> None:
    assert multiplications(nb201.network(FIRST)) / 1e6 == pytest.approx(15.65, abs=0.01)


def test_a_cell_of_nas_bench_201_sums_what_its_edges_give() -> None:
    cell = nb201.Cell(nb201.parse(NOTHING.replace("none~0|none~1|none~2", "skip_connect~0|none~1|skip_connect~2")), 4)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(cell(x), x)
    doubled = nb201.Cell(nb201.parse(NOTHING.replace("none", "skip_connect")), 4)
    assert torch.equal(doubled(x), 4 * x)  # node 1 holds x, node 2 holds 2 x


@pytest.mark.parametrize("arch", ["", "|nor_conv_3x3~0|", FIRST.replace("avg_pool_3x3", "max_pool_3x3"), FIRST + "|"])
def test_what_is_no_string_of_nas_bench_201_is_refused(arch: str) -> None:
    with pytest.raises(ValueError, match="no architecture"):
        nb201.parse(arch)


def test_strings_survive_parsing() -> None:
    assert nb201.write(nb201.parse(FIRST)) == FIRST


@pytest.mark.parametrize(
    ("arch", "count", "flops"),
    [("02012100", 890_666, 47_327_744), ("11111221", 2_181_386, 65_012_224), ("02012220", 1_886_890, 65_495_552)],
)
def test_nas_bench_macro_has_the_published_parameters_and_flops(arch: str, count: int, flops: int) -> None:
    network = macro.network(arch)
    assert parameters(network) == count
    assert multiplications(network) == flops


def test_reduced_networks_keep_their_shape() -> None:
    x = torch.zeros(2, 3, 32, 32)
    for network in (nb201.network(FIRST, cells=1), macro.network("02012100", width=8), nb101.network(UNEVEN, 8, 1)):
        assert network.eval()(x).shape == (2, 10)


@pytest.mark.parametrize("arch", ["", "0201210", "02012103"])
def test_what_is_no_network_of_nas_bench_macro_is_refused(arch: str) -> None:
    with pytest.raises(ValueError, match="no architecture"):
        macro.network(arch)


def test_nas_bench_101_has_the_published_parameters() -> None:
    """The example in the README of google-research/nasbench, and a graph whose output channels do not divide by 3."""
    edges = {(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)}
    cell = nb101.Cell101(frozenset(edges), ("conv1x1", "conv3x3", "conv3x3", "conv3x3", "maxpool3x3"))
    assert parameters(nb101.build(cell)) == 2_694_282
    assert parameters(nb101.network(UNEVEN)) == 1_749_031


def test_channels_of_nas_bench_101_follow_the_output() -> None:
    cell = nb101.Cell101(frozenset({(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (2, 4)}), ("conv3x3", "conv1x1", "conv3x3"))
    assert cell.channels(16, 33) == [16, 16, 17, 16, 33]


def test_vertices_on_no_path_are_left_out() -> None:
    cell = nb101.parse(UNEVEN)
    assert cell.operations == ("conv3x3", "maxpool3x3", "conv1x1")  # vertices 3 and 5 lead nowhere


def test_graphs_of_the_sample_are_counted_once(tmp_path: Path) -> None:
    other = UNEVEN.replace("3, 2, 1)", "3, 4, 1)")  # another operation at a vertex that leads nowhere
    rows = {UNEVEN: {"val_accuracy": 90.0}, other: {"val_accuracy": 92.0}}
    path = tmp_path / "sample.json"
    path.write_text(json.dumps({"nasbench101": {"cifar10": rows}}))
    assert nb101.accuracies(path) == {UNEVEN: 91.0}


def test_what_is_no_key_of_the_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="56 numbers"):
        nb101.parse("(0, 1)")
