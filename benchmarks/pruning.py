"""Widths at half of the multiply-adds by dashfx, by Torch-Pruning and by the size of weights, after equal training.

    python -m benchmarks.pruning train --data DATA --out runs/pruning
    chrt -r 1 python -m benchmarks.pruning time --out runs/pruning
    python -m benchmarks.pruning table --out runs/pruning

`train` takes the networks one by one through every method: channels are chosen until a share of the multiply-adds is
left, and the network is trained by the same steps of the same recipe, within which dashfx prunes and before which the
others do. Each row is kept in a file of its own, so an interrupted call can be repeated. `time` measures the ONNX files
of a network in turns. DATA holds the CIFAR-10 arrays and checkpoints of docs/guides/widths.md; Torch-Pruning is used
where it can be imported.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

import dashfx
from dashfx.backbones import WRN1d
from dashfx.backbones.resnet import CifarResNet
from dashfx.config.search import SearchConfig
from dashfx.cost.counts import flops_of, parameters_of
from dashfx.cost.macs import Macs
from dashfx.deploy.loader import save_weights
from dashfx.deploy.runtime import OnnxModel
from dashfx.frontend.checkpoint import load_checkpoint
from dashfx.frontend.tracing import copy_model, evaluation, trace
from dashfx.ops.gates import GATES
from dashfx.passes.narrow import Channels, channels_of, narrowed
from dashfx.strategies.widths import Gated, WidthCost
from dashfx.strategies.widths.costs import leaving
from dashfx.task import load_task
from dashfx.train.recipe import make_optimiser

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETWORKS = ("resnet20", "resnet56", "wrn1d")
CHECKPOINTS = {"resnet20": (20, "resnet20-12fca82f.th"), "resnet56": (56, "resnet56-4bfd9763.th")}
SIZES = {"resnet20": (3, 32, 32), "resnet56": (3, 32, 32), "wrn1d": (1, 128)}
Parts = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]  # training and test rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "time", "table"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=4000, help="training rows of CIFAR-10")
    parser.add_argument("--test-rows", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.5, help="of the multiply-adds")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    {"train": trained, "time": timed, "table": table}[options.what](options)


# ---- training -------------------------------------------------------------------------------------------------------


def trained(options: argparse.Namespace) -> None:
    for network in options.networks:
        model, parts = given(network, options)
        save_weights(model, options.out / f"{network}.safetensors")
        if not (path := options.out / f"{network}.json").exists():
            path.write_text(json.dumps(row(model, model, parts, None)) + "\n")
        for method in options.methods:
            for seed in options.seeds:
                path = options.out / f"{network}-{method}-{seed}.json"
                if path.exists():
                    continue
                started = time.process_time()
                try:
                    found = METHODS[method](copy_model(model), parts, seed, options)
                except ImportError as error:
                    print(f"{method}: {error}")
                    continue
                before, narrow = found
                save_weights(narrow, path.with_suffix(".safetensors"))
                facts = row(model, narrow, parts, before) | {"seconds": time.process_time() - started}
                path.write_text(json.dumps(facts) + "\n")
                print(network, method, seed, facts, flush=True)


def given(network: str, options: argparse.Namespace) -> tuple[nn.Module, Parts]:
    """A trained network, with its rows."""
    if network == "wrn1d":
        return trained_here(options)
    depth, name = CHECKPOINTS[network]
    model = CifarResNet(depth)
    load_checkpoint(model, options.data / "checkpoints" / name)
    train, test = (np.load(options.data / f"cifar10_{part}.npz") for part in ("train20k", "test10k"))
    rows = (train, options.rows), (test, options.test_rows)
    return model.eval(), tuple((pictures(part["x"][:n]), labels(part["y"][:n])) for part, n in rows)  # type: ignore[return-value]


def pictures(x: Any) -> Tensor:
    scaled = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def labels(y: Any) -> Tensor:
    return torch.from_numpy(np.asarray(y)).long().flatten()


def trained_here(options: argparse.Namespace) -> tuple[nn.Module, Parts]:
    """WRN-1d on SwedishLeaf, trained in one go and kept."""
    data = np.load(options.data / "ucr" / "SwedishLeaf.npz")
    found = []
    for part in ("train", "test"):
        x = torch.from_numpy(data[f"x_{part}"]).float()[:, None]
        y = torch.from_numpy(np.unique(data[f"y_{part}"], return_inverse=True)[1]).long()
        found.append((x[: options.test_rows], y[: options.test_rows]))
    torch.manual_seed(0)
    model, path = WRN1d(num_classes=15), options.out / "wrn1d.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        plain_training(model, (found[0], found[1]), 0, 25, 0.05)
        torch.save(model.state_dict(), path)
    return model.eval(), (found[0], found[1])


def batches(parts: Parts, seed: int, epochs: int, size: int = 64) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Progress from 0 to 1, rows and labels; pictures are flipped at random."""
    (x, y), _ = parts
    generator, steps = torch.Generator().manual_seed(seed), len(y) // size
    for epoch in range(epochs):
        order = torch.randperm(len(y), generator=generator)
        for step in range(steps):
            some = order[step * size : (step + 1) * size]
            batch = x[some]
            if x.ndim == 4:
                flip = torch.rand(len(some), generator=generator) < 0.5
                batch = torch.where(flip[:, None, None, None], batch.flip(-1), batch)
            yield (epoch + step / steps) / epochs, batch, y[some]


