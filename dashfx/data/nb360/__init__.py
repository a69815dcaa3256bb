"""A folder with the published files of a NAS-Bench-360 task goes in; its `Source` comes out.

Nothing is unpickled. Where the benchmark publishes pickles, docs/reference/nas-bench-360.md says how to turn them into
plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable

from dashfx.data.nb360.cifar import cifar100
from dashfx.data.nb360.cosmic import cosmic
from dashfx.data.nb360.darcy import darcy
from dashfx.data.nb360.ecg import ecg
from dashfx.data.nb360.files import Files
from dashfx.data.nb360.fsd50k import fsd50k
from dashfx.data.nb360.psicov import psicov
from dashfx.data.nb360.series import deepsea, ninapro, satellite
from dashfx.data.nb360.spherical import spherical
from dashfx.data.source import Source


def _reader(name: str, read: Callable[[Files], Source]) -> Callable[[str], Source]:
    return lambda parameter: read(Files(name, parameter))


READERS: dict[str, Callable[[str], Source]] = {
    read.__name__: _reader(read.__name__, read)
    for read in (cifar100, spherical, ninapro, fsd50k, darcy, psicov, cosmic, ecg, satellite, deepsea)
}
