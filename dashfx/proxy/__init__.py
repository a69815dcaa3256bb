"""Scores that order networks without training them: GenNAS and the proxies that it is compared with."""

from dashfx.proxy.base import Proxy
from dashfx.proxy.gennas import GenNAS
from dashfx.proxy.tasks import COMBO, SINGLE, Noise, Signal, Stage, Task, load_task

__all__ = ["COMBO", "SINGLE", "GenNAS", "Noise", "Proxy", "Signal", "Stage", "Task", "load_task"]
