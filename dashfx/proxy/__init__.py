"""Scores that order networks without training them: GenNAS and the proxies that it is compared with."""

from dashfx.proxy.base import Proxy
from dashfx.proxy.correlation import Correlation, correlate
from dashfx.proxy.gennas.score import GenNAS
from dashfx.proxy.gennas.tasks import COMBO, SINGLE, Noise, Signal, Stage, Task, load_task
from dashfx.proxy.named import PROXIES, load_proxy
from dashfx.proxy.ranking import Ranking, Row
from dashfx.proxy.scoring import rank

__all__ = [
    "COMBO",
    "PROXIES",
    "SINGLE",
    "Correlation",
    "GenNAS",
    "Noise",
    "Proxy",
    "Ranking",
    "Row",
    "Signal",
    "Stage",
    "Task",
    "correlate",
    "load_proxy",
    "load_task",
    "rank",
]
