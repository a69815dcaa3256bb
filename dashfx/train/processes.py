"""Processes of one run, kept together: rows for each, the same buffers, and decisions that must not differ."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast, broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dashfx.data import Data
from dashfx.data.base import Arrays
from dashfx.errors import ConfigError, DashfxError, DataError, TrainingError

T = TypeVar("T")

WHOLE, SAMPLED, CHUNK = 2**24, 256, 64  # numbers of a part that are all looked at, else rows of it; rows at a time

# Architecture parameters reach the loss from outside of the model's forward, and a user's model may have parameters
# that no loss reaches: a static graph takes both, and is not searched at every step.
DDP = DistributedDataParallelKwargs(static_graph=True)
VARYING = DistributedDataParallelKwargs(find_unused_parameters=True)

# What accelerate puts on a model that it prepares, and `unwrap_model` does not take off again: a forward with autocast
# inside, which no exporter takes and a copy would hand on.
WRAPPED = ("forward", "_original_forward", "_is_accelerate_prepared")


def launched() -> int:
    """How many processes torchrun or accelerate launch has started for this run; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", 1))


def check_device(device: str, amp: str) -> None:
    """Whether there is such a device, of GPUs one for each process of this machine, and the precision runs on it.

    Raises:
        ConfigError: there is not.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r}: choose auto, cpu or cuda (one GPU of several: CUDA_VISIBLE_DEVICES)")
    gpus = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if device == "cuda" and not gpus:
        raise ConfigError("device 'cuda': torch sees no GPU here; use --device cpu or install a CUDA build of torch")
    if amp == "fp16" and not gpus:
        raise ConfigError("amp 'fp16' needs a GPU; use --amp bf16 or --amp no")
    check_gpus(gpus)


def check_gpus(count: int) -> None:
    """Whether each process that was started on this machine has one of its `count` GPUs; 0 where they use the CPU.

    Raises:
        ConfigError: there are too few.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if here > count > 0:
        raise ConfigError(
            f"{here} processes on a machine with {count} GPU{'s' * (count > 1)}: start {count}, or use --device cpu"
        )


def check_rows(block: str, batch_size: int, rows: int, processes: int) -> None:
    """Whether an epoch of `rows` rows has a full batch for each of several processes.

    Raises:
        ConfigError: it has not, so that a step would have to see rows twice.
    """
    if processes == 1 or rows >= batch_size * processes:
        return
    most = rows // processes
    remedy = f"set {block}.batch_size to {most} or less, or " if most else ""
    raise ConfigError(
        f"{block}.batch_size {batch_size} on {processes} processes takes {batch_size * processes} rows a step, "
        f"and an epoch has {rows}; {remedy}start fewer processes"
    )


