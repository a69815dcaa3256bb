"""Weights & Biases: a run as a run of W&B, its tuning trials as runs of the same group; offline unless told so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashfx.train.loggers.base import ScalarLogger, flat, missing

PROJECT = "dashfx"


class WandB(ScalarLogger):
    """Writes into `folder`; what is there can be sent by `wandb sync`, or at once with `WANDB_MODE=online`.

    Args:
        name: of the run, and of the group that its trials are in.

    Raises:
        ConfigError: W&B is not installed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        try:
            import wandb
        except ImportError:
            raise missing("wandb", "Weights & Biases") from None
        self._wandb, self._folder, self._name = wandb, folder, name
        self._run: Any = None

    def scalar(self, name: str, value: float, step: int) -> None:
        self._begin()
        self._run.log({name: float(value), f"{name.partition('/')[0]}/step": step})

    def trial(self, number: int, values: Mapping[str, Any], metric: float | None, state: str) -> None:
        self._begin()
        child = self._init(f"{self._name} trial {number + 1}", job_type="trial", config=flat(dict(values)))
        if metric is not None:
            child.log({"metric": metric})
        child.finish(exit_code=0 if state == "complete" else 1)

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        if name == "export" and self._run is not None:
            self._run.finish()

    def _begin(self) -> None:
        if self._run is None:
            self._run = self._init(self._name, job_type="search")

    def _init(self, name: str, **more: Any) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        return self._wandb.init(
            project=PROJECT, name=name, group=self._name, dir=str(self._folder), mode=mode, reinit="create_new", **more
        )
