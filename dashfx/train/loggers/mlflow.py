"""MLflow: a run as a run of MLflow, its tuning trials as child runs, in a local database unless the user says where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashfx.train.loggers.base import ScalarLogger, flat, missing

EXPERIMENT = "dashfx"
PARENT = "mlflow.parentRunId"


class MLflow(ScalarLogger):
    """Writes to `MLFLOW_TRACKING_URI` where that is set, else to a database in `folder`; no server is asked unasked.

    Args:
        name: of the run.

    Raises:
        ConfigError: MLflow is not installed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise missing("mlflow", "MLflow") from None
        self._make, self._folder, self._name = MlflowClient, folder, name
        self._run: Any = None
        self._client: Any = None

    def scalar(self, name: str, value: float, step: int) -> None:
        self._begin()
        self._client.log_metric(self._run.info.run_id, name, float(value), step=step)

    def trial(self, number: int, values: Mapping[str, Any], metric: float | None, state: str) -> None:
        self._begin()
        tags = {PARENT: self._run.info.run_id}
        child = self._client.create_run(self._run.info.experiment_id, tags=tags, run_name=f"trial {number + 1}")
        for key, value in flat(dict(values)).items():
            self._client.log_param(child.info.run_id, key, value)
        if metric is not None:
            self._client.log_metric(child.info.run_id, "metric", metric)
        self._client.set_terminated(child.info.run_id, "FINISHED" if state == "complete" else "KILLED")

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        if name == "export" and self._run is not None:
            self._client.set_terminated(self._run.info.run_id)

    def _begin(self) -> None:
        if self._run is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{self._folder / 'mlflow.db'}"
        self._client = self._make(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or local)
        known = self._client.get_experiment_by_name(EXPERIMENT)
        place = known.experiment_id if known else self._client.create_experiment(EXPERIMENT, str(self._folder))
        self._run = self._client.create_run(place, run_name=self._name)
