"""Wide image networks: a training step of the supernet of the default space beside the network's own, and parameters.

    python benchmarks/wide.py [--networks ResNet-18 MobileNetV2 ConvNeXt-T] [--repeats 5] [--ways ceiling whole]

A step is forward, backward and an update by SGD with momentum, at 224x224 and 8 rows. The network and its supernets
take turns, so that what else the machine does slows all of them; the ratio is the median over turns, ± half the
distance of its quartiles. `ceiling` is the default space, `whole` the same without a ceiling (ResNet-18: 5 GB).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dashfx.backbones import ConvNeXt, ResNet18
from dashfx.config.run import RunConfig
from dashfx.frontend.tracing import trace
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import Step, in_turns
from dashfx.stages.costs.ceiling import under_ceiling
from dashfx.supernet import rewrite

WAYS = {"ceiling": {}, "whole": {"ceiling": "none"}}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class InvertedResidual(nn.Module):
    """1x1 conv to `times` as many channels, depthwise 3x3 and 1x1 conv; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, times: int) -> None:
        super().__init__()
        inner = times * in_channels
        first = [] if times == 1 else [_conv(in_channels, inner, 1), nn.ReLU6()]
        depthwise = _conv(inner, inner, 3, stride, groups=inner)
        self.body = nn.Sequential(*first, depthwise, nn.ReLU6(), _conv(inner, out_channels, 1))
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1 (Sandler et al., CVPR 2018, table 2)."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        blocks, channels = nn.Sequential(), 32
        for times, width, count, stride in self.STAGES:
            for number in range(count):
                blocks.append(InvertedResidual(channels, width, stride if number == 0 else 1, times))
                channels = width
        self.stem, self.blocks, self.last = _conv(in_channels, 32, 3, 2), blocks, _conv(channels, 1280, 1)
        self.fc = nn.Linear(1280, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(nn.functional.relu6(self.stem(x)))
        return self.fc(nn.functional.relu6(self.last(x)).mean((-2, -1)))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18": lambda: ResNet18(num_classes=1000),
    "MobileNetV2": MobileNetV2,
    "ConvNeXt-T": lambda: ConvNeXt(1000, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["ceiling"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    options = parser.parse_args(arguments)
    print(f"{machine(DEVICE)}, {torch.get_num_threads()} threads; n = {options.repeats} turns")
    print("| network | space | parameters | supernet | ratio | step, ms | supernet, ms | ratio | multiply-adds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.networks:
        for line in compared(name, options.ways, options.size, options.batch, options.repeats):
            print(line, flush=True)


def compared(name: str, ways: Sequence[str], size: int, batch: int, repeats: int) -> list[str]:
    """A row of the table for each way, all out of the same turns."""
    torch.manual_seed(0)
    plain, x = NETWORKS[name]().to(DEVICE).train(), torch.randn(batch, 3, size, size, device=DEVICE)
    steps, facts = {"": training_step(plain, x)}, {}
    for way in ways:
        config = RunConfig.parse({"space": WAYS[way], "search": {"batch_size": batch}})
        found = under_ceiling(config, trace(plain, x[:2]))
        facts[way] = found.plain.params, found.params, found.steps  # counted while the model is the plain one
        steps[way] = training_step(rewrite(plain, x[:2], found.space, "fresh").train(), x)
    times = dict(zip(steps, in_turns(list(steps.values()), DEVICE, repeats, limit=60.0), strict=True))
    rows = []
    for way in ways:
        own, params, counted = facts[way]
        ratio, medians = times[way].over(times[""]), [1e3 * times[key].median for key in ("", way)]
        rows.append(
            f"| {name} | {way} | {own / 1e6:.2f} M | {params / 1e6:.2f} M | {params / own:.2f} | {medians[0]:.0f} | "
            f"{medians[1]:.0f} | **{ratio.median:.2f}** ± {ratio.spread:.0%} | {counted:.2f} |"
        )
    return rows


def training_step(model: nn.Module, x: Tensor) -> Step:
    """Forward, backward and an update of all parameters."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
