"""A worker process: jobs come through stdin, answers go out through what was stdout, until stdin ends.

Unlike processes of `multiprocessing` it does not run the program that has started it once more, so that scripts need no
guard and notebooks work too.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import struct
import sys
import threading
from typing import BinaryIO

from dashfx.errors import TrainingError

SIZE = struct.Struct("<Q")  # before each message: its bytes


def command(number: int) -> list[str]:
    """What starts the worker of that number, with the same Python that finds the same modules."""
    program = f"import sys; sys.path[:] = {sys.path!r}; from dashfx.workers.serve import main; main({number})"
    return [sys.executable, "-c", program]


def main(number: int) -> None:
    """The whole life of the worker of that number."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer
    take_gpu(number)
    serve(sys.stdin.buffer, answers)


def send(pipe: BinaryIO, message: bytes) -> None:
    """Send one message; an OSError where nobody reads any more."""
    pipe.write(SIZE.pack(len(message)) + message)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes | None:
    """The next message; None where the other end is gone, be it in the middle of one."""
    head = pipe.read(SIZE.size)
    if len(head) < SIZE.size:
        return None
    (size,) = SIZE.unpack(head)
    message = pipe.read(size)
    return message if len(message) == size else None


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer jobs, one after the other.

    The process ends with whoever has started it, in the middle of a job too: a resumed run may begin the same one.
    """
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        while (job := receive(jobs)) is not None:
            waiting.put(job)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        answer = answer_to(waiting.get())
        with contextlib.suppress(OSError):  # nobody reads it, so stdin ends now too
            send(answers, answer)


def answer_to(job: bytes) -> bytes:
    """Whether the job went well, and what it gave or raised."""
    try:
        function, args, kwargs = pickle.loads(job)
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        with contextlib.suppress(Exception):
            answer = pickle.dumps((False, error))
            pickle.loads(answer)  # some exceptions do not come back from a pickle
            return answer
        return pickle.dumps((False, TrainingError(f"a worker's job failed: {type(error).__name__}: {error}")))


def take_gpu(number: int) -> None:
    """Of several GPUs the one of this process's number is the only one that it sees; the variable is CUDA's own."""
    if own := gpu_of(number, os.environ.get("CUDA_VISIBLE_DEVICES")):
        os.environ["CUDA_VISIBLE_DEVICES"] = own


def gpu_of(number: int, visible: str | None, count: int | None = None) -> str | None:
    """What CUDA_VISIBLE_DEVICES should be for the process of this number; None where there is no choice.

    >>> gpu_of(1, "4,6"), gpu_of(2, "4,6"), gpu_of(0, ""), gpu_of(3, None, count=2), gpu_of(0, None, count=1)
    ('6', '4', None, '1', None)
    """
    if visible is not None:
        gpus = [name.strip() for name in visible.split(",") if name.strip()]
    else:
        gpus = list(map(str, range(_gpus() if count is None else count)))
    return gpus[number % len(gpus)] if len(gpus) > 1 else None


def _gpus() -> int:
    """How many there are, without making one of them this process's."""
    import torch

    return torch.cuda.device_count()
