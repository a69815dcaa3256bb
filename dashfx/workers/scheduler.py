"""A dask scheduler as an executor: the workers that have connected to it, on whatever machines.

dask.distributed is an extra (`pip install "dashfx[dask]"`). A scheduler and its workers run what they are sent: give
only an address whose other users may run code as you.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from dashfx.errors import ConfigError, TrainingError, first_line
from dashfx.workers.base import Workers

TIMEOUT = 10.0  # seconds in which a scheduler has to answer, at the start and when a connection was lost
SCHEMES = {"dask": "tcp", "tcp": "tcp", "tls": "tls", "ucx": "ucx", "ws": "ws", "wss": "wss"}


class Scheduler(Workers):
    """The workers of a dask scheduler.

    A worker that dies is replaced by another one that is connected, or that connects later.

    Args:
        spec: `dask://HOST:PORT` (or dask's own `tcp://`, `tls://`), or the scheduler's file.

    Raises:
        ConfigError: dask.distributed is not installed, no such file, or no answer.
    """

    def __init__(self, spec: str, timeout: float = TIMEOUT) -> None:
        address = address_of(spec)
        try:
            from distributed import Client, KilledWorker
            from distributed.comm import CommClosedError
        except ImportError:
            raise ConfigError(f'--workers {spec}: needs dask.distributed; pip install "dashfx[dask]"') from None
        for name in ("distributed.client", "distributed.core", "distributed.comm"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # one line is said here
        try:
            self._client: Any = Client(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError, TypeError, ImportError) as error:  # no answer; a protocol that is not there
            raise ConfigError(
                f"--workers {spec}: the scheduler does not answer within {timeout:g} s ({first_line(error)}); start it "
                "with dask scheduler, or check the address"
            ) from None
        self._killed: type[Exception] = KilledWorker
        # One job has one result only: dask would take equal jobs for one and keep its answer.
        executor = self._client.get_executor(pure=False)
        super().__init__(executor, f"the scheduler at {address}", (CancelledError, CommClosedError, OSError))

    @property
    def count(self) -> int:
        """How many workers are connected now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def close(self) -> None:
        self._client.close(timeout=1)

    def _answer(self, future: Any) -> Any:
        try:
            return super()._answer(future)
        except self._killed as error:
            raise TrainingError(
                f"several workers in a row have died over one job ({first_line(error)}); see their logs"
            ) from None


def address_of(spec: str) -> str:
    """The address in dask's own form.

    >>> address_of("dask://node7:8786")
    'tcp://node7:8786'

    Raises:
        ConfigError: no address, and no scheduler's file.
    """
    scheme, separator, place = spec.partition("://")
    if separator:
        host, _, port = place.rpartition(":")
        if scheme not in SCHEMES or not host or not port.isdigit():
            raise ConfigError(f"--workers {spec}: write dask://HOST:PORT, such as dask://127.0.0.1:8786")
        return f"{SCHEMES[scheme]}://{place}"
    try:
        address = json.loads(Path(spec).read_text(encoding="utf-8"))["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--workers {spec}: no scheduler's file ({first_line(error)}); dask scheduler --scheduler-file {spec} "
            "writes it"
        ) from None
    return str(address)