def first_does(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """What the first process's `action` gives, or its refusal, in every process.

    Raises:
        DashfxError: what the first process's action raised.
    """
    found: list[Any] = [None]
    if accelerator.is_main_process:
        try:
            found = [action()]
        except DashfxError as error:
            found = [error]
    (first,) = broadcast_object_list(found)
    if isinstance(first, DashfxError):
        raise first
    done: T = first
    return done


def all_do(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """What `action` gives in this process, once it has succeeded in every one; a refusal in one is one in all.

    Raises:
        DashfxError: what the first of them to fail raised.
    """
    if accelerator.num_processes == 1:
        return action()
    done: T | None = None
    own: DashfxError | None = None
    try:
        done = action()
    except DashfxError as error:
        own = error
    refusals: list[DashfxError | None] = gather_object([own])
    for rank, refusal in enumerate(refusals):
        if refusal is not None:
            raise refusal if rank == accelerator.process_index else type(refusal)(f"process {rank}: {refusal}")
    return cast(T, done)


def check_same_data(accelerator: Accelerator, data: Data) -> None:
    """Hold all processes to the same rows, by a digest of each part.

    Raises:
        DataError: they have read different data.
    """
    if accelerator.num_processes == 1:
        return
    names = ("train", "valid", "test")
    found: list[list[str]] = gather_object([[digest(data.part(name)) for name in names]])
    apart = [name for name, each in zip(names, zip(*found, strict=True), strict=True) if len(set(each)) > 1]
    if apart:
        raise DataError(
            f"{data.name}: the {len(found)} processes have read different data (parts {', '.join(apart)}); give all of "
            "them the same files, and draw nothing without a seed"
        )


def digest(part: Arrays) -> str:
    """Of all rows of a part, or of some from all over it where they are large; NaN counts as NaN."""
    found, rows = hashlib.blake2b(digest_size=16), len(part)
    size = int(np.prod(part.x.shape[1:])) + int(np.prod(part.y.shape[1:]))
    count = rows if rows * size <= WHOLE else min(rows, SAMPLED)
    found.update(f"{rows} {part.x.shape[1:]} {part.y.shape[1:]}".encode())
    picked = np.linspace(0, rows - 1, count).astype(int) if rows else np.zeros(0, int)
    for start in range(0, count, CHUNK):
        for values in part.__getitems__(picked[start : start + CHUNK].tolist()):
            found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()


def spread(model: nn.Module, accelerator: Accelerator, varying: bool = False) -> nn.Module:
    """The model on the accelerator's device; of several processes, with gradients that are averaged over them.

    The model itself stays as it is: autocast stands around its calls, see `Learner`. Buffers are not sent along at
    every step, see `share_buffers`.

    Args:
        varying: whether each step uses other parameters, the same ones in all processes: then they are searched for.
    """
    if varying and accelerator.ddp_handler is not None:
        accelerator.ddp_handler = VARYING
    own = {name: vars(model)[name] for name in WRAPPED if name in vars(model)}
    prepared: nn.Module = accelerator.prepare_model(model)
    for name in WRAPPED:
        vars(model).pop(name, None)
    vars(model).update(own)
    if isinstance(prepared, DistributedDataParallel):
        prepared.broadcast_buffers = False
    return prepared


def unspread(model: nn.Module) -> nn.Module:
    """The model that `spread` was given; accelerate's own way looks for other packages at every call."""
    own: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    return own


def stepping(optimiser: torch.optim.Optimizer, accelerator: Accelerator) -> torch.optim.Optimizer:
    """The optimiser as training calls it: in accelerate's wrapper only where that has gradients to scale.

    The wrapper looks for the packages of other devices at every step, which takes half a millisecond: a twentieth of a
    small network's step.
    """
    if accelerator.scaler is None:
        return optimiser
    wrapped: torch.optim.Optimizer = accelerator.prepare_optimizer(optimiser)
    return wrapped


def share_buffers(model: nn.Module, accelerator: Accelerator) -> None:
    """Every process takes the first one's buffers, such as batch-norm statistics, which each had from its own rows."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))


def check_agreement(
    accelerator: Accelerator, stage: str, epoch: int, metric: float, decisions: Iterable[Tensor]
) -> None:
    """Hold all processes to the same epoch, validation metric and decisions, by a digest of a few bytes.

    Raises:
        TrainingError: they differ.
    """
    if accelerator.num_processes == 1:
        return
    digest = 0
    for decision in decisions:
        digest = zlib.crc32(decision.detach().cpu().contiguous().numpy().tobytes(), digest)
    found: list[tuple[int, str, int]] = gather_object([(epoch, repr(metric), digest)])
    names = ("epochs", "validation metrics", "mixtures")
    parted = [name for name, values in zip(names, zip(*found, strict=True), strict=True) if len(set(values)) > 1]
    if parted:
        raise TrainingError(
            f"stage {stage}, epoch {epoch + 1}: the {len(found)} processes have different {' and '.join(parted)}; "
            "start them with the same options, on a run's folder that all of them share"
        )


def forget(accelerator: Accelerator, optimisers: Iterable[torch.optim.Optimizer]) -> None:
    """Have the accelerator let go of optimisers that it has prepared, and so of their state and parameters.

    It keeps all that it ever prepared, for gradients that are scaled; another has taken the place of these.
    """
    gone = {id(optimiser) for optimiser in optimisers}
    accelerator._optimizers = [each for each in accelerator._optimizers if id(each) not in gone]


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value is NaN or infinite; waits for the device once."""
    return bool(torch.stack([tensor.detach().isfinite().all() for tensor in tensors]).all())
