"""The network's drawing: what feeds what, how far each conv sees, and a row a conv."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

import dashfx
from dashfx.genotype import Genotype
from dashfx.report.network import Network, drawing, network_of
from dashfx.space import Candidate


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 4, 3, padding=1)
        self.inner = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.ReLU())
        self.mix = nn.Conv1d(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.mix(x + self.inner(x))
        return self.head(x.mean(-1))


GENOTYPE = Genotype({"first": Candidate(5, 3), "inner.0": Candidate(3)})
X = torch.zeros(2, 1, 64)


def network() -> Network:
    plain = dashfx.specialise(Residual(), X, GENOTYPE, "fresh")
    return network_of(dashfx.trace(Residual(), X), dashfx.trace(plain, X))


def test_edges_pass_over_everything_that_is_no_conv() -> None:
    found = network()
    assert found.convs == ("first", "inner.0", "mix")
    expected = {("input", "first"), ("first", "inner.0"), ("first", "mix"), ("inner.0", "mix"), ("mix", "output")}
    assert set(found.edges) == expected


def test_receptive_fields_before_and_after() -> None:
    found = network()
    assert (found.before["first"], found.after["first"]) == ((3.0,), (13.0,))
    assert (found.before["inner.0"], found.after["inner.0"]) == ((5.0,), (15.0,))
    assert found.whole == ((5.0,), (15.0,))


def test_a_module_that_cannot_be_traced_is_a_chain() -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) if x.sum() < 1e9 else self.b(x)

    program = dashfx.trace(nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), Opaque()), X)
    assert set(network_of(program, program).edges) == {("input", "0"), ("0", "1.a"), ("1.a", "1.b"), ("1.b", "output")}


def test_the_drawing_has_a_row_a_conv_and_an_arc_past_others() -> None:
    own = {name: Candidate(3) for name in GENOTYPE}
    svg = drawing(network(), own, GENOTYPE)
    assert "k3 d1 → k5 d3 · sees 3 → 13" in svg and "k3 d1, its own · sees 5 → 15" in svg and "mix · left alone" in svg
    assert svg.count("<circle") == 5 and len(re.findall(r'class="wire" d="M\d+ \d+C', svg)) == 1
    widths = [float(w) for w in re.findall(r'class="span"[^>]* width="([\d.]+)"', svg)]
    assert widths == [30.0, 130.0, 30.0, 30.0]  # 10 pixels a position: the widest is 13 positions
