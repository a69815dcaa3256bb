"""Networks of the shapes that widths can have: chains, sums, products, concatenations, groups, flat heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

CHANNELS = 6
KINDS = ("plain", "residual", "concat", "gated", "depthwise", "grouped", "transposed", "scaled", "halves")
ACTS = (torch.relu, torch.sigmoid, torch.tanh)


class Block(nn.Module):
    """(N, 6, L) to (N, 6, L), or twice as many channels of a concatenation made six again."""

    def __init__(self, kind: str, norm: bool, act: int) -> None:
        super().__init__()
        self.kind, self.act = kind, ACTS[act]
        groups = {"depthwise": CHANNELS, "grouped": 2}.get(kind, 1)
        make = nn.ConvTranspose1d if kind == "transposed" else nn.Conv1d
        self.conv1 = make(CHANNELS, CHANNELS, 3, padding=1, groups=groups, bias=not norm)
        self.norm = nn.BatchNorm1d(CHANNELS) if norm else nn.Identity()
        reads = {"concat": 2 * CHANNELS, "halves": CHANNELS // 2}.get(kind, CHANNELS)
        self.conv2 = nn.Conv1d(reads, CHANNELS, 1)
        if kind == "gated":
            self.squeeze, self.excite = nn.Linear(CHANNELS, 4), nn.Linear(4, CHANNELS)
        if kind == "scaled":
            self.scale = nn.Parameter(torch.linspace(0.5, 1.5, CHANNELS)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.conv1(x)))
        if self.kind == "gated":
            y = y * self.excite(torch.relu(self.squeeze(y.mean(-1)))).sigmoid().unsqueeze(-1)
        if self.kind == "scaled":
            y = y * self.scale
        if self.kind == "concat":
            y = torch.cat([x, y], 1)
        if self.kind == "halves":
            a, b = y.chunk(2, dim=1)
            y = a * b.tanh()
        y = self.conv2(y)
        return x + y if self.kind == "residual" else y


class Net(nn.Module):
    """Blocks between a first conv and a linear head, over a mean or over all places."""

    def __init__(self, blocks: tuple[tuple[str, bool, int], ...], flat: bool) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(Block(*block) for block in blocks)
        self.flat = flat
        self.head = nn.Linear(CHANNELS * (8 if flat else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.reshape(x.shape[0], -1) if self.flat else x.mean(-1))


@dataclass(frozen=True)
class Drawn:
    """A network to build."""

    blocks: tuple[tuple[str, bool, int], ...]
    flat: bool

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """In eval mode, with norms that shift and scale."""
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Net(self.blocks, self.flat).to(dtype).eval()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm1d):
                for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
                    tensor.uniform_(0.5, 1.5, generator=generator)
        return model

    def example(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """(2, 2, 8)"""
        return torch.randn(2, 2, 8, dtype=dtype, generator=torch.Generator().manual_seed(1))


def drawn() -> st.SearchStrategy[Drawn]:
    """Networks of one to three blocks."""
    block = st.tuples(st.sampled_from(KINDS), st.booleans(), st.integers(0, len(ACTS) - 1))
    return st.builds(Drawn, st.lists(block, min_size=1, max_size=3).map(tuple), st.booleans())
