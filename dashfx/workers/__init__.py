"""Workers: processes of this machine or of others that do independent jobs (`concurrent.futures`)."""

from dashfx.workers.base import Workers
from dashfx.workers.named import closing, workers_of

__all__ = ["Workers", "closing", "workers_of"]
