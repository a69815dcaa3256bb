"""Functions run in processes of their own: several ranks of one run, or one that is killed at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from engines import engine
from torch import nn
from toys import ToyNet, toy_data

import dashfx
from dashfx.cli.main import run
from dashfx.config.run import RetrainConfig
from dashfx.run.prepare import prepare
from dashfx.task import load_task
from dashfx.train import length
from dashfx.train.fit import Supervised, fit, metric_over
from dashfx.train.processes import make_accelerator

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["dashfx.pipeline", "dashfx.cli.main", "dashfx.export", "dashfx.deploy.verify"])


def started(function: Callable[..., Any], *args: Any) -> BaseProcess:
    """A process that runs `function`, without the seconds that importing torch takes."""
    process = FORK.Process(target=function, args=args)
    process.start()
    return process


def in_ranks(count: int, function: Callable[..., Any], *args: Any, limit: float = 240) -> list[Any]:
    """What `function(*args)` returns in each of `count` processes that find each other by gloo, by rank."""
    answers, port = FORK.Queue(), _free_port()
    processes = [started(_rank, rank, count, port, answers, function, args) for rank in range(count)]
    found = dict(answers.get(timeout=limit) for _ in processes)
    for process in processes:
        process.join(limit)
    return [found[rank] for rank in range(count)]


def _rank(rank: int, count: int, port: int, answers: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        answers.put((rank, function(*args)))
    except Exception as error:
        answers.put((rank, error))


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Smooth(ToyNet):
    """Without batch norm and dropout, so that a row's loss depends on no other row and on no process."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.norm = nn.Identity()
        self.unused = nn.Linear(2, 2)  # a parameter that no loss reaches


def searched(model: Callable[[], nn.Module], options: dict[str, Any], rows: int = 90) -> dict[str, Any]:
    """What a whole search without a folder comes to in this process."""
    result = dashfx.search(model, toy_data(rows), config=options)
    return {
        "genotype": result.genotype.to_json(),
        "curve": [e.loss for e in result.history] + [e.metric for e in result.history],
        "choices": [{name: choice for name, (_, choice) in e.mixtures.items()} for e in result.history],
        "shares": [share for e in result.history for share, _ in e.mixtures.values()],
        "metrics": (result.valid, result.test),
        "weights": {name: value.numpy() for name, value in result.model.state_dict().items()},
        "kind": type(result.model),
    }


def counted(sizes: Sequence[int]) -> list[float]:
    """The accuracy of one fixed model over validation parts of these sizes, two rows a batch."""
    data, accelerator = toy_data(200), make_accelerator("cpu")
    torch.manual_seed(0)
    model, task = ToyNet().eval(), load_task(None, data)
    parts = [replace(data, valid=data.valid.subset(np.arange(size))) for size in sizes]
    return [metric_over(model, part.loader("valid", 2), task, accelerator) for part in parts]


def drifted() -> None:
    """A search in which the last process nudges one architecture parameter."""
    made = engine(epochs=2)
    with torch.no_grad():
        made.alphas[0][0] += 1e-7 * made.accelerator.process_index
    fit(made, toy_data(), stage="search")


def ended() -> list[tuple[float, int, bool]]:
    """A training that validation ends, in which the last process rounds its losses otherwise."""
    length.LEAST, length.MOST, length.WINDOW = (6, 4), (16, 8), 3
    data, accelerator = toy_data(), make_accelerator("cpu")
    task = load_task(None, data)
    rounded = replace(task, loss=lambda output, y: task.loss(output, y) + 1e-3 * accelerator.process_index)
    torch.manual_seed(0)
    learner = Supervised(ToyNet(), rounded, RetrainConfig(batch_size=12), accelerator)
    return [(epoch.valid_loss, epoch.epochs, epoch.open) for epoch in fit(learner, data, stage="retrain").history]


def command(arguments: Sequence[str], errors: str, largest_file: int | None = None) -> None:
    """`dashfx ARGUMENTS` as a process of its own.

    Args:
        errors: the file that stderr goes to.
        largest_file: the bytes after which a file can take no more, as if the disk were full.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    with open(errors, "w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sys.exit(run(arguments))


def prepared(different: str) -> None:
    """The beginning of a search in which the last of two processes has other data."""
    data: Any = toy_data()
    if os.environ["RANK"] == "1":
        if different == "a value":
            data.valid.x[data.valid.index[0]] += 1e-3
        elif different == "a label":
            data.test.y[data.test.index[0]] = 1 - data.test.y[data.test.index[0]] // 2
        elif different == "no file":
            data = "nowhere.npz"
    prepare(ToyNet, data, config={"device": "cpu"})
