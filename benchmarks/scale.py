"""What several processes send each other: gradient bytes of a training step, of a backbone and of its supernet.

    torchrun --nproc-per-node 2 benchmarks/scale.py [--steps 3] [--batch 8]

Bytes are counted in a communication hook, so they are those of the gradients that were really handed over for summing;
they depend on the model alone, not on the machine. Times are not measured here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from dashfx import SearchSpace, rewrite
from dashfx.backbones import TCN, WRN, WRN1d
from dashfx.config.run import RetrainConfig
from dashfx.config.search import SearchConfig
from dashfx.data import load_data
from dashfx.space import preset_lists
from dashfx.strategies.engine import Engine
from dashfx.strategies.updates import OneLevel
from dashfx.task import load_task
from dashfx.train.fit import Learner, Supervised
from dashfx.train.processes import make_accelerator

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "WRN-16-1": (lambda: WRN(16, 1), (3, 32, 32), "dash2d"),
    "WRN-16-4": (lambda: WRN(16, 4), (3, 32, 32), "dash2d"),
    "WRN 1-D": (lambda: WRN1d(width=16), (1, 256), "dash1d"),
    "TCN": (lambda: TCN(num_classes=10, in_channels=1), (1, 256), "dash1d"),
}


@dataclass
class Count:
    """Bytes and messages since the last reset."""

    bytes: int = 0
    messages: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="rows a process and step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    accelerator = make_accelerator()
    if accelerator.num_processes == 1:
        parser.error("one process sends nothing: start it by torchrun")
    say(f"torch {torch.__version__}, {accelerator.num_processes} processes, {dist.get_backend()}", accelerator)
    say("| model | | parameters | gradients a step | messages | a process sends | buffers an epoch |", accelerator)
    say("| --- | --- | --- | --- | --- | --- | --- |", accelerator)
    for name in options.models:
        for kind in ("backbone", "supernet"):
            say(row(name, kind, options.steps, options.batch, accelerator), accelerator)
    dist.destroy_process_group()


def row(name: str, kind: str, steps: int, batch: int, accelerator: Accelerator) -> str:
    learner, shape = made(name, kind, accelerator)
    count = Count()
    assert isinstance(learner.model, DistributedDataParallel)
    learner.model.register_comm_hook(count, lambda count, bucket: counting(count, bucket))  # DDP reads annotations
    learner.train_mode()
    for _ in range(steps):
        count.bytes = count.messages = 0  # the first step lays its buckets out anew, so the last one is shown
        learner.step((torch.randn(batch, *shape), torch.randint(10, (batch,))))
    sent = 2 * (accelerator.num_processes - 1) / accelerator.num_processes * count.bytes  # of a ring
    parameters = sum(p.numel() for p in learner.plain.parameters() if p.requires_grad)
    buffers = sum(b.nbytes for b in learner.plain.buffers())
    cells = (f"{parameters:,}", mega(count.bytes), str(count.messages), mega(sent), mega(buffers))
    return f"| {name} | {kind} | {' | '.join(cells)} |"


def made(name: str, kind: str, accelerator: Accelerator) -> tuple[Learner, tuple[int, ...]]:
    build, shape, preset = CASES[name]
    data = load_data((torch.zeros(40, *shape).numpy(), (torch.arange(40) % 10).numpy()), normalise=False)
    task = load_task("classify", data)
    torch.manual_seed(0)
    if kind == "backbone":
        return Supervised(build(), task, RetrainConfig(), accelerator), shape
    supernet = rewrite(build(), torch.zeros(2, *shape), SearchSpace.product(*preset_lists(preset)))
    return Engine(supernet, task, SearchConfig(), accelerator, OneLevel()), shape


def counting(count: Count, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    count.bytes += bucket.buffer().nbytes
    count.messages += 1
    return allreduce_hook(None, bucket)


def mega(size: float) -> str:
    return f"{size / 1e6:.3f} MB"


def say(line: str, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        print(line, flush=True)


if __name__ == "__main__":
    main()
