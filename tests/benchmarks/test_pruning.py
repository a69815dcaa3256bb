"""Table of pruning: rows as they are printed, and models that are built again from their weights alone."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.pruning import batches, line, rebuilt, weight_sizes
from dashfx.backbones import WRN1d
from dashfx.deploy.loader import save_weights
from dashfx.frontend.tracing import trace
from dashfx.passes.narrow import channels_of, narrowed


def test_a_narrower_model_comes_back_from_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = WRN1d(num_classes=15).eval(), torch.randn(2, 1, 128)
    channels = channels_of(trace(model, x))
    narrow = narrowed(model, x, {group.name: range(0, len(group.units), 2) for group in channels.groups})
    save_weights(narrow, tmp_path / "a.safetensors")
    again = rebuilt("wrn1d", tmp_path / "a.safetensors")
    assert torch.equal(again(x), narrow(x)) and not torch.equal(again(x), model(x))
    sizes = weight_sizes(model, channels)
    assert len(sizes) == channels.count and float(sizes.min()) > 0


def test_batches_are_the_same_for_one_seed_and_see_each_row_once_an_epoch() -> None:
    rows = torch.arange(256.0).view(-1, 1, 1), torch.arange(256)
    one, two, other = (list(batches((rows, rows), seed, 2)) for seed in (0, 0, 1))
    assert [a[0] for a in one] == [i / 8 for i in range(8)]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0][1], other[0][1])
    assert sorted(torch.cat([a[2] for a in one[:4]]).tolist()) == list(range(256))


def test_a_row_of_the_table() -> None:
    rows = [{"accuracy": a, "before": 20.0, "share": 0.5, "parameters": 10} for a in (80.0, 90.0)]
    times = {"net": [1, 4.0, 5], "net-m-0": [1, 2.0, 3], "net-m-1": [1, 3.0, 4]}
    shown = line("net", "m", rows, ["net-m-0", "net-m-1"], times)
    assert shown == "| net | m | 2 | 85.0 ± 7.1 | 20.0 | 0.50x | 10 | 0.62x |"