def recipe(epochs: int, lr: float = 0.01) -> SearchConfig:
    return SearchConfig(epochs=epochs, lr=lr)


def plain_training(model: nn.Module, parts: Parts, seed: int, epochs: int, lr: float = 0.01) -> None:
    """SGD with momentum and a cosine, as dashfx has it."""
    config = recipe(epochs, lr)
    optimiser = make_optimiser(list(model.parameters()), config)
    model.train()
    for progress, x, y in batches(parts, seed, epochs):
        for group in optimiser.param_groups:
            group["lr"] = 0.5 * lr * (1 + math.cos(math.pi * progress)) * group["share"]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimiser.step()
    model.eval()


# ---- methods: a model goes in, its accuracy before any further training and the narrower trained model come out ----


def ours(gate: str) -> Callable[..., tuple[float | None, nn.Module]]:
    def found(model: nn.Module, parts: Parts, seed: int, options: argparse.Namespace) -> tuple[float | None, nn.Module]:
        """Gates and gradual pruning in the training itself."""
        example, config = parts[0][0][:2], recipe(options.epochs)
        program = trace(model, example)
        channels, whole = channels_of(program), macs(model, example)
        cost = WidthCost.of(channels, program, Macs(), options.share * whole)
        task = load_task("classify", dashfx.data.load_data((parts[0], parts[1])))
        torch.manual_seed(seed)
        learner = Gated(program.model, channels, [cost], GATES[gate](), task, config, Accelerator(cpu=True))
        learner.train_mode()
        for progress, x, y in batches(parts, seed, options.epochs):
            for group in learner.optimisers["weights"].param_groups:
                group["lr"] = 0.5 * config.lr * (1 + math.cos(math.pi * progress)) * group["share"]
            learner.begin_step(progress)
            learner.step((x, y))
        learner.finished(options.epochs - 1)
        plain, places = learner.released()
        return None, narrowed(plain.eval(), example, places)

    return found


def magnitude(model: nn.Module, parts: Parts, seed: int, options: argparse.Namespace) -> tuple[float | None, nn.Module]:
    """Channels of the smallest weights leave in one go, by the size of their filters; dashfx removes them."""
    example = parts[0][0][:2]
    program = trace(model, example)
    channels = channels_of(program)
    groups = [group.units for group in channels.groups]
    cost = WidthCost.of(channels, program, Macs(), options.share * macs(model, example))
    stays = torch.ones(channels.count, dtype=torch.bool)
    worth = weight_sizes(program.model, channels) * cost.each(stays)  # by worth alone: `leaving` divides by the cost
    gone = leaving(worth, stays, groups, cost, cost.most, 0.1)
    kept = {g.name: [i for i, unit in enumerate(g.units) if unit not in gone] for g in channels.groups}
    narrow = narrowed(model, example, kept)
    before = accuracy(narrow, parts)
    plain_training(narrow, parts, seed, options.epochs)
    return before, narrow


def weight_sizes(model: nn.Module, channels: Channels) -> Tensor:
    """(channels,): mean over the convs and linear layers that give a channel of its filter's norm over their mean."""
    total, count = torch.zeros(channels.count).double(), torch.zeros(channels.count)
    for part in channels.parts:
        if part.role != "dense":
            continue
        norms = model.get_submodule(part.name).weight.detach().flatten(1).norm(dim=1)  # type: ignore[union-attr,operator]
        for unit, norm in zip(part.outs, (norms / norms.mean()).tolist(), strict=True):
            if unit >= 0:
                total[unit] += norm
                count[unit] += 1
    return total / count.clamp_min(1)


def torch_pruning(kind: str, everywhere: bool = False) -> Callable[..., tuple[float | None, nn.Module]]:
    def found(model: nn.Module, parts: Parts, seed: int, options: argparse.Namespace) -> tuple[float | None, nn.Module]:
        """Torch-Pruning in steps, over all layers or the same share of each, until so few multiply-adds are left."""
        import torch_pruning as tp

        example, whole = parts[0][0][:2], macs(model, parts[0][0][:2])
        importance = {
            "magnitude": tp.importance.GroupMagnitudeImportance,
            "taylor": tp.importance.GroupTaylorImportance,
        }
        last = [module for module in model.modules() if isinstance(module, nn.Linear)]
        pruner = tp.pruner.MagnitudePruner(
            model,
            example,
            importance[kind](),
            global_pruning=not everywhere,
            pruning_ratio=0.9,
            max_pruning_ratio=0.9,
            iterative_steps=100,
            ignored_layers=last,
        )
        while macs(model, example) > options.share * whole:
            model.zero_grad()
            if kind == "taylor":
                (x, y), _ = parts
                nn.functional.cross_entropy(model.eval()(x[:256]), y[:256]).backward()
            pruner.step()
        before = accuracy(model.eval(), parts)
        plain_training(model, parts, seed, options.epochs)
        return before, model

    return found


METHODS: dict[str, Callable[..., tuple[float | None, nn.Module]]] = {
    "dashfx": ours("taylor"),
    "torch-pruning": torch_pruning("magnitude"),
    "torch-pruning-uniform": torch_pruning("magnitude", everywhere=True),
    "torch-pruning-taylor": torch_pruning("taylor"),
    "magnitude": magnitude,
    "dashfx-trainable": ours("trainable"),
}


# ---- measuring ------------------------------------------------------------------------------------------------------


def macs(model: nn.Module, example: Tensor) -> float:
    return flops_of(model, example[:1]) / 2


def accuracy(model: nn.Module, parts: Parts) -> float:
    """On the test rows, in percent."""
    x, y = parts[1]
    with evaluation(model):
        right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return 100 * right / len(y)


def row(whole: nn.Module, model: nn.Module, parts: Parts, before: float | None) -> dict[str, Any]:
    example = parts[0][0][:2]
    return {
        "accuracy": accuracy(model, parts),
        "before": before,
        "macs": macs(model, example),
        "share": macs(model, example) / macs(whole, example),
        "parameters": parameters_of(model),
        "rows": len(parts[1][1]),
    }


def rebuilt(network: str, weights: Path) -> nn.Module:
    """The network with the sizes that a file of weights has."""
    model = WRN1d(num_classes=15) if network == "wrn1d" else CifarResNet(CHECKPOINTS[network][0])
    state = load_file(weights)
    for name, module in model.named_modules():
        for key in (*module._parameters, *module._buffers):
            if (tensor := state.get(f"{name}.{key}")) is not None:
                setattr(module, key, nn.Parameter(tensor) if key in module._parameters else tensor)
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.out_channels, module.in_channels = module.weight.shape[:2]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.num_features = len(module.weight)
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
    return model.eval()


def timed(options: argparse.Namespace) -> None:
    """The files of each network in turns, one row at a time."""
    for network in options.networks:
        models = {}
        for weights in sorted(options.out.glob(f"{network}*.safetensors")):
            if not (path := weights.with_suffix(".onnx")).exists():
                dashfx.export(rebuilt(network, weights), torch.randn((2, *SIZES[network])), path)
            models[path.stem] = OnnxModel(path)
        x = torch.randn((1, *SIZES[network]), generator=torch.Generator().manual_seed(0))
        taken: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(options.repeats + 5):
            for name, model in models.items():
                started = time.perf_counter()
                model(x)
                if turn >= 5:
                    taken[name].append(1e3 * (time.perf_counter() - started))
        facts = {name: statistics.quantiles(times, n=4) for name, times in taken.items()}
        (options.out / f"times-{network}.json").write_text(json.dumps(facts) + "\n")


def table(options: argparse.Namespace) -> None:
    """The rows that there are, for docs/guides/widths.md."""
    print("| network | method | n | accuracy, % | before training | multiply-adds | parameters | latency |")
    print("| --- " * 8 + "|")
    for network in options.networks:
        times_file = options.out / f"times-{network}.json"
        times = json.loads(times_file.read_text()) if times_file.exists() else {}
        whole = options.out / f"{network}.json"
        if not whole.exists():
            continue
        base = json.loads(whole.read_text())
        size = f"{base['macs'] / 1e6:.1f} M | {base['parameters']:,}"
        print(f"| {network} | as it is | | {base['accuracy']:.1f} | | {size} | 1 |")
        for method in options.methods:
            files = sorted(options.out.glob(f"{network}-{method}-[0-9]*.json"))
            if files:
                print(line(network, method, [json.loads(f.read_text()) for f in files], [f.stem for f in files], times))


def line(network: str, method: str, rows: list[dict[str, Any]], names: list[str], times: dict[str, Any]) -> str:
    mean = statistics.mean
    right = [each["accuracy"] for each in rows]
    spread = f" ± {statistics.stdev(right):.1f}" if len(right) > 1 else ""
    before = [each["before"] for each in rows if each["before"] is not None]
    ratios = [times[name][1] / times[network][1] for name in names if name in times]
    return (
        f"| {network} | {method} | {len(rows)} | {mean(right):.1f}{spread} | {f'{mean(before):.1f}' if before else ''} "
        f"| {mean(each['share'] for each in rows):.2f}x | {round(mean(each['parameters'] for each in rows)):,} "
        f"| {f'{mean(ratios):.2f}x' if ratios else ''} |"
    )


if __name__ == "__main__":
    main()
